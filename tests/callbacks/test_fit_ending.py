"""`fit` says by a file that it has ended, and how."""

import json
from contextlib import suppress

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from experiments.cli import main


class Raise(Callback):
    """Raises at the beginning of the second epoch."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt if self.kind == "interrupt" else ValueError("the reason")


class Spoil(Callback):
    """Makes a weight of the head infinite."""

    def on_train_epoch_start(self, trainer, pl_module):
        with torch.no_grad():
            list(pl_module.stages()["classifier"])[-1].fill_(torch.inf)


class StopAfterOne(Callback):
    """Ends training after its first epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


@pytest.fixture
def fit(tmp_path, sample_root):
    """Train two tiny epochs with a callback of this file, in whatever way they end; gives fit.json."""

    def run(*args):
        common = [
            *("--config", "configs/fashion_plain.yaml", "--data.root", sample_root, "--run.root", tmp_path),
            *("--trainer.max_epochs", 2, "--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1),
            *("--trainer.logger", "false", "--trainer.enable_progress_bar", "false"),
        ]
        with suppress(SystemExit, ValueError):
            main(["fit", *map(str, common), *map(str, args)])
        path = tmp_path / "fashion/plain/seed0/fit.json"
        return json.loads(path.read_text()) if path.is_file() else None

    return run


def callback(name, **arguments):
    text = json.dumps([{"class_path": f"{__name__}.{name.__name__}", "init_args": arguments}])
    return ["--trainer.callbacks", text]


def test_a_whole_training_is_finished(fit):
    assert fit() == {"ending": "finished", "epoch": 2, "epochs": 2, "reason": ""}


def test_so_is_one_that_is_limited_by_steps(fit):
    found = fit("--trainer.max_steps", 1)
    assert (found["ending"], found["epoch"]) == ("finished", 1)


def test_one_that_a_callback_stops_has_stopped_early(fit):
    assert fit(*callback(StopAfterOne)) == {"ending": "stopped early", "epoch": 1, "epochs": 2, "reason": ""}


def test_signals_and_errors_are_named_and_gone_after_the_resumption(fit, tmp_path):
    assert fit(*callback(Raise, kind="interrupt")) == {"ending": "signal", "epoch": 1, "epochs": 2, "reason": "SIGINT"}
    found = fit("--run.overwrite", "true", *callback(Raise, kind="error"))
    assert found == {"ending": "error", "epoch": 1, "epochs": 2, "reason": "ValueError: the reason"}


def test_a_loss_that_is_not_finite_is_not_a_finished_training(fit):
    assert fit(*callback(Spoil))["ending"] == "diverged"


def test_a_try_leaves_nothing(fit):
    assert fit("--trainer.fast_dev_run", "true") is None
