"""Named on command lines: `--trainer.callbacks+=tests.proofs.callbacks.KillAt`."""

import json
import os
import signal
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class KillAt(Callback):
    """Kills every rank after some steps, as a scheduler does that gives no notice.

    The variable KILL_AT says when, such as `7 batch_end`, because a run is resumed with its own options only. Moments
    are batch_end: before a checkpoint of that step; epoch_end: after the checkpoint of the epoch that ends with it,
    when the next epoch or nothing follows; validation: before its second batch.
    """

    def _kill(self, trainer, where):
        step, _, moment = os.environ.get("KILL_AT", "").partition(" ")
        if where == moment and trainer.global_step >= int(step):
            print(f"killed at step {trainer.global_step}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._kill(trainer, "batch_end")

    def on_train_epoch_start(self, trainer, pl_module):
        self._kill(trainer, "epoch_end")

    def on_train_end(self, trainer, pl_module):
        self._kill(trainer, "epoch_end")

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 1:
            self._kill(trainer, "validation")


class SeenIndices(Callback):
    """Writes the images that a rank has seen: `<folder>/rank<r>.jsonl`, one line a batch with split, epoch and indices.

    Args:
        folder: Folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def _note(self, trainer, split, batch):
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {"split": split, "epoch": trainer.current_epoch, "index": batch["index"].tolist()}
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._note(trainer, "train", batch)

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self._note(trainer, "val", batch)

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self._note(trainer, "test", batch)

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self._note(trainer, "predict", batch)
