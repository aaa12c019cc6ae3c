"""Uncertainty of a score and of a difference: intervals over runs, resampled test images, exact tests.

A score has two sources of chance. Another seed trains another network: the t-intervals over runs show that. Another
sample of test images gives another score of the same network: the bootstrap shows that. Two arms are told apart only if
both are excluded.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiments.results.records import Bounds, Contrast, Interval, SeedTest

Array = NDArray[Any]

RESAMPLES = 10_000
LEVEL = 0.05
CELLS = 4_000_000  # resamples x images drawn at a time: about 100 MB


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean, standard deviation (n - 1) and 95 % t-interval of the mean; the last two are None for one value.

    Runs count as independent. Folds share training images, so that the interval over folds is somewhat too short
    (Nadeau & Bengio 2003).
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:
        return Interval(mean=mean, std=None, ci95=None)
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * std / count**0.5
    return Interval(mean=mean, std=std, ci95=(mean - half, mean + half))


def f1_per_class(labels: Array, predicted: Array, classes: int) -> Array:
    """F1 of every class `[C]`, as classification.metrics defines it: 0 for a class that does not occur.

    Args:
        labels: True classes `[N]`.
        predicted: Predicted classes `[N]`.
        classes: Number of classes C.
    """
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    total = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    f1: Array = 2 * hits / np.maximum(total, 1)
    return f1


def resampled_f1(
    labels: Array, predictions: Array, classes: int, resamples: int = RESAMPLES, seed: Sequence[int] = (0,)
) -> Array:
    """F1 of every class of every run, on as many test images as there are, drawn with replacement.

    A resample is a vector of counts over the images. All runs share it, so that differences between runs are paired.
    All sums that F1 needs are then one matrix product: counts `[R, N]` times indicator columns `[N, C (1 + 2 K)]`.

    Args:
        labels: True classes `[N]`.
        predictions: Predicted classes of K runs `[K, N]`.
        classes: Number of classes C.
        resamples: Number of resamples R.
        seed: Seed of the resamples; they depend on it, R and N alone.

    Returns:
        F1 `[R, K, C]`.
    """
    runs, images = predictions.shape
    hits = [np.where(predicted == labels, labels, -1) for predicted in predictions]
    indicators = [part[:, None] == np.arange(classes) for part in (labels, *predictions, *hits)]
    columns = np.concatenate(indicators, axis=1).astype(np.float32)  # sums up to 2^24 are exact
    random = np.random.default_rng(seed)
    rows = max(1, CELLS // images)
    f1 = np.empty((resamples, runs, classes))
    for first in range(0, resamples, rows):
        size = min(rows, resamples - first)
        drawn = random.integers(0, images, (size, images))
        drawn += images * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float32)
        sums = (counts @ columns).reshape(size, 1 + 2 * runs, classes)
        support = sums[:, :1]
        predicted = sums[:, 1 : runs + 1]
        found = sums[:, runs + 1 :]
        f1[first : first + size] = 2.0 * found / np.maximum(support + predicted, 1)
    return f1


def resampled_sum(scores: Array, resamples: int = RESAMPLES, seed: Sequence[int] = (0,)) -> Array:
    """Sums `[R]` of the scores of N images drawn with replacement.

    Args:
        scores: Score of each image `[N]`. There are few different scores: it is enough to draw how often each occurs.
        resamples: Number of resamples R.
        seed: Seed of the resamples.
    """
    if not len(scores):
        return np.zeros(resamples)
    values, frequency = np.unique(scores, return_counts=True)
    drawn: Array = np.random.default_rng(seed).multinomial(len(scores), frequency / len(scores), resamples) @ values
    return drawn


def bootstrap_p(resampled: Array) -> float:
    """Two-sided p of "the difference is 0": the level at which the percentile interval of `[R]` begins to hold 0."""
    beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return float(min(1.0, 2 * (beyond + 1) / (len(resampled) + 1)))


def percentiles(resampled: Array) -> Bounds:
    """95 % percentile interval of resamples `[R]`."""
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def compare(by_run: Sequence[float], resampled: Array) -> Contrast:
    """Test a difference for both sources of chance.

    Args:
        by_run: Difference in every pair of runs with the same seed and fold `[n]`.
        resampled: Mean of the difference over the runs, in every resample of the test images `[R]`.
    """
    over_runs = mean_interval(by_run)
    if len(by_run) < 2:
        p_runs = None
    elif np.ptp(by_run) == 0:  # scipy gives NaN for values that do not vary
        p_runs = 1.0 if by_run[0] == 0 else 0.0
    else:
        p_runs = float(stats.ttest_1samp(by_run, 0.0).pvalue)
    p_images = bootstrap_p(resampled)
    return Contrast(
        difference=over_runs.mean,
        ci95=percentiles(resampled),
        p=max(p_images, p_runs or 0.0),
        p_images=p_images,
        runs=len(by_run),
        seeds=SeedTest(difference=over_runs.mean, ci95=over_runs.ci95, p=p_runs),
    )


def mcnemar(right_a: Array, right_b: Array) -> float:
    """P of the exact two-sided McNemar test of equal accuracy.

    Args:
        right_a: True for each image that the first run classifies correctly `[N]`.
        right_b: True for each image that the second run classifies correctly `[N]`.
    """
    only_a = int((right_a & ~right_b).sum())
    only_b = int((right_b & ~right_a).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def combined_p(values: Sequence[float]) -> float:
    """One p for several of the same hypothesis that depend on each other, as those of seeds on one test set do.

    Twice their mean, at most 1, is valid whatever the dependence (Vovk & Wang 2020, "Combining p-values via
    averaging", Biometrika). A single value is returned unchanged.
    """
    return values[0] if len(values) == 1 else min(1.0, 2 * float(np.mean(values)))


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979), in the order given."""
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def letters(arms: Sequence[str], apart: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Compact letter display: two arms share a letter exactly if they cannot be told apart.

    The insert-and-absorb algorithm of Piepho 2004, "An algorithm for a letter-based representation of all-pairwise
    comparisons".

    Args:
        arms: Names of the arms from best to worst; the best has the letter a.
        apart: Pairs of arms that are distinguishable.
    """
    groups = {frozenset(arms)}
    for a, b in apart:
        both = {group for group in groups if a in group and b in group}
        groups = (groups - both) | {group - {arm} for group in both for arm in (a, b)}
        groups = {group for group in groups if not any(group < other for other in groups)}
    ordered = sorted(groups, key=lambda group: sorted(arms.index(arm) for arm in group))
    return {arm: "".join(chr(ord("a") + i) for i, group in enumerate(ordered) if arm in group) for arm in arms}
