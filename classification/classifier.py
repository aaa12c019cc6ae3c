"""The base of all classifiers: steps, losses, metrics and logging."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from basics.errors import UserError
from classification.metrics import Scores, SplitMetrics, scores
from classification.phased import PhasedModule
from classification.schedules import shown_rates


class Batch(TypedDict):
    """One batch: images `[B, C, H, W]` (uint8, or float in [0, 1]), labels `[B]`, indices in the split `[B]`.

    `rank_weight` is the number of images of this rank over the mean of all ranks in this step: 1.0 unless the last step
    is uneven. A batch has no `image` if cached features stand in for it.
    """

    image: NotRequired[Tensor]
    label: Tensor
    index: Tensor
    rank_weight: NotRequired[float]


class Classifier(PhasedModule):
    """An image classifier; steps, metrics and logging are the same for all, so that only the strategy differs.

    Every step draws its random numbers (dropout) from a generator seeded by (seed, epoch, batch, rank), so that a run
    resumed anywhere draws the same ones.

    Attributes:
        strategy_name: Name of the arm in run folders and tables.
        scores: All scores of the split that was evaluated last.

    Args:
        class_names: Names in label order; the command line takes them from the data.
        label_smoothing: Smoothing of the training loss; validation and test report plain cross-entropy.
        kwargs: Arguments of `PhasedModule`.
    """

    strategy_name: str

    def __init__(self, class_names: Sequence[str], label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_names = list(class_names)
        self.scores: Scores | None = None
        self.configure_losses(label_smoothing)
        self.configure_metrics()

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise images `[B, C, H, W]` (uint8, or float in [0, 1]) as the network expects them."""
        raise NotImplementedError

    def stage_modules(self) -> Mapping[str, nn.Module]:
        """The last module of every stage, input to head; its output is the output of the stage."""
        raise NotImplementedError

    @staticmethod
    def as_floats(images: Tensor) -> Tensor:
        """Images in [0, 1]; they come as bytes or as such floats."""
        return images.float() / 255 if images.dtype == torch.uint8 else images

    def penalty(self) -> Tensor | float:
        """A term `[]` of the training loss beside the cross-entropy."""
        return 0.0

    # Set-up, in named steps.

    def configure_losses(self, label_smoothing: float) -> None:
        """Cross-entropy; smoothed in training only."""
        self.train_loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.loss = nn.CrossEntropyLoss()

    def configure_metrics(self) -> None:
        """One set of sums a split."""
        splits = {f"{split}_split": SplitMetrics(len(self.class_names)) for split in ("train", "val", "test")}
        self.metrics = nn.ModuleDict(splits)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an epoch that is not over, of all ranks together."""
        with self._split("train").sync_context():
            checkpoint["train_split"] = copy.deepcopy(self._split("train").metric_state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that does not fit; take over the sums of its epoch.

        Raises:
            UserError: The names of the classes differ, or training cannot go on exactly from there.
        """
        trained = list(checkpoint.get("hyper_parameters", {}).get("class_names", self.class_names))
        if trained != self.class_names:
            raise UserError(
                f"the checkpoint knows the classes {', '.join(trained)}; the data has {', '.join(self.class_names)}"
            )
        if self._trainer is None or self.trainer.state.fn != "fit":
            return
        check_resumable(checkpoint, self.trainer.accumulate_grad_batches)
        if self.trainer.is_global_zero:  # the other ranks go on from zero, because these are the sums of all
            for name, sums in checkpoint.get("train_split", {}).items():
                setattr(self._split("train"), name, sums.to(self.device))

    # Steps.

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of images `[B, C, H, W]` (uint8, or float in [0, 1])."""
        inputs = self.inputs(images)
        logits: Tensor = self.network(inputs) if self.frozen_part is None else self.frozen_part.logits(inputs)
        return logits

    def inputs(self, images: Tensor) -> Tensor:
        """Inputs of the network `[B, C, H, W]` for such images."""
        dtype = next(self.network.parameters()).dtype  # float32, or what --trainer.precision bf16-true makes of it
        return self.normalize(images).to(dtype, memory_format=torch.channels_last)

    def batch_logits(self, batch: Batch, split: str) -> Tensor:
        """Logits `[B, num_classes]` of one batch of train, val, test or predict; it may come without images."""
        if "image" in batch or self.frozen_part is None:
            logits: Tensor = self(batch["image"])
            return logits
        return self.frozen_part.cached_logits(batch["index"], split, self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss `[]` of one batch."""
        logits = self.batch_logits(batch, "train")
        loss: Tensor = self.train_loss(logits, batch["label"])
        self._split("train").update(loss, logits, batch["label"])
        # DDP averages the gradients of the ranks, not of the images.
        return loss * batch.get("rank_weight", 1.0) + self.penalty()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums."""
        logits = self.batch_logits(batch, "val")
        self._split("val").update(self.loss(logits, batch["label"]), logits, batch["label"])

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add one batch to the sums; give index in the split `[B]`, label `[B]`, probabilities `[B, num_classes]`."""
        logits = self.batch_logits(batch, "test")
        self._split("test").update(self.loss(logits, batch["label"]), logits, batch["label"])
        return {"index": batch["index"], "label": batch["label"], "probabilities": logits.float().softmax(1)}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Index in the split `[B]` and probability of every class `[B, num_classes]`."""
        return {"index": batch["index"], "probabilities": self.batch_logits(batch, "predict").float().softmax(1)}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the random numbers of the step."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # as seed_everything leaves it, the same on all ranks
        entropy = [seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the rates of this step by stage, every `log_every_n_steps`."""
        trainer: Any = self.trainer
        if trainer.log_every_n_steps and self.global_step % trainer.log_every_n_steps == 0:
            for logger in trainer.loggers:
                logger.log_metrics(shown_rates(optimizer), step=self.global_step)

    def on_train_epoch_end(self) -> None:
        """Log the epoch."""
        self._log_split("train")

    def on_validation_epoch_end(self) -> None:
        """Log the epoch; `val/f1_macro` chooses the best checkpoint and moves a plateau schedule."""
        self._log_split("val")
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            for config in self.trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    assert self.scores is not None
                    config.scheduler.step(self.scores.f1_macro)

    def on_test_epoch_end(self) -> None:
        """Log the scores and keep all of them in `scores`."""
        self._log_split("test")

    def _split(self, name: str) -> SplitMetrics:
        return cast(SplitMetrics, self.metrics[f"{name}_split"])

    def _log_split(self, name: str) -> None:
        metrics = self._split(name)
        self.scores = scores(*metrics.compute())
        metrics.reset()
        values = {f"{name}/{key}": value for key, value in self.scores.summary().items()}
        self.log_dict(values, sync_dist=True)  # the same on every rank already; without it Lightning warns


def check_resumable(checkpoint: Mapping[str, Any], accumulated: int) -> None:
    """Refuse a checkpoint from which training cannot go on exactly.

    Args:
        checkpoint: Content of the checkpoint.
        accumulated: Batches whose gradients are accumulated for one optimizer step.

    Raises:
        UserError: It was written where Lightning would lose a validation or gradients.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    done = progress["current"]["processed"]
    if progress["is_last_batch"] and progress["current"]["completed"] < done:
        moment = "between the last batch of an epoch and its validation, which Lightning would leave out"
    elif not progress["is_last_batch"] and done % accumulated:
        moment = "between batches whose gradients are accumulated, which it does not hold"
    else:
        return
    raise UserError(
        f"the checkpoint was written {moment}: resume from last.ckpt, which --run.every_n_train_steps writes "
        "only where a run can go on exactly"
    )
