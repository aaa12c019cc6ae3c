"""Reads the folders of finished runs, and refuses to compare runs that are not comparable."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from basics.errors import stop
from basics.names import TABLE
from experiments.configs import Between, differences
from experiments.runs import RunFolder, fold_of
from experiments.studies import in_order

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """The files of a finished run.

    Args:
        folder: Folder of the run, which names its arm, seed and fold.
        config: Content of config.yaml.
        record: Content of metrics.json.
        cost: Content of cost.json; None if there is none.
        labels: True classes of the test split `[N]`.
        probabilities: Predicted probabilities `[N, C]`.
        names: Names of the images `[N]`.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    cost: Mapping[str, Any] | None
    labels: Array
    probabilities: Array
    names: Array

    @property
    def key(self) -> tuple[int, int]:
        """Seed and fold, which the two runs of a pair have in common."""
        return self.folder.seed, self.folder.fold

    @cached_property
    def predicted(self) -> Array:
        """Predicted classes `[N]`."""
        predicted: Array = self.probabilities.argmax(1)
        return predicted

    @cached_property
    def right(self) -> Array:
        """True for each image that is classified correctly `[N]`."""
        right: Array = self.predicted == self.labels
        return right


def read_runs(root: Path, study: str, strategies: Sequence[str] | None = None) -> list[FinishedRun]:
    """Read all finished runs of a study, in the order of arms, seeds and folds.

    A run is finished if it has metrics.json and test.npz; one line names the runs that are left out. If
    `experiments.table` has made the runs, only those that its table.json names count.

    Args:
        root: Folder of all runs.
        study: Name of the study.
        strategies: Read these arms only.

    Raises:
        SystemExit: Nothing is finished, or the runs cannot be compared; one line says what to do.
    """
    table = table_of(root, study)
    chosen = [run for run in RunFolder.find(root, study) if strategies is None or run.strategy in strategies]
    finished = [run for run in chosen if run.scores.is_file() and run.answers.is_file()]
    if unfinished := [str(run.path) for run in chosen if run not in finished]:
        print(f"left out, not tested yet: {', '.join(unfinished)}")
    runs = [read_run(folder) for folder in finished if _is_named(folder, table)]
    if not runs:
        stop(
            f"no finished run in {root / study}: make some with `lightning fit` and `lightning test`, "
            f"or `make table-{study}`"
        )
    order = in_order(list({run.folder.strategy for run in runs}))
    runs.sort(key=lambda run: (order.index(run.folder.strategy), run.key))
    check_comparable(runs, budget=table.get("budget"))
    return runs


def read_run(folder: RunFolder) -> FinishedRun:
    """Read one finished run.

    Raises:
        SystemExit: A file is damaged, or of another run or another test; one line names the file.
    """
    path = folder.config
    try:
        config = yaml.safe_load(path.read_text())
        path = folder.scores
        record = json.loads(path.read_text())
        accuracy = record["test"]["accuracy"]
        key = (int(record["seed"]), fold_of(record))
        path = folder.answers
        with np.load(path, allow_pickle=False) as file:
            answers = {name: file[name] for name in ("labels", "probabilities", "names")}
        path = folder.cost
        cost = record.get("cost") or (json.loads(path.read_text()) if path.is_file() else None)
    except Exception as error:  # there are as many types as ways to damage a file
        stop(f"{path} cannot be read ({type(error).__name__}: {error}): run `lightning test` again")
    run = FinishedRun(folder, config, record, cost, **answers)
    if key != run.key:
        stop(f"{folder.path} holds seed {key[0]} and fold {key[1]}: give the folder its name back, or remove it")
    several = 3 / max(1, len(run.labels))  # two probabilities may be equal although the logits are not
    if abs(run.right.mean() - accuracy) > several:
        stop(f"{folder.path}: test.npz and metrics.json are of two different tests: run `lightning test` again")
    return run


def table_of(root: Path, study: str) -> dict[str, Any]:
    """Content of table.json, in which `experiments.table` names its runs; empty if it did not make them."""
    path = root / study / TABLE
    table: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return table


def _is_named(run: RunFolder, table: Mapping[str, Any]) -> bool:
    """Tell whether a table names a run. Version 0.1 wrote fold 0 as null."""
    if not table:
        return True
    folds = [fold or 0 for fold in table["folds"]]
    return run.strategy in table["strategies"] and run.seed in table["seeds"] and run.fold in folds


def check_comparable(runs: Sequence[FinishedRun], budget: str | None = None) -> None:
    """Check that runs differ in strategy, seed and fold only.

    Args:
        runs: Runs of one study.
        budget: Quantity that the arms share; with "cost" they may differ in length.

    Raises:
        SystemExit: One line names two runs and the key, or the test set, in which they differ.
    """
    between: tuple[Between, ...] = ("arms", "lengths") if budget == "cost" else ("arms",)
    first_of_arm: dict[str, FinishedRun] = {}
    first_of_fold: dict[int, FinishedRun] = {}
    for run in runs:
        _check_config(runs[0], run, *between)
        _check_config(first_of_arm.setdefault(run.folder.strategy, run), run)
        other = first_of_fold.setdefault(run.folder.fold, run)
        both = f"{other.folder.path} and {run.folder.path}"
        if not (np.array_equal(run.labels, other.labels) and np.array_equal(run.names, other.names)):
            stop(f"{both} have different test sets: run one of them again with the other's data")
        if run.record["data_fingerprint"] != other.record["data_fingerprint"]:
            stop(f"{both} have other images or splits (data_fingerprint): run one of them again with the other's data")


def _check_config(first: FinishedRun, second: FinishedRun, *between: Between) -> None:
    for found in differences(first.config, second.config, "repetitions", *between):
        stop(
            f"{first.folder.path} and {second.folder.path} differ in {found.key} ({found.first} and {found.second}): "
            "compare runs of one experiment; keep others under another --run.root"
        )
