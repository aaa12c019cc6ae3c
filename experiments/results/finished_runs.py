"""Reads the folders of finished runs, and refuses to compare what is not comparable."""

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
from experiments.configs import Between, differences
from experiments.runs import fold_of
from experiments.studies import in_order

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run's records: config.yaml, metrics.json, cost.json and test.npz.

    `labels` `[N]`, `probabilities` `[N, C]`, `names` `[N]` and `clean` `[N]` are of the test split, in its order.
    """

    folder: Path
    study: str
    strategy: str
    seed: int
    fold: int
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    cost: Mapping[str, Any] | None
    labels: Array
    probabilities: Array
    names: Array
    clean: Array

    @property
    def key(self) -> tuple[int, int]:
        """Seed and fold: what two runs of a pair have in common."""
        return self.seed, self.fold

    @cached_property
    def predicted(self) -> Array:
        """Predicted classes `[N]`."""
        predicted: Array = self.probabilities.argmax(1)
        return predicted

    @cached_property
    def right(self) -> Array:
        """Which answers are right `[N]`."""
        right: Array = self.predicted == self.labels
        return right


def read_runs(root: Path, study: str, strategies: Sequence[str] | None = None) -> list[FinishedRun]:
    """Read all finished runs of a study, in the order of arms, seeds and folds.

    A run is finished when it has metrics.json and test.npz; one line says what is left out. Where `experiments.table`
    has made the runs, only those that its table.json names count.

    Args:
        root: Folder of all runs.
        study: Name of the study.
        strategies: Read these arms only.

    Raises:
        SystemExit: Nothing is finished, or the runs cannot be compared; one line says what to do.
    """
    runs, unfinished, table = [], [], read_table(root, study)
    for config in sorted(root.glob(f"{study}/*/seed*/config.yaml")):
        folder = config.parent
        if strategies is not None and folder.parent.name not in strategies:
            continue
        if (folder / "metrics.json").is_file() and (folder / "test.npz").is_file():
            run = read_run(folder)
            if _is_named(run, table):
                runs.append(run)
        else:
            unfinished.append(str(folder))
    if unfinished:
        print(f"left out, not tested yet: {', '.join(unfinished)}")
    if not runs:
        stop(
            f"no finished run in {root / study}: make some with `lightning fit` and `lightning test`, "
            f"or `make table-{study}`"
        )
    order = in_order(list({run.strategy for run in runs}))
    runs.sort(key=lambda run: (order.index(run.strategy), run.seed, run.fold))
    check_comparable(runs, budget=table.get("budget"))
    return runs


def read_run(folder: Path) -> FinishedRun:
    """Read one finished run.

    Raises:
        SystemExit: A file is damaged, or test.npz is of another test than metrics.json.
    """
    path = folder
    try:
        config = yaml.safe_load((path := folder / "config.yaml").read_text())
        metrics = json.loads((path := folder / "metrics.json").read_text())
        with np.load(path := folder / "test.npz", allow_pickle=False) as file:
            answers = {name: file[name] for name in ("labels", "probabilities", "names", "clean")}
        cost = metrics.get("cost")
        if cost is None and (path := folder / "cost.json").is_file():
            cost = json.loads(path.read_text())
        study, strategy, seed = metrics["study"], metrics["strategy"], int(metrics["seed"])
        fold = fold_of(metrics)
    except Exception as error:  # of as many types as there are ways to damage a file
        stop(f"{path} cannot be read ({type(error).__name__}: {error}): run `lightning test` again")
    run = FinishedRun(folder, study, strategy, seed, fold, config, metrics, cost, **answers)
    several = 3 / max(1, len(run.labels))  # two probabilities may be equal where the logits are not
    if abs(run.right.mean() - metrics["test"]["accuracy"]) > several:
        stop(f"{folder}: test.npz and metrics.json are of two different tests: run `lightning test` again")
    return run


def read_table(root: Path, study: str) -> dict[str, Any]:
    """What `experiments.table` says about the runs of a study ({"budget": ...}); nothing where it did not make them."""
    path = root / study / "table.json"
    table: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return table


def _is_named(run: FinishedRun, table: Mapping[str, Any]) -> bool:
    """Whether a table is of this run, too; a fold that is None is the config's, whose folder has no name of it."""
    if not table:
        return True
    folds = [fold or 0 for fold in table["folds"]]
    return run.strategy in table["strategies"] and run.seed in table["seeds"] and run.fold in folds


def by_arm(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """The runs of every strategy, in the order in which they come."""
    arms: dict[str, list[FinishedRun]] = {}
    for run in runs:
        arms.setdefault(run.strategy, []).append(run)
    return arms


def check_comparable(runs: Sequence[FinishedRun], budget: str | None = None) -> None:
    """Make sure that runs differ in strategy, seed and fold only.

    Args:
        runs: All of one study.
        budget: What arms share; with "cost" they may differ in length.

    Raises:
        SystemExit: One line names two runs and the key, or the test set, in which they differ.
    """
    between: tuple[Between, ...] = ("arms", "lengths") if budget == "cost" else ("arms",)
    first_of_arm: dict[str, FinishedRun] = {}
    first_of_fold: dict[int, FinishedRun] = {}
    seen: dict[tuple[str, int, int], FinishedRun] = {}
    for run in runs:
        twin = seen.setdefault((run.strategy, *run.key), run)
        if twin is not run:
            stop(f"{twin.folder} and {run.folder} are both seed {run.seed} of {run.strategy}: remove one of them")
        _check_config(runs[0], run, *between)
        _check_config(first_of_arm.setdefault(run.strategy, run), run)
        other = first_of_fold.setdefault(run.fold, run)
        if not (np.array_equal(run.labels, other.labels) and np.array_equal(run.names, other.names)):
            stop(
                f"{other.folder} and {run.folder} have different test sets: run one of them again with the other's data"
            )
        if run.metrics["data_fingerprint"] != other.metrics["data_fingerprint"]:
            stop(
                f"{other.folder} and {run.folder} have other images or splits (data_fingerprint): run one of them "
                "again with the other's data"
            )


def _check_config(first: FinishedRun, second: FinishedRun, *between: Between) -> None:
    for found in differences(first.config, second.config, "repetitions", *between):
        stop(
            f"{first.folder} and {second.folder} differ in {found.key} ({found.first} and {found.second}): compare "
            "runs of one experiment; keep others under another --run.root"
        )
