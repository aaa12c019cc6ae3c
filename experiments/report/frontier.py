"""The figure of macro-F1 against cost: an arm a point, and the line of the arms that nothing beats for less."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.report.svg import MUTED, error_bar, mark, panel, plain_ticks, to_svg
from experiments.results.records import Interval


@dataclass(frozen=True)
class Point:
    """An arm in a figure of macro-F1 against cost.

    Attributes:
        name: Name of the arm.
        index: Index of its colour and its marker.
        cost: Cost of a run.
        f1: Macro-F1.
    """

    name: str
    index: int
    cost: float
    f1: Interval


def frontier(points: Sequence[Point], xlabel: str, says: str, width: int = 390) -> str:
    """Macro-F1 against cost as SVG: a point for each arm, and the line of the arms that no other beats for less.

    Args:
        points: The arms.
        xlabel: Name and unit of the cost.
        says: The finding, for readers who cannot see the figure.
        width: Width of the figure in CSS pixels.
    """
    figure, axes = panel(width, 310, bottom=44)
    costs = [point.cost for point in points]
    if min(costs) > 0 and max(costs) / min(costs) > 8:
        axes.set_xscale("log")
    front = undominated(points)
    axes.plot([p.cost for p in front], [p.f1.mean for p in front], color=MUTED, lw=1.2, ls=(0, (4, 3)), zorder=1)
    for point in points:
        style = {"ms": 8, "capsize": 3.5, "lw": 1.6, "zorder": 3}
        axes.errorbar(point.cost, point.f1.mean, yerr=error_bar(point.f1), **mark(point.index), **style)
    axes.margins(x=0.14, y=0.08)
    axes.set(xlabel=xlabel, ylabel="")
    plain_ticks(axes)
    axes.set_title("macro-F1 on test", loc="left", fontsize=12, color=MUTED)
    axes.get_xlim(), axes.get_ylim()  # matplotlib sets the limits when they are asked for
    _name_points(figure, axes, points, front)
    return to_svg(figure, says)


def _name_points(figure: Any, axes: Any, points: Sequence[Point], front: Sequence[Point]) -> None:
    """Write the names of the arms beside their points so that no name covers another one, or the frontier."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    pixels = [axes.transData.transform((point.cost, point.f1.mean)) for point in points]
    # The frontier rises to the right: nothing crosses a name below a point, or above and to the left of one on it.
    lefts = [x > width - 100 for x, _ in pixels]
    above = [left and point in front for left, point in zip(lefts, points, strict=True)]
    ideal = [y + (9 if up else -9) for (_, y), up in zip(pixels, above, strict=True)]
    heights = dict(enumerate(ideal))
    for side in (False, True):  # names on one side of their points are in each other's way
        rows = [row for row, left in enumerate(lefts) if left == side]
        heights |= dict(zip(rows, _spread([ideal[row] for row in rows], 15.0), strict=True))
    for row, (point, (x, y), left) in enumerate(zip(points, pixels, lefts, strict=True)):
        beside = x + (-9 if left else 9)
        if abs(heights[row] - y) > 16:
            ends = [x / width, beside / width], [y / height, heights[row] / height]
            figure.add_artist(Line2D(*ends, color=MUTED, lw=0.7))
        align = "right" if left else "left"
        figure.text(beside / width, heights[row] / height, point.name, va="center", ha=align)


def undominated(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in macro-F1 for as little, from cheap to dear."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.f1.mean)):
        if not front or point.f1.mean > front[-1].f1.mean:
            front.append(point)
    return front


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights apart until labels at them do not overlap."""
    order = np.argsort(heights)
    placed = np.array(heights, dtype=float)[order]
    for _ in range(60):
        for i in range(len(placed) - 1):
            short = gap - (placed[i + 1] - placed[i])
            if short > 1e-6:
                placed[i] -= short / 2
                placed[i + 1] += short / 2
    return [float(height) for height in placed[np.argsort(order)]]
