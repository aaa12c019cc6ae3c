import time

from lightning.pytorch.callbacks import Callback


class Slow(Callback):
    """Leaves the time to kill a run between two epochs."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch > 0:
            time.sleep(30)
