"""The figures of the report, as SVG text to set into a page.

A panel is about as wide as a phone; the page lays panels side by side where it has the room.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.report.data import BINS
from experiments.report.svg import GLYPHS, INK, MARKERS, MUTED, arm_colour, panel, plain_ticks, stage_colour, to_svg

DASHES: list[Any] = ["-", (0, (6, 2)), (0, (3, 1.5)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1))]


def frontier(points: Sequence[Mapping[str, Any]], xlabel: str, says: str) -> str:
    """Macro-F1 against cost as SVG.

    Args:
        points: Arms, as in `frontier_figure`.
        xlabel: Name and unit of the cost.
        says: The finding, for readers who cannot see the figure.
    """
    return to_svg(frontier_figure(points, xlabel), says)


def frontier_figure(points: Sequence[Mapping[str, Any]], xlabel: str, width: int = 390) -> Any:
    """Draw macro-F1 against cost, a point for each arm, and the line of the arms that no other beats for less.

    Args:
        points: Mappings with name, index, cost, f1 and ci95 (None with one run), one for each arm.
        xlabel: Name and unit of the cost.
        width: Width of the figure in CSS pixels.
    """
    figure, axes = panel(width, 310, bottom=44)
    costs = [point["cost"] for point in points]
    if min(costs) > 0 and max(costs) / min(costs) > 8:
        axes.set_xscale("log")
    front = undominated(points)
    axes.plot([p["cost"] for p in front], [p["f1"] for p in front], color=MUTED, lw=1.2, ls=(0, (4, 3)), zorder=1)
    for point in points:
        low, high = point["ci95"] or (point["f1"], point["f1"])
        colour, marker = arm_colour(point["index"]), MARKERS[point["index"] % len(MARKERS)]
        axes.errorbar(
            *(point["cost"], point["f1"]),
            yerr=[[point["f1"] - low], [high - point["f1"]]],
            **{"color": colour, "marker": marker, "ms": 8, "capsize": 3.5, "lw": 1.6, "zorder": 3},
        )
    axes.margins(x=0.14, y=0.08)
    axes.set(xlabel=xlabel, ylabel="")
    plain_ticks(axes)
    axes.set_title("macro-F1 on test", loc="left", fontsize=12, color=MUTED)
    axes.get_xlim(), axes.get_ylim()  # matplotlib sets the limits when they are asked for
    height = figure.get_size_inches()[1] * 72
    places = [axes.transData.transform((point["cost"], point["f1"])) for point in points]
    # The frontier rises to the right: nothing crosses a name below a point, or above and to the left of one on it.
    lefts = [x > width - 100 for x, _ in places]
    above = [left and point in front for left, point in zip(lefts, points, strict=True)]
    wanted = [y + (9 if up else -9) for (_, y), up in zip(places, above, strict=True)]
    shown = dict(enumerate(wanted))
    for side in (False, True):  # names on one side of their points are in each other's way
        rows = [row for row, left in enumerate(lefts) if left == side]
        shown |= dict(zip(rows, _spread([wanted[row] for row in rows], 15.0), strict=True))
    for row, (point, (x, y), left) in enumerate(zip(points, places, lefts, strict=True)):
        at = shown[row]
        beside = x + (-9 if left else 9)
        if abs(at - y) > 16:
            figure.add_artist(_line([x, beside], [y, at], width, height))
        figure.text(beside / width, at / height, point["name"], va="center", ha="right" if left else "left")
    return figure


def undominated(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that no other beats in macro-F1 for as little, from cheap to dear."""
    front: list[Mapping[str, Any]] = []
    for point in sorted(points, key=lambda point: (point["cost"], -point["f1"])):
        if not front or point["f1"] > front[-1]["f1"]:
            front.append(point)
    return front


def curve(arm: Mapping[str, Any], others: Sequence[Mapping[str, Any]], ylimits: tuple[float, float], says: str) -> str:
    """Validation macro-F1 of an arm by epoch: mean and range of its runs over the means of the others.

    Args:
        arm: name, index, scores [runs, epochs] with NaN where there is none, changes {epoch: what joins}.
        others: The same of the arms that are drawn faintly.
        ylimits: Shared by all panels.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = panel(360, 236, top=48)
    for other in others:
        axes.plot(*_mean(other["scores"]), color=MUTED, lw=0.9, alpha=0.45, zorder=1)
    epochs, mean = _mean(arm["scores"])
    colour = arm_colour(arm["index"])
    if len(arm["scores"]) > 1:
        low, high = np.nanmin(arm["scores"], 0)[epochs], np.nanmax(arm["scores"], 0)[epochs]
        axes.fill_between(epochs, low, high, color=colour, alpha=0.22, lw=0, zorder=2)
    axes.plot(epochs, mean, color=colour, zorder=3, marker="o" if len(epochs) < 3 else None)
    axes.set(ylim=ylimits, xlabel="epoch")
    _whole_epochs(axes, max(2, *(np.shape(each["scores"])[1] for each in (arm, *others))))
    _phase_lines(axes, arm["changes"], named=True)
    _panel_title(axes, arm, y=1.15)
    return to_svg(figure, says)


def class_scores(
    name: str, rows: Sequence[Mapping[str, Any]], limits: tuple[float, float], images: int | None, says: str
) -> str:
    """F1 of one class, an arm a row, with intervals; of one arm, a class a row.

    Args:
        name: Of the class, or of the arm.
        rows: name, index of the arm, mean, ci95 (None with one run) of each.
        limits: Of the axis, shared by all classes.
        images: Test images of the class, where that is known.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = panel(360, 52 + 19 * len(rows), left=84, top=26, bottom=26)
    for place, row in enumerate(rows):
        low, high = row["ci95"] or (row["mean"], row["mean"])
        axes.errorbar(
            *(row["mean"], place),
            xerr=[[row["mean"] - low], [high - row["mean"]]],
            **{"color": arm_colour(row["index"]), "marker": MARKERS[row["index"] % len(MARKERS)], "ms": 6, "lw": 1.6},
        )
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set(xlim=limits, ylim=(len(rows) - 0.4, -0.6))
    axes.grid(False, axis="y")
    plain_ticks(axes, axis="x")
    axes.set_title(name, loc="left", fontsize=13.5)
    if images is not None:
        axes.set_title(f"{images:,} images", loc="right", fontsize=11, color=MUTED)
    return to_svg(figure, says)


def reliability(arm: Mapping[str, Any], says: str) -> str:
    """Accuracy of the answers given with a confidence; a calibrated network is on the diagonal.

    Args:
        arm: name, index, ece, bins: (mean confidence, accuracy, share of the images) of each bin that has any.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = panel(360, 290, left=40, bottom=44)
    confidence, accuracy, share = np.array(arm["bins"]).T
    colour = arm_colour(arm["index"])
    axes.bar((np.floor(confidence * BINS) + 0.5) / BINS, share, width=0.055, color=colour, alpha=0.22, lw=0, zorder=1)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), zorder=2)
    many = share >= 0.005  # a bin of a few images says little: a dot, and no line to it
    axes.plot(confidence[many], accuracy[many], color=colour, lw=1.4, zorder=3)
    axes.vlines(confidence[many], confidence[many], accuracy[many], color=colour, lw=1.2, alpha=0.6, zorder=2)
    axes.scatter(confidence, accuracy, s=16 + 260 * share, color=colour, lw=0, zorder=4, clip_on=False)
    quarters = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", xticks=quarters, yticks=quarters)
    plain_ticks(axes)
    _panel_title(axes, arm)
    axes.set_title(f"ECE {arm['ece']:.3f}", loc="right", fontsize=12, y=1.03, pad=0)
    return to_svg(figure, says)


def diagnostics(
    arm: Mapping[str, Any],
    stages: Sequence[str],
    series: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, tuple[float, float]],
    says: str,
) -> str:
    """Gradient norm above, distance from the start below, by stage and epoch; means over the runs.

    Args:
        arm: name, index, changes.
        stages: From the input upwards; a stage has one colour and dash in all panels.
        series: {"gradient_norm": {stage: [runs, epochs]}, "distance": the same}.
        limits: Of the two axes, shared by all panels.
        says: The finding, for who cannot see the figure.
    """
    figure, upper = panel(360, 350, top=46, bottom=190)
    lower = figure.add_axes((40 / 360, 42 / 350, (360 - 52) / 360, 114 / 350))
    epochs = 2
    for axes, key in ((upper, "gradient_norm"), (lower, "distance")):
        for number, stage in enumerate(stages):
            if stage not in series[key]:
                continue
            at, mean = _mean(series[key][stage])
            epochs = max(epochs, np.shape(series[key][stage])[1])
            dash, single = DASHES[number % len(DASHES)], "o" if len(at) < 2 else None
            axes.plot(at, mean, color=stage_colour(number), ls=dash, marker=single, lw=1.8)
        axes.set_ylim(limits[key])
    upper.set_yscale("log")
    for axes, title in ((upper, "gradient norm"), (lower, "distance from the start, relative")):
        _whole_epochs(axes, epochs)
        _phase_lines(axes, arm["changes"], named=False)
        axes.set_title(title, loc="left", fontsize=11, color=MUTED, pad=5)
    plain_ticks(upper)
    plain_ticks(lower, axis="y")
    upper.tick_params(labelbottom=False)
    upper.minorticks_off()
    lower.set_xlabel("epoch")
    _panel_title(upper, arm, y=1.24)
    return to_svg(figure, says)


def _mean(scores: Any) -> tuple[Any, Any]:
    """Epochs that any run has, and the mean over the runs that have them."""
    scores = np.asarray(scores, dtype=float)
    there = ~np.isnan(scores)
    epochs = np.flatnonzero(there.any(0))
    return epochs, np.nansum(scores, 0)[epochs] / there.sum(0)[epochs]


def _phase_lines(axes: Any, changes: Mapping[int, str], named: bool) -> None:
    """A dotted line where a phase begins; a name that has no room is left to the table of the phases."""
    low, high = axes.get_xlim()
    pixel = (high - low) / axes.bbox.width
    free = low
    for epoch, text in changes.items():
        x, width = epoch - 0.5, 6.4 * len(text) * pixel
        axes.axvline(x, color=INK, lw=0.9, ls=(0, (1, 2)), zorder=2)
        start = min(x, high - width)
        if named and start >= free:
            axes.text(start, 1.03, text, transform=axes.get_xaxis_transform(), fontsize=10.5, color=MUTED)
            free = start + width


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """The same heights, moved apart until labels at them do not overlap."""
    order = np.argsort(heights)
    placed = np.array(heights, dtype=float)[order]
    for _ in range(60):
        for i in range(len(placed) - 1):
            short = gap - (placed[i + 1] - placed[i])
            if short > 1e-6:
                placed[i] -= short / 2
                placed[i + 1] += short / 2
    result = np.empty_like(placed)
    result[order] = placed
    return [float(height) for height in result]


def _panel_title(axes: Any, arm: Mapping[str, Any], y: float = 1.03) -> None:
    title = f"{GLYPHS[arm['index'] % len(GLYPHS)]} {arm['name']}"
    axes.text(0, y, title, transform=axes.transAxes, fontsize=13.5, color=arm_colour(arm["index"]))


def _line(xs: list[float], ys: list[float], width: float, height: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([x / width for x in xs], [y / height for y in ys], color=MUTED, lw=0.7)


def _whole_epochs(axes: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, epochs - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
