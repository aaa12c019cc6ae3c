"""The figures of one study, each with a sentence that says what it shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.report import charts
from experiments.report.charts import Dot
from experiments.report.data import ArmRuns, Array, by_epoch, changes, confidence_bins, stages_of
from experiments.report.frontier import Point, frontier

FLOPS = ((1e15, "PFLOPs"), (1e12, "TFLOPs"), (1e9, "GFLOPs"))
TIMES = ((3600, "hours"), (60, "minutes"), (1, "seconds"))


def frontiers(arms: Sequence[ArmRuns]) -> list[str]:
    """Macro-F1 against operations, and against seconds; of the arms whose cost is known, if they are several."""
    operations = [arm.result.operations or 0.0 for arm in arms]
    seconds = [arm.result.cost.seconds.mean if arm.result.cost else 0.0 for arm in arms]
    both = (
        _frontier(arms, operations, "forward and backward operations of a run", FLOPS),
        _frontier(arms, seconds, "training time of a run", TIMES),
    )
    return [figure for figure in both if figure]


def _frontier(
    arms: Sequence[ArmRuns], costs: Sequence[float], what: str, units: Sequence[tuple[float, str]]
) -> str | None:
    scale, unit = next((unit for unit in units if max(costs) >= 2 * unit[0]), units[-1])
    points = [
        Point(arm.name, arm.index, cost / scale, arm.result.f1_macro)
        for arm, cost in zip(arms, costs, strict=True)
        if cost > 0
    ]
    if len(points) < 2:
        return None
    best = max(points, key=lambda point: point.f1.mean)
    cheap = min(points, key=lambda point: point.cost)
    says = (
        f"Macro-F1 against {what}: {best.name} is highest with {best.f1.mean:.3f} for {best.cost:.3g} {unit}, "
        f"{cheap.name} cheapest with {cheap.f1.mean:.3f} for {cheap.cost:.3g}."
    )
    return frontier(points, f"{what}, {unit}", says)


def curves(arms: Sequence[ArmRuns]) -> list[str]:
    """Validation macro-F1 by epoch, an arm a panel."""
    stages = stages_of(arms)
    scored = [(arm, scores) for arm in arms if len(scores := by_epoch(arm, "val/f1_macro"))]
    limits = _limits([scores for _, scores in scored])
    found = []
    for arm, own in scored:
        mean = np.nanmean(own, 0)
        best = int(np.nanargmax(mean))
        begins = changes(arm, stages)
        phases = "".join(f"; at epoch {epoch} {text}" for epoch, text in begins.items())
        says = f"{arm.name}: val macro-F1 {mean[0]:.3f} at first, at best {mean[best]:.3f} at epoch {best}{phases}."
        others = [scores for other, scores in scored if other is not arm]
        found.append(charts.curve(arm, own, begins, others, limits, says))
    return found


def class_panels(arms: Sequence[ArmRuns]) -> list[str]:
    """F1 of each class by arm, the hardest class first; of one arm, all classes in one panel."""
    values = {name: [arm.result.per_class_f1[name] for arm in arms] for name in arms[0].result.per_class_f1}
    bounds = [value.ci95 or (value.mean, value.mean) for each in values.values() for value in each]
    limits = (max(-0.01, min(low for low, _ in bounds) - 0.03), min(1.01, max(high for _, high in bounds) + 0.03))
    names = sorted(values, key=lambda name: np.mean([value.mean for value in values[name]]))
    if len(arms) == 1:
        dots = [Dot(name, arms[0].index, values[name][0]) for name in names]
        return [charts.class_scores(arms[0].name, dots, limits, None, _f1_of(arms[0].name, dots))]
    found = []
    for name in names:
        dots = [Dot(arm.name, arm.index, value) for arm, value in zip(arms, values[name], strict=True)]
        images = next((arm.records[0]["per_class"][name]["support"] for arm in arms if arm.records), None)
        found.append(charts.class_scores(name, dots, limits, images, _f1_of(name, dots)))
    return found


def reliabilities(arms: Sequence[ArmRuns]) -> list[str]:
    """Accuracy against confidence, an arm a panel; of the arms that have a test.npz."""
    found = []
    for arm in arms:
        bins = confidence_bins(arm)
        if not len(bins):
            continue
        confidence, accuracy, share = bins.T
        gap = float((share * (confidence - accuracy)).sum())
        how = "too sure" if gap > 0.01 else "not sure enough" if gap < -0.01 else "as sure as it is right"
        known = arm.result.more_scores.get("ece")
        ece = known.mean if known else float((share * abs(confidence - accuracy)).sum())
        says = f"{arm.name}: on the whole {how}, mean confidence minus accuracy {gap:+.3f}, ECE {ece:.3f}."
        found.append(charts.reliability(arm, bins, ece, says))
    return found


def diagnostics(arms: Sequence[ArmRuns]) -> list[str]:
    """Gradient norm and distance by stage, an arm a panel."""
    stages = stages_of(arms)
    norms = {arm.name: _by_stage(arm, "gradient_norm", stages) for arm in arms}
    distances = {arm.name: _by_stage(arm, "distance", stages) for arm in arms}
    if not any(norms.values()):
        return []
    every = np.concatenate([np.ravel(values) for series in norms.values() for values in series.values()])
    every = every[every > 0]
    norm_limits = (every.min() / 1.5, every.max() * 1.5)
    distance_limits = _limits([values for series in distances.values() for values in series.values()])
    found = []
    for arm in arms:
        if not norms[arm.name]:
            continue
        pulled = {stage: float(np.nanmean(values)) for stage, values in norms[arm.name].items()}
        moved = {stage: float(np.nanmean(values[:, -1])) for stage, values in distances[arm.name].items()}
        far = max(moved, key=moved.__getitem__, default=None)
        moves = (
            f"{far} has moved furthest, by {moved[far]:.2%}" if far and moved[far] > 0 else "the backbone has not moved"
        )
        says = f"{arm.name}: the largest mean gradient norm is that of {max(pulled, key=pulled.__getitem__)}; {moves}."
        upper = (norms[arm.name], norm_limits)
        lower = (distances[arm.name], distance_limits)
        found.append(charts.diagnostics(arm, changes(arm, stages), stages, upper, lower, says))
    return found


def _by_stage(arm: ArmRuns, quantity: str, stages: Sequence[str]) -> dict[str, Array]:
    """A quantity by stage `[runs, epochs]`, of the stages that have it."""
    return {stage: values for stage in stages if len(values := by_epoch(arm, f"{quantity}/{stage}"))}


def _f1_of(name: str, dots: Sequence[Dot]) -> str:
    return f"{name}: F1 " + ", ".join(f"{dot.name} {dot.score}" for dot in dots) + "."


def _limits(arrays: Sequence[Any]) -> tuple[float, float]:
    """A little more than the range of all values."""
    values = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(1)
    low = float(np.nanmin(values))
    high = float(np.nanmax(values))
    room = 0.04 * (high - low) or 0.02
    return low - room, high + room
