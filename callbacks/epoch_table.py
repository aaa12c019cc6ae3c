"""The table of all epochs of a run."""

import resource
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from basics.files import write_csv
from callbacks.files import is_dev_run
from classification.schedules import shown_rates

SHOWN = ("train/loss", "val/loss", "val/accuracy", "val/f1_macro")


class EpochTable(Checkpoint):
    """Writes metrics.csv, one row an epoch: all logged values, seconds, images a second, peak memory.

    The rows travel in the checkpoint, so that a resumed run goes on from the rows of its checkpoint; Lightning's
    CSVLogger would delete the file. An epoch resumed half-way counts seconds and images from there. This is a
    `Checkpoint` because Lightning calls these last in an epoch, when the classifier has logged everything.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, also of an epoch that is resumed; forget the peak of an earlier run in this process."""
        self.on_train_epoch_start(trainer, pl_module)
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()
        self._train_seconds = 0.0
        self._images = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count images."""
        self._images += len(batch["label"]) * trainer.world_size

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Keep the rates; the row of an epoch has the rates of its last step."""
        self._rates = shown_rates(optimizer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock of the training part; validation is inside Lightning's training epoch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._train_seconds = time.perf_counter() - self._start

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the row and write the file."""
        total = time.perf_counter() - self._start
        validated = self._train_seconds > 0
        seconds = self._train_seconds if validated else total
        row = {
            "epoch": float(trainer.current_epoch),
            "step": float(trainer.global_step),
            **{
                name: value.item()
                for name, value in sorted(trainer.callback_metrics.items())
                if validated or not name.startswith("val/")  # else it is the score of an earlier epoch
            },
            **self._rates,
            "train_seconds": seconds,
            "epoch_seconds": total,
            "images_per_second": self._images / seconds,
            "peak_memory_mb": peak_memory_mb(pl_module.device),
        }
        self.rows.append(row)
        if trainer.is_global_zero and not is_dev_run(trainer):
            header = list(dict.fromkeys(name for row in self.rows for name in row))
            cells = ([f"{row[name]:.7g}" if name in row else "" for name in header] for row in self.rows)
            write_csv(self.path, header, cells)
        if trainer.is_global_zero:
            metrics = ", ".join(f"{name} {row.get(name, float('nan')):.4f}" for name in SHOWN)
            speed = f"{total:.1f} s, {row['images_per_second']:,.0f} images/s"
            print(f"epoch {row['epoch']:.0f}: {metrics} ({speed}, peak {row['peak_memory_mb']:,.0f} MB)", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint."""
        self.rows = state_dict["rows"]


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in MB: on a GPU since training started, else of this process, mapped images included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
