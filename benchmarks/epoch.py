"""Cost of one epoch of every config, in seconds and peak memory: `python -m benchmarks.epoch` writes its table.

Every config runs in a process of its own through the real command line, because peak memory belongs to a process.
Weights are random (`--model.weights none`): they do not change the cost, and no hub is needed.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, harmonic_mean

from basics.blocks import read_block, replace_block
from experiments.studies import STUDIES

IMAGES = {"fashion": 55_000, "fer": 28_709, "deepweeds": 10_501}  # images of an epoch
PHASED = ("gradual", "lpft")  # measured over EPOCHS epochs, of which every phase gets its share
EPOCHS = 5
CONFIGS = [study.config(arm).stem for study in STUDIES.values() for arm in study.arms]
HEADER = "| config | training of an epoch, s | measured over | images/s | peak memory, MB |\n|---|---|---|---|---|\n"


def epochs_of(config: str) -> int:
    """Number of epochs over which a config is measured."""
    return EPOCHS if config.rpartition("_")[2] in PHASED else 1


def measure(config: str, arguments: list[str], steps: int | None) -> dict[str, float]:
    """Train some epochs and read metrics.csv.

    Args:
        config: Name of the config, without configs/ and .yaml.
        arguments: Further arguments of `lightning fit`.
        steps: Training steps of an epoch; None means the whole epoch.

    Returns:
        Mean training seconds of an epoch, images a second and peak memory in MB.
    """
    with tempfile.TemporaryDirectory() as root:
        command = ["fit", "--config", f"configs/{config}.yaml", "--run.root", root, "--trainer.logger", "false"]
        command += [
            "--trainer.max_epochs",
            str(epochs_of(config)),
            "--trainer.enable_progress_bar",
            "false",
            *arguments,
        ]
        if not config.startswith("fashion_"):
            command += ["--model.weights", "none"]
        if steps:
            command += ["--trainer.limit_train_batches", str(steps), "--trainer.limit_val_batches", "1"]
        subprocess.run([sys.executable, "-m", "experiments.cli", *command], check=True, stdout=subprocess.DEVNULL)
        (table,) = Path(root).rglob("metrics.csv")
        rows = list(csv.DictReader(table.open()))
    return {
        "seconds": fmean(float(row["train_seconds"]) for row in rows),
        "images_per_second": harmonic_mean(float(row["images_per_second"]) for row in rows),
        "peak_memory_mb": float(rows[-1]["peak_memory_mb"]),
    }


def line_of(config: str, measured: Mapping[str, float], steps: int | None) -> str:
    """Format one row of the table.

    Args:
        config: Name of the config.
        measured: Result of `measure`.
        steps: Training steps of an epoch; the seconds of the whole epoch then follow from images a second.
    """
    epochs = epochs_of(config)
    speed = measured["images_per_second"]
    seconds = measured["seconds"] if steps is None else IMAGES[config.partition("_")[0]] / speed
    span = "an epoch" if steps is None else f"{steps} steps"
    if epochs > 1:
        span = f"{epochs} epochs" if steps is None else f"{epochs} x {span}"
    images = f"{speed:,.3g}" if speed < 100 else f"{speed:,.0f}"
    return f"| {config} | {seconds:,.0f} | {span} | {images} | {measured['peak_memory_mb']:,.0f} |"


def merged(block: str, lines: Mapping[str, str]) -> str:
    """Put measured rows into a table; other rows stay.

    Args:
        block: The table as it is in its page.
        lines: Row of each measured config.
    """
    rows = {line.split("|")[1].strip(): line for line in block.splitlines()[2:]} | dict(lines)
    names = [name for name in CONFIGS if name in rows] + [name for name in lines if name not in CONFIGS]
    return HEADER + "".join(f"{rows[name]}\n" for name in names)


def main() -> None:
    """Measure the configs, print their rows and put them into the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=CONFIGS, help="names of configs, without configs/ and .yaml")
    parser.add_argument("--steps", type=int, help="training steps of an epoch; its seconds follow from images/s")
    parser.add_argument("--print", action="store_true", help="print the rows and leave the table of the page alone")
    options, arguments = parser.parse_known_args()
    block = "" if options.print else read_block("cost")
    lines: dict[str, str] = {}
    print(HEADER, end="")
    for config in options.configs:
        lines[config] = line_of(config, measure(config, arguments, options.steps), options.steps)
        print(lines[config], flush=True)
        if not options.print:
            replace_block("cost", merged(block, lines))


if __name__ == "__main__":
    main()
