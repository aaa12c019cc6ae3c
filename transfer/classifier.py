"""A pretrained network, fine-tuned by a strategy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from basics.errors import UserError
from callbacks import training_callbacks
from callbacks.trainers import image_data
from classification import Classifier, Phase
from classification.cost import pass_flops
from classification.phases import BatchNorm
from classification.schedules import NO_DECAY
from transfer.backbone import build_backbone
from transfer.feature_cache import Cache, FeatureCache, explain_uncached
from transfer.features import GB
from transfer.frozen_stages import FrozenStages
from transfer.layout import lay_out
from transfer.prefix import FrozenPrefix, reproduces, split_prefix
from transfer.stages import Stage, split_into_stages
from transfer.strategies import Strategy
from transfer.weights import HUB, load_weights


class TransferClassifier(Classifier):
    """A pretrained timm backbone with a new head, fine-tuned by a strategy.

    Attributes:
        network_stages: Stages of the network by name, input to head.

    Args:
        class_names: Names in label order; the command line takes them from the data.
        strategy: Strategy that says which stages learn, when, and at which fraction of `lr`.
        backbone: timm name and weights tag, such as `resnet50.tv_in1k`.
        weights: `hub` (the tag's weights), the path of a safetensors file or torch state dict, or `none`.
        dropout: Probability of dropping a feature before the head.
        frozen_batch_norm: Policy for batch norm of stages that do not learn: eval, adapt or train, as in
            `Phase.batch_norm`.
        l2_sp: Half of this times the squared distance of the learning backbone from its pretrained weights is added
            to the loss, in place of its weight decay (L2-SP, arXiv 1802.01483).
        compile: Backend of torch.compile for the network, such as inductor; it is compiled anew in every phase.
        check_ranks: Compare the parameters of all processes, bit by bit, at the end of every phase.
        cache: Caching of the output of frozen stages: auto (if training images are not augmented), off, or a number of
            augmented views of each training image that are computed once and taken in turns.
        cache_gb: Largest size of all such files in `<data.root>/.features`; the least recently used are removed.
        kwargs: Arguments of `Classifier`.

    Raises:
        UserError: Unknown backbone, or a strategy that does not fit its stages.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        strategy: Strategy,
        backbone: str = "resnet50.tv_in1k",
        weights: str = HUB,
        dropout: float = 0.0,
        frozen_batch_norm: BatchNorm = "eval",
        l2_sp: float = 0.0,
        compile: str | None = None,
        check_ranks: bool = True,
        cache: Cache = "auto",
        cache_gb: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        self.save_hyperparameters()
        if isinstance(cache, int) and cache < 1:
            raise UserError(f"model.cache is auto, off or a number of views from 1, not {cache}")
        self.strategy_name = strategy.name
        self.backbone = backbone
        self.weights = weights
        self.frozen_batch_norm: BatchNorm = frozen_batch_norm
        self.l2_sp = l2_sp
        self.compile_backend = compile
        self.check_ranks = check_ranks
        self.cache: Cache = cache
        self.cache_gb = cache_gb
        self.configure_network(dropout)
        self.configure_phases(strategy.phases(list(self.network_stages)), type(strategy).__name__)
        if compile:
            self.network.compile(backend=compile)
        self._has_weights = False

    def configure_network(self, dropout: float) -> None:
        """Build the network without weights; `fit` loads them, and a checkpoint brings its own."""
        network = build_backbone(self.backbone, len(self.class_names), dropout)
        config: Any = network.default_cfg
        self.network = network.to(memory_format=torch.channels_last)
        self.network_stages: dict[str, Stage] = split_into_stages(network)
        self.input_size: tuple[int, int, int] = config["input_size"]  # of the pretraining [C, H, W]
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)

    def configure_callbacks(self) -> list[Callback]:
        """The strategy is carried out wherever this model is trained, not only from the command line."""
        callbacks = training_callbacks(self.phases, self.check_ranks)
        # The frozen part of a phase is made as soon as the phase is entered.
        limit = int(self.cache_gb * GB)
        cache = FeatureCache(self.cache, limit, self.split, self.normalization, self.input_size, self.compile_backend)
        callbacks.insert(1, cache)
        return callbacks

    def setup(self, stage: str) -> None:
        """Choose the layout in memory, which on a CPU depends on the size of the images."""
        data = image_data(self.trainer)
        if self.trainer.strategy.root_device.type == "cpu" and data is not None:
            images = self.inputs(torch.zeros(1, *data.image_shape, dtype=torch.uint8))
            lay_out(self.network, list(self.network_stages.values()), images)

    # Pixels.

    def normalize(self, images: Tensor) -> Tensor:
        """Three channels with the mean and the standard deviation that the backbone was pretrained with."""
        return (self.as_floats(images).expand(-1, 3, -1, -1) - self.mean) / self.std

    @property
    def normalization(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel; features depend on them."""
        return self.mean.flatten().tolist(), self.std.flatten().tolist()

    # Stages and phases.

    def stages(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The backbone's own grouping: stem, layer1 to layer4 and head in a ResNet."""
        return {name: stage.parameters for name, stage in self.network_stages.items()}

    def stage_modules(self) -> Mapping[str, nn.Module]:
        """The last module of every stage, input to head; its output is the output of the stage."""
        return {name: stage.modules[-1] for name, stage in self.network_stages.items()}

    def frozen_stages(self, phase: Phase) -> FrozenStages:
        """The stages that do not learn in a phase, with their policy for batch norm."""
        learning = self.learning_stages(phase)
        frozen = (stage for name, stage in self.network_stages.items() if name not in learning)
        return FrozenStages(tuple(frozen), phase.batch_norm or self.frozen_batch_norm)

    def changing_stages(self, phase: Phase) -> list[str]:
        """Names of the stages that learn in a phase, or whose batch norm changes or depends on the batch."""
        return self.learning_stages(phase) + self.frozen_stages(phase).changing()

    def learning_parameters(self, phase: Phase) -> Iterator[nn.Parameter]:
        """The parameters of stages that learn, and of trained batch norm of the others."""
        yield from super().learning_parameters(phase)
        yield from self.frozen_stages(phase).learning_parameters()

    def enter_phases(self, started: Sequence[int]) -> None:
        """Enter the phase; a compiled network is compiled anew, because its graph depends on what learns."""
        super().enter_phases(started)
        if self.compile_backend and len(started) > 1:
            torch.compiler.reset()  # otherwise the phases add up to torch's limit of 8, and then it runs uncompiled
            rank_zero_info(f"phase {self.phase_number}: the network is compiled anew")

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the network; frozen stages stay in evaluation mode, whoever calls this."""
        super().train(mode)
        self.frozen_stages(self.phase).evaluate(training=mode)
        return self

    def group_rates(self) -> dict[str, float]:
        """Rates of the present phase; trained batch norm of frozen stages learns at the lowest of them."""
        rates = super().group_rates()
        frozen = self.frozen_stages(self.phase)
        if frozen.policy == "train":
            rates |= {stage.name + NO_DECAY: self._lowest_rate(self.phase) for stage in frozen.with_batch_norm()}
        return rates

    def shown_batch_norm(self, phase: Phase) -> str:
        """Policy for batch norm of frozen stages, with its learning rate; - if there is none."""
        frozen = self.frozen_stages(phase)
        if not frozen.with_batch_norm():
            return "-"
        return f"train\n{self._lowest_rate(phase):.3g}" if frozen.policy == "train" else frozen.policy

    def _lowest_rate(self, phase: Phase) -> float:
        return self.lr * min(factor for factor in phase.factors(list(self.network_stages)).values() if factor > 0)

    def relative_costs(self) -> list[float]:
        """Estimated operations of a training step in every phase; a step in which everything learns has 1."""
        whole = sum(pass_flops(self.network, self.input_size, self.network.parameters()))
        learning = map(self.learning_parameters, self.phases)
        return [sum(pass_flops(self.network, self.input_size, parameters)) / whole for parameters in learning]

    def split(self, inputs: Tensor) -> FrozenPrefix | None:
        """Split the network for the present phase; None if it has no frozen prefix, or one that differs from it.

        Args:
            inputs: An input of the network `[B, C, H, W]`, on which the split network is tried.
        """
        changing = self.changing_stages(self.phase)
        if next(iter(self.network_stages)) in changing:
            return None
        prefix = split_prefix(self.network, self.network_stages.values(), changing)
        if prefix is None:
            explain_uncached(f"torch.fx cannot record what {type(self.network).__name__} computes")
            return None
        if not reproduces(self.network, prefix, inputs):
            explain_uncached("what torch.fx has recorded gives something else than the network")
            return None
        return prefix

    # Pretrained weights.

    def load_pretrained(self) -> None:
        """Load the pretrained weights, once."""
        if not self._has_weights:
            load_weights(self.network, self.backbone, self.weights)
            self._has_weights = True

    def on_fit_start(self) -> None:
        """Load the pretrained weights, unless a checkpoint has brought its own, and remember them."""
        self.load_pretrained()
        learning = {id(p) for phase in self.phases for p in self.learning_parameters(phase)}
        head = set(map(id, self.network_stages["head"].parameters))
        self.pretrained.remember((name, p) for name, p in self.network.named_parameters() if id(p) in learning - head)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the pretrained weights, which the distance from them and L2-SP refer to."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pretrained"] = self.pretrained.values

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the pretrained weights of the run; its present weights are in the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self.pretrained.values = checkpoint.get("pretrained", {})
        self._has_weights = True

    def penalty(self) -> Tensor | float:
        """L2-SP."""
        return 0.5 * self.l2_sp * self.pretrained.squared_distance(self.network) if self.l2_sp else 0.0

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Optimizer groups; under L2-SP the backbone is drawn to its pretrained weights and not to zero."""
        for group in super().parameter_groups():
            yield {**group, "weight_decay": 0.0} if self.l2_sp and group["name"] != "head" else group
