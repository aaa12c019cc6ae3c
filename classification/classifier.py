from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import cos, pi
from typing import Any, Literal, TypedDict

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from classification.metrics import Scores, SplitMetrics, scores

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups, **rest: torch.optim.SGD(groups, momentum=0.9, nesterov=True, **rest),
}


class Batch(TypedDict):
    """One batch: images `[B, C, H, W]` (uint8, or float in [0, 1]), labels `[B]`, places in the split `[B]`."""

    image: Tensor
    label: Tensor
    index: Tensor


class Classifier(L.LightningModule):
    """An image classifier made of named stages, each with its own learning rate.

    Subclasses set `network`, and say through `stages` how it is grouped and through `learning_rates` which of the
    stages learn; optimizer, schedule, steps, metrics and logging are the same for all of them, so that nothing but
    the strategy differs between two arms of a comparison.

    Args:
        class_names: Names in label order; the command line takes them from the data.
        lr: Learning rate of the head, at the top of the schedule.
        optimizer: adam, adamw, or sgd (Nesterov momentum 0.9).
        weight_decay: Of weight matrices and kernels; biases and normalisation are never decayed.
        schedule: Of all learning rates, after the warm-up, over all steps of the run: cosine to zero, or constant.
        warmup_epochs: Linear rise of all learning rates from zero; may be a fraction of an epoch.
        label_smoothing: Of the training loss; validation and test report plain cross-entropy.
    """

    network: nn.Module
    strategy_name: str

    def __init__(
        self,
        class_names: Sequence[str],
        lr: float = 1e-3,
        optimizer: Literal["adam", "adamw", "sgd"] = "adamw",
        weight_decay: float = 0.01,
        schedule: Literal["cosine", "constant"] = "cosine",
        warmup_epochs: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.lr = lr
        self.optimizer_name = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.scores: Scores | None = None
        self.configure_losses(label_smoothing)
        self.configure_metrics()

    # What a subclass says about its network.

    def stages(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The parameters of every stage, input to head; each belongs to exactly one."""
        raise NotImplementedError

    def learning_rates(self) -> dict[str, float]:
        """Learning rate of every stage, input to head; 0 for a stage that is frozen."""
        return dict.fromkeys(self.stages(), self.lr)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn images `[B, C, H, W]` (uint8, or float in [0, 1]) into what the network was made for."""
        raise NotImplementedError

    @staticmethod
    def as_floats(images: Tensor) -> Tensor:
        """Images in [0, 1], whether they come as bytes or as floats."""
        return images.float() / 255 if images.dtype == torch.uint8 else images

    # Set-up, in named steps.

    def configure_losses(self, label_smoothing: float) -> None:
        """Cross-entropy; smoothed in training only."""
        self.train_loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.loss = nn.CrossEntropyLoss()

    def configure_metrics(self) -> None:
        """One set of sums a split."""
        splits = {f"{split}_split": SplitMetrics(len(self.class_names)) for split in ("train", "val", "test")}
        self.metrics = nn.ModuleDict(splits)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Two named optimizer groups a stage, with and without weight decay; frozen stages are there with rate 0.

        All groups exist from the first step on, because schedulers such as OneCycleLR and LambdaLR fail when one joins
        later. A frozen parameter has no gradient, so it gets neither an update, nor decay, nor optimizer state.

        Raises:
            MisconfigurationException: A parameter is in no stage, or in more than one.
        """
        rates, stages = self.learning_rates(), self.stages()
        owners = Counter(id(parameter) for parameters in stages.values() for parameter in parameters)
        for name, parameter in self.network.named_parameters():
            if owners[id(parameter)] != 1:
                raise MisconfigurationException(
                    f"{name} is in {owners[id(parameter)]} stages, not in one: check stages()"
                )
        for name, parameters in stages.items():
            for suffix, decay, chosen in (
                ("", self.weight_decay, [p for p in parameters if p.ndim > 1]),
                (".no_decay", 0.0, [p for p in parameters if p.ndim <= 1]),
            ):
                if chosen:
                    yield {"params": chosen, "name": name + suffix, "lr": rates[name], "weight_decay": decay}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer over all stages, one schedule over all steps."""
        optimizer = OPTIMIZERS[self.optimizer_name](list(self.parameter_groups()), lr=self.lr)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(total * self.warmup_epochs / (self.trainer.max_epochs or 1))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            progress = (step - warmup) / max(1, total - warmup)
            return 0.5 * (1 + cos(pi * min(1.0, progress))) if self.schedule == "cosine" else 1.0

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose outputs mean other classes.

        Raises:
            MisconfigurationException: The names of the classes differ.
        """
        trained = list(checkpoint.get("hyper_parameters", {}).get("class_names", self.class_names))
        if trained != self.class_names:
            raise MisconfigurationException(
                f"the checkpoint knows the classes {', '.join(trained)}; the data has {', '.join(self.class_names)}"
            )

    # Steps.

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of images `[B, C, H, W]` (uint8, or float in [0, 1])."""
        dtype = next(self.network.parameters()).dtype  # float32, or what --trainer.precision bf16-true makes of it
        logits: Tensor = self.network(self.normalize(images).to(dtype, memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss `[]` of one batch."""
        logits = self(batch["image"])
        loss: Tensor = self.train_loss(logits, batch["label"])
        self._update("train", loss, logits, batch["label"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums."""
        logits = self(batch["image"])
        self._update("val", self.loss(logits, batch["label"]), logits, batch["label"])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums."""
        logits = self(batch["image"])
        self._update("test", self.loss(logits, batch["label"]), logits, batch["label"])

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Place in the split `[B]` and probability of every class `[B, num_classes]`."""
        return {"index": batch["index"], "probabilities": self(batch["image"]).float().softmax(1)}

    def on_train_epoch_start(self) -> None:
        """Log the learning rate of every stage by its name."""
        groups = self.trainer.optimizers[0].param_groups
        rates = {f"lr/{group['name'].removesuffix('.no_decay')}": group["lr"] for group in groups}
        self.log_dict(rates, on_epoch=True, on_step=False, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Log the epoch."""
        self._log_split("train")

    def on_validation_epoch_end(self) -> None:
        """Log the epoch; `val/f1_macro` chooses the best checkpoint."""
        self._log_split("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores and keep all of them in `scores`."""
        self._log_split("test")

    def _update(self, split: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        metrics = self.metrics[f"{split}_split"]
        assert isinstance(metrics, SplitMetrics)
        metrics.update(loss, logits, labels)

    def _log_split(self, split: str) -> None:
        metrics = self.metrics[f"{split}_split"]
        assert isinstance(metrics, SplitMetrics)
        self.scores = scores(*metrics.compute())
        metrics.reset()
        values = {f"{split}/{name}": value for name, value in self.scores.summary().items()}
        self.log_dict(values, sync_dist=True)  # the same on every rank already; without it Lightning warns
