"""Statements of the original study, checked on the runs of a study.

A verdict is supported, refuted, open (not distinguishable) or open (not tested). As between arms, a verdict other than
open excludes both sources of chance: test images and seeds. The evidence has the numbers that decide.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from experiments.numbers import p_value, signed
from experiments.results import statistics
from experiments.results.comparison import Comparison
from experiments.results.records import Answer, Contrast, Verdict
from experiments.studies import study_of

Finding = tuple[Answer, str]  # answer and evidence

SUPPORTED: Final = "supported"
REFUTED: Final = "refuted"
OPEN: Final = "open (not distinguishable)"
UNTESTED: Final = "open (not tested)"


def verdicts(study: str, found: Comparison) -> list[Verdict]:
    """Answer every statement about a study."""
    findings = [(one.text, *QUESTIONS[one.question](found, **one.arguments)) for one in study_of(study).statements]
    return [Verdict(statement=text, verdict=answer, evidence=evidence) for text, answer, evidence in findings]


def ordered(found: Comparison, arms: Sequence[str]) -> Finding:
    """Does macro-F1 grow from arm to arm? Supported if every step is distinguishable."""
    if missing := _missing(found, arms):
        return missing
    steps = [found.pair(high, low) for low, high in itertools.pairwise(arms)]
    signs = [float(np.sign(step.difference)) if step.distinguishable else 0.0 for step in steps]
    scores = ", ".join(f"{name} {found.macro(name):.3f}" for name in arms)
    gains = "; ".join(f"{step.a} − {step.b} {_interval(step)}, Holm's {p_value(step.p_holm)}" for step in steps)
    return _all(signs), f"macro-F1 {scores}; {gains}"


def most_of_the_gain(found: Comparison, low: str, middle: str, high: str) -> Finding:
    """Is (middle - low) more than half of (high - low) in macro-F1?"""
    if missing := _missing(found, (low, middle, high)):
        return missing
    whole = found.pair(high, low)
    if not (whole.distinguishable and whole.difference > 0):
        return OPEN, f"{high} − {low} {_interval(whole)}: there is no gain to share"
    excess = found.contrast({middle: 1.0, low: -0.5, high: -0.5})
    keys = found.common([low, middle, high])
    drawn = {
        name: np.mean([found.resampled[found.arms[name][key]].mean(1) for key in keys], axis=0)
        for name in (low, middle, high)
    }
    scores = {name: np.mean([found.f1[found.arms[name][key]].mean() for key in keys]) for name in drawn}
    share = (scores[middle] - scores[low]) / (scores[high] - scores[low])
    limits = statistics.percentiles((drawn[middle] - drawn[low]) / (drawn[high] - drawn[low]))
    says = f"{middle} has {share:.0%} [{limits[0]:.0%}, {limits[1]:.0%}] of the gain of {_interval(whole)}"
    return _verdict(excess), f"{says}; more or less than half: {p_value(excess.p)}"


def helps_most(found: Comparison, low: str, high: str, favoured: str | None = None) -> Finding:
    """Does F1 gain more, from one arm to another, in rare classes (or in one class) than in the others?"""
    if missing := _missing(found, (low, high)):
        return missing
    if favoured is not None and favoured not in found.classes:
        return UNTESTED, f"there is no class {favoured}"
    chosen = np.array([name == favoured for name in found.classes])
    if favoured is None:
        chosen = found.support < np.median(found.support)
    if not chosen.any():
        return UNTESTED, "all classes are equally frequent"
    inside = chosen / chosen.sum()
    outside = ~chosen / (~chosen).sum()
    gap, rare, rest = (found.contrast({high: part, low: -part}) for part in (inside - outside, inside, outside))
    names = ", ".join(name for name, is_chosen in zip(found.classes, chosen, strict=True) if is_chosen)
    return _verdict(gap), (
        f"F1 of {high} − {low}: {_interval(rare)} in {names}, {_interval(rest)} in the others; "
        f"difference {_interval(gap)}, {p_value(gap.p)}"
    )


def hardest(found: Comparison, name: str) -> Finding:
    """Does a class have the lowest F1, as the mean of all arms? It is compared with the nearest other class."""
    if name not in found.classes:
        return UNTESTED, f"there is no class {name}"
    arms = list(found.arms)
    if not found.common(arms):
        return UNTESTED, "the arms have no seed and fold in common"
    scores = np.mean([np.mean([found.f1[run] for run in found.arms[arm].values()], axis=0) for arm in arms], axis=0)
    index = list(found.classes).index(name)
    others = np.where(np.arange(len(scores)) == index, np.inf, scores)
    rival = int(others.argmin())
    weights = np.zeros(len(scores))
    weights[rival] = 1 / len(arms)
    weights[index] = -1 / len(arms)
    gap = found.contrast(dict.fromkeys(arms, weights))
    return _verdict(gap), (
        f"F1, mean of all arms: {name} {scores[index]:.3f}, lowest of the others {found.classes[rival]} "
        f"{scores[rival]:.3f}; difference {_interval(gap)}, {p_value(gap.p)}"
    )


def confused(found: Comparison, first: str, second: str) -> Finding:
    """Is each of two classes the most frequent wrong answer to images of the other, over all runs?"""
    if not {first, second} <= set(found.classes):
        return UNTESTED, f"there are no classes {first} and {second}"
    answers = [_mistaken(found, true, answer) for true, answer in ((first, second), (second, first))]
    return _all([sign for sign, _ in answers]), "; ".join(text for _, text in answers)


def _mistaken(found: Comparison, true: str, answer: str) -> tuple[float, str]:
    """Find the most frequent wrong answer to images of a class: 1 if it is `answer`, -1 if another, 0 if either may be.

    Returns:
        The sign, and the numbers that decide.
    """
    classes = list(found.classes)
    row = classes.index(true)
    column = classes.index(answer)
    counts = np.array([np.bincount(run.predicted[run.labels == row], minlength=len(classes)) for run in found.runs])
    others = counts.sum(0)
    others[[row, column]] = -1
    rival = int(others.argmax())
    drawn = np.zeros(found.resamples)
    for fold, runs in found.folds.items():
        answers = np.stack([run.predicted[run.labels == row] for run in runs])
        scores = ((answers == column).sum(0) - (answers == rival).sum(0)) / len(found.runs)
        drawn += statistics.resampled_sum(scores, found.resamples, (row, column, fold))
    p = statistics.compare((counts[:, column] - counts[:, rival]).tolist(), drawn).p
    here = counts[:, column].mean()
    there = counts[:, rival].mean()
    images = int(found.support[row] / len(found.folds))
    text = (
        f"of {images} {true}, {here:.1f} a run are taken for {answer}, {there:.1f} for {classes[rival]}, {p_value(p)}"
    )
    return (float(np.sign(here - there)) if p < statistics.LEVEL else 0.0), text


def _missing(found: Comparison, arms: Sequence[str]) -> Finding | None:
    absent = [name for name in arms if name not in found.arms]
    if absent:
        return UNTESTED, f"no runs of {' and '.join(absent)}"
    return None if found.common(arms) else (UNTESTED, f"{', '.join(arms)} have no seed and fold in common")


def _all(signs: Sequence[float]) -> Answer:
    """Supported if all parts are, refuted if one is."""
    return SUPPORTED if min(signs) > 0 else REFUTED if min(signs) < 0 else OPEN


def _verdict(contrast: Contrast) -> Answer:
    """Answer to "this contrast is above 0"."""
    return OPEN if contrast.p >= statistics.LEVEL else SUPPORTED if contrast.difference > 0 else REFUTED


def _interval(contrast: Contrast) -> str:
    low, high = contrast.ci95
    return f"{signed(contrast.difference)} [{signed(low)}, {signed(high)}]"


QUESTIONS: Mapping[str, Callable[..., Finding]] = {
    question.__name__: question for question in (ordered, most_of_the_gain, helps_most, hardest, confused)
}
