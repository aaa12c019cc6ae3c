"""Seconds and peak memory of one epoch of each study: `python -m benchmarks.epoch` prints a Markdown table.

Every config runs in a process of its own through the real command line, because peak memory is a process's. Weights
are random (`--model.weights none`): they do not change the cost, and no hub is needed.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, harmonic_mean

ARMS = ("frozen", "partial", "full", "gradual", "lpft", "layerdecay")
PHASED = {"gradual": 5, "lpft": 5}  # epochs to measure, of which every phase gets its share
IMAGES = {"fashion": 55_000, "fer": 28_709, "deepweeds": 10_501}  # of an epoch
CONFIGS = ("fashion_cnn", *(f"{study}_{arm}" for study in ("fer", "deepweeds") for arm in ARMS))


def measure(config: str, arguments: list[str], steps: int | None) -> dict[str, float]:
    """Train one epoch, or where there are phases several, and read the run's own table.

    Args:
        config: Name below configs/, without .yaml.
        arguments: More of the command line.
        steps: Training steps of an epoch; None is the whole epoch.

    Returns:
        The mean row of metrics.csv; peak memory is that of the last.
    """
    epochs = PHASED.get(config.rpartition("_")[2], 1)
    with tempfile.TemporaryDirectory() as root:
        command = ["fit", "--config", f"configs/{config}.yaml", "--run.root", root, "--trainer.logger", "false"]
        command += ["--trainer.max_epochs", str(epochs), "--trainer.enable_progress_bar", "false", *arguments]
        if config != "fashion_cnn":
            command += ["--model.weights", "none"]
        if steps:
            command += ["--trainer.limit_train_batches", str(steps), "--trainer.limit_val_batches", "1"]
        subprocess.run([sys.executable, "-m", "experiments.cli", *command], check=True, stdout=subprocess.DEVNULL)
        (table,) = Path(root).rglob("metrics.csv")
        rows = list(csv.DictReader(table.open()))
    means = {name: fmean(float(row[name]) for row in rows) for name in ("train_seconds", "epoch_seconds")}
    speed = harmonic_mean(float(row["images_per_second"]) for row in rows)
    return {**means, "images_per_second": speed, "peak_memory_mb": float(rows[-1]["peak_memory_mb"])}


def main() -> None:
    """Measure the configs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=CONFIGS, help="names below configs/, without .yaml")
    parser.add_argument(
        "--steps", type=int, help="train only so many steps of an epoch; its seconds follow from images/s"
    )
    options, arguments = parser.parse_known_args()
    print("| config | training, s | with validation, s | images/s | peak memory, MB |\n|---|---|---|---|---|")
    for config in options.configs:
        row = measure(config, arguments, options.steps)
        times = f"{row['train_seconds']:.0f}", f"{row['epoch_seconds']:.0f}"
        if options.steps:
            times = f"{IMAGES[config.split('_')[0]] / row['images_per_second']:,.0f}, from {options.steps} steps", ""
        speed = (
            f"{row['images_per_second']:,.3g}" if row["images_per_second"] < 100 else f"{row['images_per_second']:,.0f}"
        )
        print(f"| {config} | {times[0]} | {times[1]} | {speed} | {row['peak_memory_mb']:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
