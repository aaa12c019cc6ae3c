"""The studies: data, arms in order, seeds and folds of their tables, statements of the original study.

The arms of a study are found from its configs, `configs/<study>_<arm>.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIGS = Path("configs")
# Order of arms in tables and of their colours; an arm that is not named here follows by name.
ORDER = ("plain", "frozen", "partial", "full", "gradual", "lpft", "layerdecay")


@dataclass(frozen=True)
class Statement:
    """A statement of the original study, checked by a function of experiments/results/hypotheses.py.

    Attributes:
        text: The statement in words.
        question: Name of the function.
        arguments: Arguments of the function beside the comparison.
    """

    text: str
    question: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """One data set with the arms that are compared on it.

    Attributes:
        name: Name of the study, as in the names of its configs and run folders.
        data: Class name of its data module in the package datamodules; empty if it is not one of this project's.
        seeds: Seeds of its table.
        folds: Folds of its table.
        statements: Statements of the original study.
    """

    name: str
    data: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: tuple[int, ...] = (0,)
    statements: tuple[Statement, ...] = field(default=(), repr=False)

    @property
    def arms(self) -> list[str]:
        """Names of the arms that have a config, in order."""
        return in_order([path.stem.removeprefix(f"{self.name}_") for path in CONFIGS.glob(f"{self.name}_*.yaml")])

    def config(self, arm: str) -> Path:
        """Path of an arm's config."""
        return CONFIGS / f"{self.name}_{arm}.yaml"


def in_order(arms: list[str]) -> list[str]:
    """Sort names of arms as tables show them."""
    return sorted(arms, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def study_of(name: str) -> Study:
    """One of the studies below, or a study of the reader's own, of which only the name is known."""
    return STUDIES.get(name, Study(name))


def _confused(first: str, second: str) -> Statement:
    text = f"{first} and {second} are each other's most frequent confusion"
    return Statement(text, "confused", {"first": first, "second": second})


TRANSFER = (
    Statement("frozen < partial < full in macro-F1", "ordered", {"arms": ("frozen", "partial", "full")}),
    Statement(
        "partial gives most of the gain of full over frozen",
        "most_of_the_gain",
        {"low": "frozen", "middle": "partial", "high": "full"},
    ),
    Statement("full helps the minority classes more than the others", "helps_most", {"low": "frozen", "high": "full"}),
)
STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study("fashion", "FashionMNIST", (0, 1, 2, 3, 4), statements=(_confused("Shirt", "T-shirt/top"),)),
        Study(
            "deepweeds",
            "DeepWeeds",
            seeds=(0,),
            folds=(0, 1, 2, 3, 4),
            statements=(*TRANSFER, Statement("Negative is the hardest class", "hardest", {"name": "Negative"})),
        ),
        Study(
            "fer",
            "FER2013",
            statements=(
                *TRANSFER,
                Statement(
                    "full helps Disgust, the rarest class, more than the others",
                    "helps_most",
                    {"low": "frozen", "high": "full", "favoured": "Disgust"},
                ),
                _confused("Fear", "Surprise"),
                _confused("Angry", "Disgust"),
            ),
        ),
    )
}
