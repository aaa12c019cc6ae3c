"""Checkpoints that are whole or not there, and runs that leave no files."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes it into the system's temporary folder and moves it. If that is another file system, the move is a
    copy, and a run killed in its middle has neither the old last.ckpt nor the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save, then rename."""
        work = f"{path}.part"
        super().save_checkpoint(checkpoint, work, storage_options)
        os.replace(work, path)


def is_dev_run(trainer: L.Trainer) -> bool:
    """Say if `--trainer.fast_dev_run` is on: such a run leaves no files."""
    return bool(getattr(trainer, "fast_dev_run", False))
