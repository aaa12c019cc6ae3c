"""Measurement of the rows of results.json: a function for each group of rows that share their processes."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import inputs, peers
from benchmarks.sides import Side, bare, batches, calls, fit_arguments, our_runs, ours, peer
from benchmarks.specs import EPOCHS

TRAIN = 28_709  # images of FER2013
VAL = 3_589
BATCH = 128
FASHION = 55_000  # training images of Fashion-MNIST
PLAIN = ["--data.augment", "[]"]
BATCH_AUGMENTED = ["--data.augment_with", "batch"]
UNCACHED = [*BATCH_AUGMENTED, "--model.cache", "off"]
# Config, arm of the peer, further arguments, and the steps that each side times in a turn.
TRAININGS: dict[str, tuple[str, str, list[str], tuple[int, int]]] = {
    "partial_epoch": ("fer_partial", "partial", PLAIN, (24, 8)),
    "partial_uncached": ("fer_partial", "partial", UNCACHED, (12, 8)),
    "full_epoch": ("fer_full", "full", UNCACHED, (6, 6)),
    "fashion_epoch": ("fashion_plain", "fashion", [], (40, 30)),
}

Samples = dict[str, tuple[list[float], list[float]]]  # name of a row: our values, the peer's values


@dataclass(frozen=True)
class Conditions:
    """Folders and thoroughness of the measurements.

    Attributes:
        root: Data folder.
        scratch: Data folder of our own with a link to FER2013, whose cached features may be removed.
        device: `cpu` or `cuda`.
        repeats: Repeats of each side.
        quick: Whether to take fewer steps and repeats.
    """

    root: Path
    scratch: Path
    device: str
    repeats: int = 5
    quick: bool = False

    def steps(self, count: int) -> int:
        """Number of steps to time: about half in a quick measurement."""
        return max(3, count // 2) if self.quick else count


def alternate(sides: list[Any], repeats: int, counts: list[int], skip: int) -> list[list[float]]:
    """Measure the seconds of a step of every side, the sides taking turns, and end the sides.

    Args:
        sides: Sides of the row.
        repeats: Turns of each side.
        counts: Steps that each side times in a turn.
        skip: Steps before them that are not timed.
    """
    with ExitStack() as stack:
        for side in sides:
            stack.callback(side.close)
        turns = list(zip(sides, counts, strict=True))
        found = [[side.turn(count, skip) / count for side, count in turns] for _ in range(repeats)]
    return [list(values) for values in zip(*found, strict=True)]


def training(conditions: Conditions, row: str) -> Samples:
    """Measure a training epoch by blocks of steps of both sides."""
    config, arm, more, counts = TRAININGS[row]
    data: Any = partial(inputs.faces, conditions.root, "train", row != "partial_epoch")
    images = TRAIN
    if arm == "fashion":
        data = partial(peers.fashion_dataset, conditions.root)
        images = FASHION
    root = conditions.scratch if row == "partial_epoch" else conditions.root
    our_side = Side(ours, fit_arguments(config, root, conditions.device, more))
    sides = [our_side, Side(peer, arm, data, conditions.device)]
    mine, theirs = alternate(sides, conditions.repeats, [conditions.steps(count) for count in counts], 5)
    scale = images / BATCH
    return {row: ([scale * it for it in mine], [scale * it for it in theirs])}


def frozen(conditions: Conditions) -> Samples:
    """Measure the frozen arm: our whole runs, between them blocks of the peer's training and validation steps."""
    epochs = 4 if conditions.quick else EPOCHS
    more = [*PLAIN, "--trainer.max_epochs", str(epochs)]
    samples: Samples = {name: ([], []) for name in ("frozen_epoch", "frozen_first_epoch", "frozen_run")}
    line = fit_arguments("fer_frozen", conditions.scratch, conditions.device, more)
    steps = conditions.steps(24)
    val_steps = conditions.steps(10)
    runs = Side(our_runs, line, conditions.scratch / ".features")
    train = Side(peer, "frozen", partial(inputs.faces, conditions.root, "train", False), conditions.device)
    val = Side(peer, "frozen", partial(inputs.many_val_faces, conditions.root), conditions.device, True)
    with closing(runs), closing(train), closing(val):
        for _ in range(2 if conditions.quick else conditions.repeats):
            stamps = runs.turn(1)
            epoch = train.turn(steps, 5) / steps * TRAIN / BATCH
            validation = val.turn(val_steps, 5) / val_steps * VAL / BATCH
            later = [end - begin for begin, end in zip(stamps["begin"][1:], stamps["end"][1:], strict=True)]
            whole = epochs * (epoch + validation)
            pairs = ((median(later), epoch), (stamps["end"][0], epoch), (stamps["run"], whole))
            for (mine, theirs), (one, other) in zip(samples.values(), pairs, strict=True):
                mine.append(one)
                theirs.append(other)
    if conditions.quick:
        del samples["frozen_run"]  # the row is defined for EPOCHS epochs
    return samples


def reading(conditions: Conditions) -> Samples:
    """Measure the reading of FER2013 into arrays."""
    sides = [Side(calls, partial(read, conditions.root)) for read in (inputs.read_cold, inputs.read_pandas)]
    sides.append(Side(calls, partial(inputs.read_warm, conditions.root), True))
    cold, pandas, warm = alternate(sides, 3 if conditions.quick else conditions.repeats, [1, 1, 9], 0)
    return {"fer_cold": (cold, pandas), "fer_warm": (warm, pandas)}


def overhead(conditions: Conditions) -> Samples:
    """Measure our loop and a bare one in many short blocks, because their difference is small."""
    our_side = Side(ours, fit_arguments("fashion_plain", conditions.root, conditions.device))
    sides = [our_side, Side(bare, "fashion_plain", conditions.root, conditions.device)]
    mine, theirs = alternate(sides, 3 * conditions.repeats, [12, 12], 1)
    return {"loop_overhead": ([1000 * it for it in mine], [1000 * it for it in theirs])}


def decoding(conditions: Conditions) -> Samples:
    """Measure how many images of DeepWeeds a second are ready for training."""
    sides = [
        Side(batches, partial(inputs.our_batches, conditions.root, ["--data.augment_with", "albumentations"])),
        Side(batches, partial(inputs.peer_batches, conditions.root)),
        Side(batches, partial(inputs.our_batches, conditions.root, BATCH_AUGMENTED)),
    ]
    found = alternate(sides, conditions.repeats, [conditions.steps(12)] * 3, 6)
    workers, theirs, tensors = ([64 / seconds for seconds in side] for side in found)
    return {"deepweeds_decode": (workers, theirs), "deepweeds_batch": (tensors, theirs)}


def memory(conditions: Conditions) -> Samples:
    """Measure the peak resident memory of a short run of the full arm. It hardly varies, so both sides run at once."""
    limits = {"max_epochs": 1, "limit_train_batches": 6, "limit_val_batches": 1}
    more = [f"--trainer.{name}={value}" for name, value in limits.items()] + UNCACHED
    samples: Samples = {"memory": ([], [])}
    for _ in range(1 if conditions.quick else 3):
        with tempfile.TemporaryDirectory() as runs:
            line = fit_arguments("fer_full", conditions.root, conditions.device, [*more, f"--run.root={runs}"])
            commands = (["experiments.cli", *line], ["benchmarks.memory", str(conditions.root), conditions.device])
            pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            processes = [subprocess.Popen([sys.executable, "-m", *command], **pipes) for command in commands]
            texts = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise RuntimeError(f"a run for the row memory has failed: {' '.join(texts)[-500:]}")
        for mine, text in zip(samples["memory"], texts, strict=True):
            mine.append(float(re.findall(r"peak ([\d,.]+) MB", text)[-1].replace(",", "")))
    return samples


GROUPS: dict[tuple[str, ...], Callable[[Conditions], Samples]] = {
    ("frozen_epoch", "frozen_first_epoch", "frozen_run"): frozen,
    **{(row,): partial(training, row=row) for row in TRAININGS},
    ("fer_cold", "fer_warm"): reading,
    ("loop_overhead",): overhead,
    ("deepweeds_decode", "deepweeds_batch"): decoding,
    ("memory",): memory,
}
