"""The figures of one study, each with a sentence that says what it shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.report import charts
from experiments.report.data import Arm, by_epoch, changes, confidence_bins, stages_of
from experiments.report.words import flops_of, interval, plain, score


def frontiers(arms: Sequence[Arm]) -> list[str]:
    """Macro-F1 against operations, and against seconds; of the arms whose cost is known, if they are several."""
    found = []
    seconds = {arm.name: plain((arm.result.get("cost") or {}).get("seconds")) or 0.0 for arm in arms}
    operations = {arm.name: flops_of(arm.result) for arm in arms}
    for costs, what, units in (
        (operations, "forward and backward operations of a run", ((1e15, "PFLOPs"), (1e12, "TFLOPs"), (1e9, "GFLOPs"))),
        (seconds, "training time of a run", ((3600, "hours"), (60, "minutes"), (1, "seconds"))),
    ):
        known = [arm for arm in arms if costs[arm.name] > 0]
        if len(known) < 2:
            continue
        scale, unit = next((u for u in units if max(costs.values()) >= 2 * u[0]), units[-1])
        points = [
            {
                **{"name": arm.name, "index": arm.index, "cost": costs[arm.name] / scale},
                **{"f1": arm.result["f1_macro"]["mean"], "ci95": interval(arm.result["f1_macro"])},
            }
            for arm in known
        ]
        best, cheap = max(points, key=lambda p: p["f1"]), min(points, key=lambda p: p["cost"])
        says = (
            f"Macro-F1 against {what}: {best['name']} is highest with {best['f1']:.3f} for {best['cost']:.3g} {unit}, "
            f"{cheap['name']} cheapest with {cheap['f1']:.3f} for {cheap['cost']:.3g}."
        )
        found.append(charts.frontier(points, f"{what}, {unit}", says))
    return found


def curves(arms: Sequence[Arm]) -> list[str]:
    """Validation macro-F1 by epoch, an arm a panel."""
    stages = stages_of(arms)
    drawn = [
        {"name": arm.name, "index": arm.index, "scores": scores, "changes": changes(arm, stages)}
        for arm in arms
        if len(scores := by_epoch(arm, "val/f1_macro"))
    ]
    limits = _limits([arm["scores"] for arm in drawn])
    found = []
    for arm in drawn:
        mean = np.nanmean(arm["scores"], 0)
        best = int(np.nanargmax(mean))
        phases = "".join(f"; at epoch {epoch} {text}" for epoch, text in arm["changes"].items())
        says = f"{arm['name']}: val macro-F1 {mean[0]:.3f} at first, at best {mean[best]:.3f} at epoch {best}{phases}."
        found.append(charts.curve(arm, [other for other in drawn if other is not arm], limits, says))
    return found


def class_panels(results: Mapping[str, Any], arms: Sequence[Arm]) -> list[str]:
    """F1 of each class by arm, the hardest class first; of one arm, all classes in one panel."""
    names = list(arms[0].result["per_class_f1"]) if arms else []
    values = {name: [arm.result["per_class_f1"][name] for arm in arms] for name in names}
    bounds = [interval(value) or (value["mean"], value["mean"]) for each in values.values() for value in each]
    limits = (max(-0.01, min(low for low, _ in bounds) - 0.03), min(1.01, max(high for _, high in bounds) + 0.03))
    names.sort(key=lambda name: np.mean([value["mean"] for value in values[name]]))
    if len(arms) == 1:
        rows = [{"name": name, "index": arms[0].index, **_dot(values[name][0])} for name in names]
        says = f"{arms[0].name}: F1 " + ", ".join(f"{name} {score(values[name][0])}" for name in names) + "."
        return [charts.class_scores(arms[0].name, rows, limits, None, says)]
    found = []
    for name in names:
        rows = [
            {"name": arm.name, "index": arm.index, **_dot(value)} for arm, value in zip(arms, values[name], strict=True)
        ]
        says = f"{name}: F1 " + ", ".join(f"{arm.name} {score(v)}" for arm, v in zip(arms, values[name], strict=True))
        images = next((a.records[0]["per_class"][name]["support"] for a in arms if a.records), None)
        found.append(charts.class_scores(name, rows, limits, images, says + "."))
    return found


def reliabilities(arms: Sequence[Arm]) -> list[str]:
    """Accuracy against confidence, an arm a panel; of the arms that have a test.npz."""
    found = []
    for arm in arms:
        bins = confidence_bins(arm)
        if bins:
            confidence, accuracy, share = np.array(bins).T
            gap = float((share * (confidence - accuracy)).sum())
            how = "too sure" if gap > 0.01 else "not sure enough" if gap < -0.01 else "as sure as it is right"
            ece = plain(arm.result.get("ece")) or float((share * abs(confidence - accuracy)).sum())
            says = f"{arm.name}: on the whole {how}, mean confidence minus accuracy {gap:+.3f}, ECE {ece:.3f}."
            found.append(charts.reliability({"name": arm.name, "index": arm.index, "ece": ece, "bins": bins}, says))
    return found


def diagnostics(arms: Sequence[Arm]) -> list[str]:
    """Gradient norm and distance by stage, an arm a panel."""
    stages = stages_of(arms)
    drawn = {
        arm.name: {
            key: {stage: values for stage in stages if len(values := by_epoch(arm, f"{key}/{stage}"))}
            for key in ("gradient_norm", "distance")
        }
        for arm in arms
    }
    all_norms, distances = (
        [values for series in drawn.values() for values in series[key].values()]
        for key in ("gradient_norm", "distance")
    )
    if not all_norms:
        return []
    norms = np.concatenate([np.ravel(values) for values in all_norms])
    norms = norms[norms > 0]
    limits = {"gradient_norm": (norms.min() / 1.5, norms.max() * 1.5), "distance": _limits(distances)}
    found = []
    for arm in arms:
        series = drawn[arm.name]
        if not series["gradient_norm"]:
            continue
        pulled = {stage: float(np.nanmean(values)) for stage, values in series["gradient_norm"].items()}
        moved = {stage: float(np.nanmean(values[:, -1])) for stage, values in series["distance"].items()}
        says = f"{arm.name}: the largest mean gradient norm is that of {max(pulled, key=pulled.__getitem__)}"
        far = max(moved, key=moved.__getitem__, default=None)
        moves = (
            f"{far} has moved furthest, by {moved[far]:.2%}" if far and moved[far] > 0 else "the backbone has not moved"
        )
        says += f"; {moves}."
        head = {"name": arm.name, "index": arm.index, "changes": changes(arm, stages)}
        found.append(charts.diagnostics(head, stages, series, limits, says))
    return found


def _dot(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": value["mean"], "ci95": interval(value)}


def _limits(arrays: Sequence[Any]) -> tuple[float, float]:
    """A little more than the range of all values."""
    values = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(1)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.04 * (high - low) or 0.02
    return low - room, high + room
