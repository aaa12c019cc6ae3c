"""The arms of a study compared: every question is a contrast, a weighted sum of the F1 of classes and arms."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.results import statistics
from experiments.results.finished_runs import FinishedRun, by_arm

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparable runs of one study, and what their test images say.

    Args:
        runs: As `finished_runs.read_runs` gives them.
        classes: Names of the C classes.
        resamples: R, of the test images of each fold.
    """

    runs: Sequence[FinishedRun]
    classes: Sequence[str]
    resamples: int = statistics.RESAMPLES

    @cached_property
    def arms(self) -> dict[str, dict[tuple[int, int], FinishedRun]]:
        """By arm, the runs by seed and fold."""
        return {name: {run.key: run for run in runs} for name, runs in by_arm(self.runs).items()}

    @cached_property
    def folds(self) -> dict[int, list[FinishedRun]]:
        """By fold, the runs that share its test set."""
        folds = sorted({run.fold for run in self.runs})
        return {fold: [run for run in self.runs if run.fold == fold] for fold in folds}

    @cached_property
    def support(self) -> Array:
        """Test images of every class over all folds `[C]`."""
        labels = np.concatenate([runs[0].labels for runs in self.folds.values()])
        return np.bincount(labels, minlength=len(self.classes))

    @cached_property
    def f1(self) -> dict[FinishedRun, Array]:
        """By run, the F1 of every class `[C]`."""
        return {run: statistics.f1_per_class(run.labels, run.predicted, len(self.classes)) for run in self.runs}

    @cached_property
    def resampled(self) -> dict[FinishedRun, Array]:
        """By run, the F1 of every class in every resample `[R, C]`; all runs of a fold share its resamples."""
        found = {}
        for fold, runs in self.folds.items():
            predictions = np.stack([run.predicted for run in runs])
            f1 = statistics.resampled_f1(runs[0].labels, predictions, len(self.classes), self.resamples, (0, fold))
            found.update({run: f1[:, index] for index, run in enumerate(runs)})
        return found

    def common(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """Seeds and folds of which all these arms have a run."""
        return sorted(set.intersection(*(set(self.arms.get(name, ())) for name in names)))

    def contrast(self, weights: Mapping[str, Array | float]) -> dict[str, Any]:
        """Test whether a weighted sum of F1 over arms and classes is 0.

        Args:
            weights: By arm, a weight of each class `[C]`, or of macro-F1. The arms have runs in common.

        Returns:
            What `statistics.compare` gives.
        """
        keys = self.common(list(weights))
        share = {
            name: np.broadcast_to(np.divide(w, 1 if np.ndim(w) else len(self.classes)), len(self.classes))
            for name, w in weights.items()
        }
        pairs = [[(self.arms[name][key], share[name]) for name in weights] for key in keys]
        by_run = [float(sum(self.f1[run] @ weight for run, weight in parts)) for parts in pairs]
        drawn = sum(self.resampled[run] @ weight for parts in pairs for run, weight in parts)
        return statistics.compare(by_run, np.asarray(drawn) / len(keys))

    def macro(self, name: str) -> float:
        """Mean macro-F1 of an arm."""
        return float(np.mean([self.f1[run].mean() for run in self.arms[name].values()]))

    @cached_property
    def pairs(self) -> list[dict[str, Any]]:
        """All pairs of arms with a run in common, macro-F1 of the first minus that of the second."""
        found = []
        for a, b in itertools.combinations(self.arms, 2):
            keys = self.common([a, b])
            if not keys:
                print(f"not compared, for want of a common seed and fold: {a} and {b}")
                continue
            both = [(self.arms[a][key], self.arms[b][key]) for key in keys]
            exact = statistics.combined_p([statistics.mcnemar(one.right, other.right) for one, other in both])
            gain = float(np.mean([one.right.mean() - other.right.mean() for one, other in both]))
            found.append(
                {"a": a, "b": b, **self.contrast({a: 1.0, b: -1.0}), "accuracy": {"difference": gain, "p": exact}}
            )
        for pair, p_holm in zip(found, statistics.holm([pair["p"] for pair in found]), strict=True):
            pair |= {"p_holm": p_holm, "distinguishable": p_holm < statistics.LEVEL}
        return found

    def pair(self, a: str, b: str) -> dict[str, Any] | None:
        """The pair of two arms, turned so that its difference is `a` minus `b`."""
        for pair in self.pairs:
            if (pair["a"], pair["b"]) == (a, b):
                return pair
            if (pair["a"], pair["b"]) == (b, a):
                low, high = pair["ci95"]
                return pair | {"a": a, "b": b, "difference": -pair["difference"], "ci95": [-high, -low]}
        return None

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """By arm, its letters: arms that share one are not distinguishable. The best arm has an a."""
        apart = [(pair["a"], pair["b"]) for pair in self.pairs if pair["distinguishable"]]
        return statistics.letters(sorted(self.arms, key=lambda name: -self.macro(name)), apart)
