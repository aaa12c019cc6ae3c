"""The arms of a study compared: every question is a contrast, a weighted sum of the F1 of classes and arms."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.results import statistics
from experiments.results.finished_runs import FinishedRun
from experiments.results.records import AccuracyTest, Contrast, Pair

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparable runs of one study, and their answers to the test images.

    Args:
        runs: Runs as `finished_runs.read_runs` gives them.
        classes: Names of the C classes.
        resamples: Number of resamples R of the test images of each fold.
    """

    runs: Sequence[FinishedRun]
    classes: Sequence[str]
    resamples: int = statistics.RESAMPLES

    @cached_property
    def arms(self) -> dict[str, dict[tuple[int, int], FinishedRun]]:
        """By arm, the runs by seed and fold."""
        arms: dict[str, dict[tuple[int, int], FinishedRun]] = {}
        for run in self.runs:
            arms.setdefault(run.folder.strategy, {})[run.key] = run
        return arms

    @cached_property
    def folds(self) -> dict[int, list[FinishedRun]]:
        """By fold, the runs that share its test set."""
        folds = sorted({run.folder.fold for run in self.runs})
        return {fold: [run for run in self.runs if run.folder.fold == fold] for fold in folds}

    @cached_property
    def support(self) -> Array:
        """Number of test images of every class over all folds `[C]`."""
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

    def contrast(self, weights: Mapping[str, Array | float]) -> Contrast:
        """Test the hypothesis that a weighted sum of F1 over arms and classes is 0.

        Args:
            weights: Weights of an arm by its name, one a class `[C]` or one of macro-F1. The arms have runs in common.
        """
        keys = self.common(list(weights))
        by_class = {
            name: np.broadcast_to(np.divide(weight, 1 if np.ndim(weight) else len(self.classes)), len(self.classes))
            for name, weight in weights.items()
        }
        pairs = [[(self.arms[name][key], by_class[name]) for name in weights] for key in keys]
        by_run = [float(sum(self.f1[run] @ weight for run, weight in parts)) for parts in pairs]
        drawn = sum(self.resampled[run] @ weight for parts in pairs for run, weight in parts)
        return statistics.compare(by_run, np.asarray(drawn) / len(keys))

    def macro(self, name: str) -> float:
        """Mean macro-F1 of an arm."""
        return float(np.mean([self.f1[run].mean() for run in self.arms[name].values()]))

    @cached_property
    def pairs(self) -> list[Pair]:
        """All pairs of arms with a run in common; differences are those of the first arm minus the second."""
        contrasts = {}
        for a, b in itertools.combinations(self.arms, 2):
            if self.common([a, b]):
                contrasts[a, b] = self.contrast({a: 1.0, b: -1.0})
            else:
                print(f"not compared, for want of a common seed and fold: {a} and {b}")
        corrected = statistics.holm([contrast.p for contrast in contrasts.values()])
        return [
            Pair(
                **dict(contrast),
                a=a,
                b=b,
                accuracy=self._accuracy(a, b),
                p_holm=p_holm,
                distinguishable=p_holm < statistics.LEVEL,
            )
            for ((a, b), contrast), p_holm in zip(contrasts.items(), corrected, strict=True)
        ]

    def _accuracy(self, a: str, b: str) -> AccuracyTest:
        both = [(self.arms[a][key], self.arms[b][key]) for key in self.common([a, b])]
        return AccuracyTest(
            difference=float(np.mean([one.right.mean() - other.right.mean() for one, other in both])),
            p=statistics.combined_p([statistics.mcnemar(one.right, other.right) for one, other in both]),
        )

    def pair(self, a: str, b: str) -> Pair:
        """The pair of two arms with a run in common, turned so that its difference is `a` minus `b`.

        Its other tests are not turned.
        """
        pair = next(pair for pair in self.pairs if {pair.a, pair.b} == {a, b})
        if pair.a == a:
            return pair
        low, high = pair.ci95
        return pair.model_copy(update={"a": a, "b": b, "difference": -pair.difference, "ci95": (-high, -low)})

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """By arm, its letters: arms that share one are not distinguishable. The best arm has an a."""
        apart = [(pair.a, pair.b) for pair in self.pairs if pair.distinguishable]
        return statistics.letters(sorted(self.arms, key=lambda name: -self.macro(name)), apart)
