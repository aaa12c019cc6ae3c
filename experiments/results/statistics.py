"""How sure a score is, and a difference of two: intervals over runs, resampled test images, exact tests.

A score has two sources of chance. Another seed trains another network: that is what the t-intervals over runs show.
Another sample of test images gives another score of the same network: that is what the bootstrap shows. Two arms are
told apart only where both are excluded.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[Any]

RESAMPLES = 10_000
LEVEL = 0.05
CELLS = 4_000_000  # resamples x images drawn at a time: about 100 MB


def mean_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1) and 95 % t-interval of the mean; the latter two are None for one value.

    Runs count as independent. Folds share training images, so that the interval over folds is somewhat too short
    (Nadeau & Bengio 2003).
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return {"mean": mean, "std": None, "ci95": None}
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * std / count**0.5
    return {"mean": mean, "std": std, "ci95": [mean - half, mean + half]}


def f1_per_class(labels: Array, predicted: Array, classes: int) -> Array:
    """F1 of every class `[C]`, as classification.metrics defines it: 0 for a class that does not occur.

    Args:
        labels: True classes `[N]`.
        predicted: Predicted classes `[N]`.
        classes: C.
    """
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    total = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    f1: Array = 2 * hits / np.maximum(total, 1)
    return f1


def resampled_f1(
    labels: Array, predictions: Array, classes: int, resamples: int = RESAMPLES, seed: Sequence[int] = (0,)
) -> Array:
    """F1 of every class of every run, on test images drawn with replacement, as often as there are images.

    A resample is a vector of counts over the images, and all runs share it, so that differences between runs are
    paired. What F1 is made of is then one matrix product: counts `[R, N]` times indicator columns `[N, C (1 + 2 K)]`.

    Args:
        labels: True classes `[N]`.
        predictions: Predicted classes of K runs `[K, N]`.
        classes: C.
        resamples: R.
        seed: Of the resamples; they depend on it, R and N alone.

    Returns:
        `[R, K, C]`.
    """
    runs, images = predictions.shape
    hits = [np.where(predicted == labels, labels, -1) for predicted in predictions]
    indicators = [part[:, None] == np.arange(classes) for part in (labels, *predictions, *hits)]
    columns = np.concatenate(indicators, axis=1).astype(np.float32)  # sums up to 2^24 are exact
    random, rows = np.random.default_rng(seed), max(1, CELLS // images)
    f1 = np.empty((resamples, runs, classes))
    for first in range(0, resamples, rows):
        size = min(rows, resamples - first)
        drawn = random.integers(0, images, (size, images))
        drawn += images * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float32)
        sums = (counts @ columns).reshape(size, 1 + 2 * runs, classes)
        support, predicted, found = sums[:, :1], sums[:, 1 : runs + 1], sums[:, runs + 1 :]
        f1[first : first + size] = 2.0 * found / np.maximum(support + predicted, 1)
    return f1


def resampled_sum(scores: Array, resamples: int = RESAMPLES, seed: Sequence[int] = (0,)) -> Array:
    """Sums of what each of N images scores, over N images drawn with replacement `[R]`.

    Args:
        scores: Of each image `[N]`; few different ones, so that it is enough to draw how often each value occurs.
        resamples: R.
        seed: Of the resamples.
    """
    if not len(scores):
        return np.zeros(resamples)
    values, frequency = np.unique(scores, return_counts=True)
    drawn: Array = np.random.default_rng(seed).multinomial(len(scores), frequency / len(scores), resamples) @ values
    return drawn


def bootstrap_p(resampled: Array) -> float:
    """Two-sided p of "the difference is 0": where the percentile interval of the resamples `[R]` begins to hold 0."""
    beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return float(min(1.0, 2 * (beyond + 1) / (len(resampled) + 1)))


def percentiles(resampled: Array) -> list[float]:
    """The 95 % percentile interval of the resamples `[R]`."""
    return [float(limit) for limit in np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2])]


def compare(by_run: Sequence[float], resampled: Array) -> dict[str, Any]:
    """Whether a difference is real, by both sources of chance.

    Args:
        by_run: The difference in every pair of runs with the same seed and fold `[n]`.
        resampled: Its mean over the runs, in every resample of the test images `[R]`.

    Returns:
        difference; ci95 and p_images (bootstrap over test images); seeds (paired t over runs: difference, ci95, p,
        None for a single run); runs (n); p, the larger of the two: both must exclude chance.
    """
    over_runs = mean_interval(by_run)
    if len(by_run) < 2:
        p_runs = None
    elif np.ptp(by_run) == 0:  # scipy has no answer for what does not vary
        p_runs = 1.0 if by_run[0] == 0 else 0.0
    else:
        p_runs = float(stats.ttest_1samp(by_run, 0.0).pvalue)
    p_images = bootstrap_p(resampled)
    return {
        "difference": over_runs["mean"],
        "ci95": percentiles(resampled),
        "p": max(p_images, p_runs or 0.0),
        "p_images": p_images,
        "runs": len(by_run),
        "seeds": {"difference": over_runs["mean"], "ci95": over_runs["ci95"], "p": p_runs},
    }


def mcnemar(right_a: Array, right_b: Array) -> float:
    """Exact two-sided McNemar test of equal accuracy, from which images `[N]` each of two runs has right."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def combined_p(values: Sequence[float]) -> float:
    """One p for several of the same hypothesis that depend on each other, such as those of seeds on one test set.

    Twice their mean, at most 1, is valid whatever the dependence (Vovk & Wang 2020, "Combining p-values via
    averaging", Biometrika). A single value stays what it is.
    """
    return values[0] if len(values) == 1 else min(1.0, 2 * float(np.mean(values)))


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979), in the order given."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def letters(arms: Sequence[str], apart: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Compact letter display: two arms share a letter exactly where they cannot be told apart.

    The insert-and-absorb algorithm of Piepho 2004, "An algorithm for a letter-based representation of all-pairwise
    comparisons".

    Args:
        arms: From best to worst; the best has the letter a.
        apart: The pairs that are distinguishable.
    """
    groups = {frozenset(arms)}
    for a, b in apart:
        both = {group for group in groups if a in group and b in group}
        groups = (groups - both) | {group - {arm} for group in both for arm in (a, b)}
        groups = {group for group in groups if not any(group < other for other in groups)}
    ordered = sorted(groups, key=lambda group: sorted(arms.index(arm) for arm in group))
    return {arm: "".join(chr(ord("a") + i) for i, group in enumerate(ordered) if arm in group) for arm in arms}
