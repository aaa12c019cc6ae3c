"""Writes how a training ended."""

from math import isfinite
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from basics.fit_end import Ending, FitEnd
from callbacks.files import is_dev_run


class FitEnding(Callback):
    """Writes fit.json when training ends, in whatever way it does; SIGKILL leaves none.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the file of an earlier part of the training, which this one resumes."""
        self._began = trainer.is_global_zero and not is_dev_run(trainer)
        if self._began:
            self.path.unlink(missing_ok=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Record the signal or the error."""
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            self._write(trainer, "signal", "SIGINT" if isinstance(exception, KeyboardInterrupt) else "SIGTERM")
        else:
            self._write(trainer, "error", f"{type(exception).__name__}: {exception}")

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record that training ended by itself."""
        loss = trainer.callback_metrics.get("train/loss")
        all_epochs = trainer.current_epoch >= (trainer.max_epochs or 0)
        all_steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        if loss is not None and not isfinite(loss.item()):
            self._write(trainer, "diverged")
        else:
            self._write(trainer, "finished" if all_epochs or all_steps else "stopped early")

    def _write(self, trainer: L.Trainer, ending: Ending, reason: str = "") -> None:
        # Before the first step there is no run, and no folder of it, to say anything about.
        if self._began and self.path.parent.is_dir():
            epochs = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None
            FitEnd(ending, trainer.current_epoch, epochs, reason).write(self.path)
