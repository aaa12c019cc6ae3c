from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from basics.errors import UserError
from callbacks.auto_rgn import AutoRGNCallback
from callbacks.diagnostics import StageDiagnostics
from callbacks.phases import PhaseCallback
from classification import Batch, Classifier, Phase
from classification.cost import pass_flops
from classification.phases import BatchNorm
from classification.schedules import NO_DECAY
from datamodules import ImageDataModule
from transfer.feature_cache import Cache, FeatureCache
from transfer.features import GB, Features
from transfer.layout import lay_out
from transfer.prefix import FrozenPrefix
from transfer.stages import Stage, split_into_stages
from transfer.strategies import Strategy
from transfer.weights import HUB, load_weights


class TransferClassifier(Classifier):
    """A pretrained timm backbone with a new head, fine-tuned by a strategy.

    Args:
        class_names: Names in label order; the command line takes them from the data.
        strategy: Which stages learn, when, and at which fraction of `lr`.
        backbone: timm name and weights tag, such as `resnet50.tv_in1k`.
        weights: `hub` (the tag's weights), the path of a safetensors file or torch state dict, or `none`.
        dropout: Before the head.
        frozen_batch_norm: Of stages that do not learn: eval, adapt or train, as in `Phase.batch_norm`.
        l2_sp: Half of this times the squared distance of the learning backbone from its pretrained weights is added
            to the loss, in place of its weight decay (L2-SP, arXiv 1802.01483).
        compile: Backend of torch.compile for the network, such as inductor; it is compiled anew in every phase.
        check_ranks: Compare the parameters of all processes, bit by bit, at the end of every phase.
        cache: Of the output of frozen stages: auto (where training images are not augmented), off, or how many
            augmented views of each training image are computed once and taken in turns.
        cache_gb: Most that such files may take, in `<data.root>/.features`; the least used are removed.
        kwargs: As in `Classifier`.

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
        self.backbone, self.weights = backbone, weights
        self.strategy_name = strategy.name
        self.frozen_batch_norm, self.l2_sp, self.check_ranks = frozen_batch_norm, l2_sp, check_ranks
        self.compile_backend = compile
        if isinstance(cache, int) and cache < 1:
            raise UserError(f"model.cache is auto, off or a number of views from 1, not {cache}")
        self.cache, self.cache_gb = cache, cache_gb
        self.frozen_prefix: FrozenPrefix | None = None  # in training, what comes before all that changes in the phase
        self.features: dict[tuple[str, int | None], Features] = {}  # its output, by split and augmented view
        self.features_computed = 0  # of training images, by this process for this phase; others were in files
        self.rgn: dict[str, float] = {}  # what AutoRGNCallback scales the rates with
        self.pretrained: dict[str, Tensor] = {}  # the backbone as it was before training, where it learns
        self.configure_network(dropout)
        self.configure_phases(strategy.phases(list(self.network_stages)), type(strategy).__name__)
        if compile:
            self.network.compile(backend=compile)
        self._has_weights = False

    def configure_network(self, dropout: float) -> None:
        """Build the network without weights; `fit` loads them, and a checkpoint brings its own."""
        import timm

        try:
            network = timm.create_model(self.backbone, num_classes=len(self.class_names), drop_rate=dropout)
        except RuntimeError as error:
            raise UserError(f"unknown backbone {self.backbone!r}: {_similar(self.backbone)}") from error
        self.network = network.to(memory_format=torch.channels_last)
        self.network_stages: dict[str, Stage] = split_into_stages(network)
        for name in ("mean", "std"):
            value = torch.tensor(network.default_cfg[name]).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def configure_callbacks(self) -> list[Callback]:
        """The strategy is carried out wherever this model is trained, not only from the command line."""
        cache = FeatureCache(self.cache, int(self.cache_gb * GB))
        callbacks: list[Callback] = [PhaseCallback(self.check_ranks), cache, StageDiagnostics()]
        if any(phase.auto_rgn for phase in self.phases):
            callbacks.append(AutoRGNCallback())
        return callbacks

    def setup(self, stage: str) -> None:
        """Choose the layout in memory, which on a CPU depends on the size of the images."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if self.trainer.strategy.root_device.type == "cpu" and isinstance(data, ImageDataModule):
            images = self.inputs(torch.zeros(1, *data.image_shape, dtype=torch.uint8))
            lay_out(self.network, list(self.network_stages.values()), images)

    def stages(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The backbone's own grouping: stem, layer1 to layer4 and head in a ResNet."""
        return {name: stage.parameters for name, stage in self.network_stages.items()}

    def stage_outputs(self) -> Mapping[str, nn.Module]:
        """The last module of every stage."""
        return {name: stage.modules[-1] for name, stage in self.network_stages.items()}

    def enter_phases(self, started: Sequence[int]) -> None:
        """As always; a compiled network is compiled anew, as its graph depends on what learns."""
        if list(started) != self.started:
            self.rgn = {}  # of the stages of the phase before
        super().enter_phases(started)
        if self.compile_backend and len(started) > 1:
            torch.compiler.reset()  # otherwise the phases add up to torch's limit of 8, and then it runs uncompiled
            rank_zero_info(f"phase {len(started)}: the network is compiled anew")

    def batch_norm(self, phase: Phase) -> BatchNorm:
        """What batch norm of frozen stages does in a phase."""
        return phase.batch_norm or self.frozen_batch_norm

    def shown_batch_norm(self, phase: Phase) -> str:
        """The same, if there is any, and its learning rate."""
        policy = self.batch_norm(phase)
        if not any(stage.batch_norms() for stage in self.frozen_stages(phase)):
            return "-"
        return f"{policy}\n{self.lr * self._lowest_factor(phase):.3g}" if policy == "train" else policy

    def frozen_stages(self, phase: Phase) -> list[Stage]:
        """Those that do not learn in a phase."""
        learning = self.learning_stages(phase)
        return [stage for name, stage in self.network_stages.items() if name not in learning]

    def changing_stages(self, phase: Phase) -> list[str]:
        """Names of those that learn in a phase, or whose batch norm changes or depends on the batch."""
        moving = self.batch_norm(phase) != "eval"
        frozen = [stage.name for stage in self.frozen_stages(phase) if moving and stage.batch_norms()]
        return self.learning_stages(phase) + frozen

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of images `[B, C, H, W]` (uint8, or float in [0, 1])."""
        if self.frozen_prefix is None:
            return super().forward(images)
        return self.frozen_prefix.logits(self.frozen_prefix.features(self.inputs(images)))

    def batch_logits(self, batch: Batch, split: str) -> Tensor:
        """Logits `[B, num_classes]`, from cached features where the batch has no images."""
        if "image" in batch or self.frozen_prefix is None:
            return super().batch_logits(batch, split)
        views = sorted(view for name, view in self.features if name == split and view is not None)
        view = self.current_epoch % self.cache if views and isinstance(self.cache, int) else None
        return self.frozen_prefix.logits(self.features[split, view][batch["index"]])

    def _lowest_factor(self, phase: Phase) -> float:
        return min(factor for factor in phase.factors(list(self.network_stages)).values() if factor > 0)

    def learning_parameters(self, phase: Phase) -> Iterator[nn.Parameter]:
        """The stages that learn, and batch norm of the others if it is trained."""
        yield from super().learning_parameters(phase)
        if self.batch_norm(phase) == "train":
            for stage in self.frozen_stages(phase):
                for layer in stage.batch_norms():
                    yield from layer.parameters()

    def group_rates(self) -> dict[str, float]:
        """By the factors of the present phase; trained batch norm of frozen stages at the lowest of its rates."""
        scales = self.rgn if self.phase.auto_rgn else {}
        rates = {
            name: rate * scales.get(name.removesuffix(NO_DECAY), 1.0) for name, rate in super().group_rates().items()
        }
        if self.batch_norm(self.phase) == "train":
            lowest = self.lr * self._lowest_factor(self.phase)
            rates |= {stage.name + NO_DECAY: lowest for stage in self.frozen_stages(self.phase) if stage.batch_norms()}
        return rates

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """As always; under L2-SP the backbone is drawn to its pretrained weights and not to zero."""
        for group in super().parameter_groups():
            yield {**group, "weight_decay": 0.0} if self.l2_sp and group["name"] != "head" else group

    def train(self, mode: bool = True) -> Self:
        """As always, but a frozen stage stays in evaluation mode whatever calls this.

        Evaluation mode is what makes its batch norm use the stored statistics and leave them alone; without it they
        drift, and training and evaluation see two different networks.
        """
        super().train(mode)
        for stage in self.frozen_stages(self.phase):
            for module in stage.modules:
                module.eval()
            for layer in stage.batch_norms():
                layer.train(mode and self.batch_norm(self.phase) != "eval")
        return self

    def penalty(self) -> Tensor | float:
        """L2-SP."""
        if not self.l2_sp:
            return 0.0
        learning = ((name, parameter) for name, parameter in self.network.named_parameters() if parameter.requires_grad)
        squares = [(p - self.pretrained[name]).square().sum() for name, p in learning if name in self.pretrained]
        return 0.5 * self.l2_sp * sum(squares)

    def training_shares(self) -> list[float]:
        """Estimated operations of a training step in every phase, as a share of those where everything learns."""
        shape: Sequence[int] = self.network.default_cfg["input_size"]  # type: ignore[index, assignment]
        whole = sum(pass_flops(self.network, shape, list(self.network.parameters())))
        return [
            sum(pass_flops(self.network, shape, list(self.learning_parameters(phase)))) / whole for phase in self.phases
        ]

    def normalize(self, images: Tensor) -> Tensor:
        """Three channels with the mean and the standard deviation that the backbone was pretrained with."""
        return (self.as_floats(images).expand(-1, 3, -1, -1) - self.mean) / self.std

    @property
    def normalization(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, as a part of what features are made by."""
        return self.mean.flatten().tolist(), self.std.flatten().tolist()

    def load_pretrained(self) -> None:
        """Load the pretrained weights, once."""
        if not self._has_weights:
            load_weights(self.network, self.backbone, self.weights)
            self._has_weights = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the pretrained weights, which the distance from them and L2-SP refer to."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pretrained"] = self.pretrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember that the weights are those of a run, and what they were before it."""
        super().on_load_checkpoint(checkpoint)
        self.pretrained = checkpoint.get("pretrained", {})
        self._has_weights = True

    def on_fit_start(self) -> None:
        """Load the pretrained weights, unless a checkpoint has brought its own, and remember them."""
        self.load_pretrained()
        learning = {id(p) for phase in self.phases for p in self.learning_parameters(phase)}
        head = set(map(id, self.network_stages["head"].parameters))
        for name, parameter in self.network.named_parameters():
            if id(parameter) in learning - head:
                before = self.pretrained.get(name)
                self.pretrained[name] = parameter.detach().clone() if before is None else before.to(parameter.device)


def _similar(backbone: str) -> str:
    import difflib

    import timm

    names = timm.list_models() + timm.list_pretrained()
    near = difflib.get_close_matches(backbone, names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else "timm.list_models() has the names"
