"""Checkpoints within an epoch."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import ModelCheckpoint


class StepCheckpoint(ModelCheckpoint):
    """Writes last.ckpt every few optimizer steps, to resume in the middle of an epoch.

    It writes none after the last batch of an epoch: Lightning would take the epoch for finished when such a checkpoint
    is resumed, and leave out its validation. The checkpoint of the epoch follows anyway. It writes none between two
    batches whose gradients are accumulated, because gradients are not in a checkpoint.

    Args:
        folder: Folder of the file.
        every_n_train_steps: Optimizer steps between two checkpoints.
    """

    def __init__(self, folder: Path, every_n_train_steps: int) -> None:
        super().__init__(
            folder,
            filename="last",
            every_n_train_steps=every_n_train_steps,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after an optimizer step, unless the epoch ends here."""
        if not trainer.is_last_batch and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
