"""Profile of our side: `python -m benchmarks.profile fer_full` writes benchmarks/profiles/fer_full.txt.

It lists operators of torch and functions of Python over the same number of steps, each with its share of the time.
Further arguments are those of `lightning fit`; `--name` gives the file another name than the config's.
"""

import argparse
import cProfile
import io
import pstats
import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.sides import fit_arguments

FOLDER = Path(__file__).with_name("profiles")


class Profile(Callback):
    """Profiles two spans of steps, first operators, then functions, and ends the run.

    Args:
        file: Path of the text file to write.
        epoch: Index of the epoch that holds the spans; 1 is the first epoch on cached features.
        skip: Number of steps of that epoch before the spans.
        steps: Number of steps in each span.
    """

    def __init__(self, file: str, epoch: int = 0, skip: int = 5, steps: int = 10) -> None:
        self.file = Path(file)
        self.epoch = epoch
        self.skip = skip
        self.steps = steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start and stop the profilers at their steps."""
        done = batch_idx + 1 - self.skip
        if trainer.current_epoch != self.epoch:
            return
        if done == 0:
            self.operators = torch.profiler.profile(acc_events=True)
            self.operators.start()
        elif done == self.steps:
            self.operators.stop()
            order = f"self_{pl_module.device.type}_time_total"
            found = self.operators.key_averages().table(order, row_limit=15, max_name_column_width=50)
            self.text = f"{self.steps} steps, operators of torch\n{found}\n"
            self.functions = cProfile.Profile()
            self.functions.enable()
        elif done == 2 * self.steps:
            self.functions.disable()
            out = io.StringIO()
            pstats.Stats(self.functions, stream=out).strip_dirs().sort_stats("tottime").print_stats(20)
            self.file.parent.mkdir(exist_ok=True)
            lines = (f"{self.text}{self.steps} steps, functions of Python\n{out.getvalue().strip()}\n").splitlines()
            self.file.write_text("\n".join(line.rstrip() for line in lines) + "\n")
            trainer.should_stop = True
            trainer.limit_train_batches = 0


def main() -> None:
    """Run a config with the profilers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="name below configs/, without .yaml")
    parser.add_argument("--name", help="name of the file, without .txt")
    parser.add_argument("--root", type=Path, default=Path("data"), help="data folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epoch", type=int, default=0, help="index of the epoch to profile")
    options, more = parser.parse_known_args()
    from experiments.cli import main as command_line

    file = FOLDER / f"{options.name or options.config}.txt"
    callback = {"": "benchmarks.profile.Profile", ".file": file, ".epoch": options.epoch}
    more += [f"--trainer.callbacks{key}={value}" for key, value in callback.items()]
    with tempfile.TemporaryDirectory() as runs:
        more += [f"--run.root={runs}", "--trainer.limit_val_batches=0"]
        command_line(fit_arguments(options.config, options.root, options.device, more))
    print(file.read_text())


if __name__ == "__main__":
    main()
