"""A run's folder: its name and path, its files, how far it is, its rows and its record."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, Literal

import yaml

from basics import names
from basics.errors import UserError
from basics.fit_end import FitEnd

State = Literal["new", "begun", "interrupted", "stopped early", "trained", "finished"]
NAME = re.compile(r"seed(0|[1-9]\d*)(?:-fold([1-9]\d*))?")


class _File:
    """A file of a run's folder, by the parts of its path below the folder."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, run: "RunFolder", owner: type) -> Path:
        return run.path.joinpath(*self.parts)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, `<root>/<study>/<strategy>/seed<k>`; a fold other than 0 adds `-fold<f>`.

    Args:
        root: Folder of all runs.
        study: Name of the study.
        strategy: Name of the arm.
        seed: Seed of everything random.
        fold: Fold of the data; 0 for data without folds.
        moved: Path of the folder if it is not where its names say.
    """

    root: Path
    study: str
    strategy: str
    seed: int
    fold: int = 0
    moved: Path | None = None

    @classmethod
    def at(cls, path: Path) -> "RunFolder":
        """Read the names of a run from the path of its folder.

        Raises:
            UserError: The path is not one of a run's folder.
        """
        found = NAME.fullmatch(path.name)
        if found is None or len(path.absolute().parts) < 4:
            raise UserError(f"{path} is not the folder of a run: expected <root>/<study>/<strategy>/seed<k>[-fold<f>]")
        root = path.parent.parent.parent
        return cls(root, path.parent.parent.name, path.parent.name, int(found[1]), int(found[2] or 0))

    @classmethod
    def find(cls, root: Path, study: str = "*") -> "list[RunFolder]":
        """Find the runs below a root that have begun, in the order of their paths."""
        paths = sorted(path.parent for path in root.glob(f"{study}/*/seed*/{names.CONFIG}"))
        return [cls.at(path) for path in paths if NAME.fullmatch(path.name)]

    @property
    def seed_name(self) -> str:
        """Last part of the path: `seed0`, `seed0-fold3`."""
        return f"seed{self.seed}" + (f"-fold{self.fold}" if self.fold else "")

    @property
    def name(self) -> str:
        """Path below the root: `fer/full/seed0`."""
        return f"{self.study}/{self.strategy}/{self.seed_name}"

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return self.moved or self.root / self.name

    config = _File(names.CONFIG)  # every value that was set
    fit_end = _File(names.FIT_END)  # how `fit` ended
    epochs = _File(names.EPOCHS)  # one row an epoch
    cost = _File(names.COST)  # cost of the training by phase
    scores = _File(names.SCORES)  # scores of the test, and what they were made with
    answers = _File(names.ANSWERS)  # label and probabilities of every test image
    mistakes = _File(names.MISTAKES)  # the most confident wrong answers
    checkpoints = _File(names.CHECKPOINTS)
    best = _File(names.CHECKPOINTS, "best.ckpt")  # of the epoch with the best validation score
    last = _File(names.CHECKPOINTS, "last.ckpt")  # to resume from
    wandb_id = _File("wandb", "id")  # of the W&B run that this run is

    def state(self) -> State:
        """How far the run is.

        new: nothing was trained. begun: training began, and there is nothing to resume from. interrupted: it can be
        resumed. stopped early, trained: `fit` ended before, or after, all planned epochs. finished: it is tested, too.
        A training that diverged counts as stopped early.
        """
        if self.scores.is_file():
            return "finished"
        end = FitEnd.read(self.fit_end)
        if end and end.ending == "finished":
            return "trained"
        if end and end.ending in ("stopped early", "diverged"):
            return "stopped early"
        if self.last.is_file():
            return "interrupted"
        return "begun" if self.config.is_file() else "new"

    def saved_config(self) -> dict[str, Any] | None:
        """Values that the run was made with; None if it has not begun."""
        return yaml.safe_load(self.config.read_text()) if self.config.is_file() else None

    def rows(self) -> list[dict[str, float]]:
        """Rows of metrics.csv, one an epoch, NaN for an empty field; none if the file is missing."""
        if not self.epochs.is_file():
            return []
        with self.epochs.open(newline="") as file:
            return [
                {name: float(value) if value else nan for name, value in row.items()} for row in csv.DictReader(file)
            ]

    def seconds(self) -> float:
        """Seconds that the epochs took."""
        return sum(row["epoch_seconds"] for row in self.rows())

    def record(self) -> dict[str, Any]:
        """Content of metrics.json; the run must be finished."""
        record: dict[str, Any] = json.loads(self.scores.read_text())
        return record


def fold_of(record: Mapping[str, Any]) -> int:
    """Fold in the record of a run; version 0.1 wrote it as a text, `fold3`, or empty for fold 0."""
    return int(record["fold"]) if "fold" in record else int(record["variant"].removeprefix("fold") or 0)
