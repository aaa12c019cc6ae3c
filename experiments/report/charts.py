"""Draws the figures of the report, as SVG text to set into a page.

A panel is about as wide as a phone; the page lays panels side by side where it has the room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.report import svg
from experiments.report.data import BINS, ArmRuns, Array
from experiments.results.records import Interval

Limits = tuple[float, float]
Series = tuple[Mapping[str, Array], Limits]  # by stage [runs, epochs], and limits of the axis

DASHES: list[Any] = ["-", (0, (6, 2)), (0, (3, 1.5)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1))]


@dataclass(frozen=True)
class Dot:
    """One row of a figure of scores: an arm, or a class.

    Attributes:
        name: Name of the arm or of the class.
        index: Index of the arm's colour and marker.
        score: The score.
    """

    name: str
    index: int
    score: Interval


def curve(
    arm: ArmRuns, scores: Array, begins: Mapping[int, str], others: Sequence[Array], ylimits: Limits, says: str
) -> str:
    """Validation macro-F1 of an arm by epoch: mean and range of its runs over the means of the others.

    Args:
        arm: The arm.
        scores: Scores `[runs, epochs]`, NaN if there is none.
        begins: Stages that join or freeze, by the epoch at which a phase begins.
        others: Scores of the other arms, which are drawn faintly.
        ylimits: Limits of the axis, shared by all panels.
        says: The finding, for readers who cannot see the figure.
    """
    figure, axes = svg.panel(360, 236, top=48)
    for other in others:
        axes.plot(*_mean(other), color=svg.MUTED, lw=0.9, alpha=0.45, zorder=1)
    epochs, mean = _mean(scores)
    colour = svg.arm_colour(arm.index)
    if len(scores) > 1:
        low = np.nanmin(scores, 0)[epochs]
        high = np.nanmax(scores, 0)[epochs]
        axes.fill_between(epochs, low, high, color=colour, alpha=0.22, lw=0, zorder=2)
    axes.plot(epochs, mean, color=colour, zorder=3, marker="o" if len(epochs) < 3 else None)
    axes.set(ylim=ylimits, xlabel="epoch")
    _whole_epochs(axes, max(2, *(each.shape[1] for each in (scores, *others))))
    _phase_lines(axes, begins, named=True)
    _panel_title(axes, arm, y=1.15)
    return svg.to_svg(figure, says)


def class_scores(title: str, dots: Sequence[Dot], limits: Limits, images: int | None, says: str) -> str:
    """F1 of one class, an arm a row, with intervals; of one arm, a class a row.

    Args:
        title: Name of the class, or of the arm.
        dots: The rows from above.
        limits: Limits of the axis, shared by all classes.
        images: Number of test images of the class, if known.
        says: The finding, for readers who cannot see the figure.
    """
    figure, axes = svg.panel(360, 52 + 19 * len(dots), left=84, top=26, bottom=26)
    for row, dot in enumerate(dots):
        axes.errorbar(dot.score.mean, row, xerr=svg.error_bar(dot.score), **svg.mark(dot.index), ms=6, lw=1.6)
    axes.set_yticks(range(len(dots)), [dot.name for dot in dots])
    axes.set(xlim=limits, ylim=(len(dots) - 0.4, -0.6))
    axes.grid(False, axis="y")
    svg.plain_ticks(axes, axis="x")
    axes.set_title(title, loc="left", fontsize=13.5)
    if images is not None:
        axes.set_title(f"{images:,} images", loc="right", fontsize=11, color=svg.MUTED)
    return svg.to_svg(figure, says)


def reliability(arm: ArmRuns, bins: Array, ece: float, says: str) -> str:
    """Accuracy of the answers given with a confidence; a calibrated network is on the diagonal.

    Args:
        arm: The arm.
        bins: Mean confidence, accuracy and share of the images of each bin that has any `[bins, 3]`.
        ece: Expected calibration error.
        says: The finding, for readers who cannot see the figure.
    """
    figure, axes = svg.panel(360, 290, left=40, bottom=44)
    confidence, accuracy, share = bins.T
    colour = svg.arm_colour(arm.index)
    axes.bar((np.floor(confidence * BINS) + 0.5) / BINS, share, width=0.055, color=colour, alpha=0.22, lw=0, zorder=1)
    axes.plot([0, 1], [0, 1], color=svg.MUTED, lw=1, ls=(0, (4, 3)), zorder=2)
    many = share >= 0.005  # a bin of a few images says little: a dot, and no line to it
    axes.plot(confidence[many], accuracy[many], color=colour, lw=1.4, zorder=3)
    axes.vlines(confidence[many], confidence[many], accuracy[many], color=colour, lw=1.2, alpha=0.6, zorder=2)
    axes.scatter(confidence, accuracy, s=16 + 260 * share, color=colour, lw=0, zorder=4, clip_on=False)
    quarters = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", xticks=quarters, yticks=quarters)
    svg.plain_ticks(axes)
    _panel_title(axes, arm)
    axes.set_title(f"ECE {ece:.3f}", loc="right", fontsize=12, y=1.03, pad=0)
    return svg.to_svg(figure, says)


def diagnostics(
    arm: ArmRuns, begins: Mapping[int, str], stages: Sequence[str], norms: Series, distances: Series, says: str
) -> str:
    """Gradient norm above, distance from the start below, by stage and epoch; means over the runs.

    Args:
        arm: The arm.
        begins: Stages that join or freeze, by the epoch at which a phase begins.
        stages: Names of the stages from the input upwards; a stage has one colour and dash in all panels.
        norms: Gradient norms, and limits of their axis, shared by all panels.
        distances: Distances, and limits of their axis.
        says: The finding, for readers who cannot see the figure.
    """
    figure, upper = svg.panel(360, 350, top=46, bottom=190)
    lower = figure.add_axes((40 / 360, 42 / 350, (360 - 52) / 360, 114 / 350))
    longest = max([2, *(scores.shape[1] for series, _ in (norms, distances) for scores in series.values())])
    parts = ((upper, norms, "gradient norm"), (lower, distances, "distance from the start, relative"))
    for axes, (series, limits), title in parts:
        for stage, scores in series.items():
            epochs, mean = _mean(scores)
            index = stages.index(stage)
            dash = DASHES[index % len(DASHES)]
            marker = "o" if len(epochs) < 2 else None
            axes.plot(epochs, mean, color=svg.stage_colour(index), ls=dash, marker=marker, lw=1.8)
        axes.set_ylim(limits)
        _whole_epochs(axes, longest)
        _phase_lines(axes, begins, named=False)
        axes.set_title(title, loc="left", fontsize=11, color=svg.MUTED, pad=5)
    upper.set_yscale("log")
    svg.plain_ticks(upper)
    svg.plain_ticks(lower, axis="y")
    upper.tick_params(labelbottom=False)
    upper.minorticks_off()
    lower.set_xlabel("epoch")
    _panel_title(upper, arm, y=1.24)
    return svg.to_svg(figure, says)


def _mean(scores: Array) -> tuple[Array, Array]:
    """Epochs that any run has, and the mean over the runs that have them."""
    there = ~np.isnan(scores)
    epochs = np.flatnonzero(there.any(0))
    return epochs, np.nansum(scores, 0)[epochs] / there.sum(0)[epochs]


def _phase_lines(axes: Any, begins: Mapping[int, str], named: bool) -> None:
    """Draw a dotted line where a phase begins; a name without room is left to the table of the phases."""
    low, high = axes.get_xlim()
    pixel = (high - low) / axes.bbox.width
    free = low
    for epoch, text in begins.items():
        x = epoch - 0.5
        width = 6.4 * len(text) * pixel
        axes.axvline(x, color=svg.INK, lw=0.9, ls=(0, (1, 2)), zorder=2)
        start = min(x, high - width)
        if named and start >= free:
            axes.text(start, 1.03, text, transform=axes.get_xaxis_transform(), fontsize=10.5, color=svg.MUTED)
            free = start + width


def _panel_title(axes: Any, arm: ArmRuns, y: float = 1.03) -> None:
    title = f"{svg.GLYPHS[arm.index % len(svg.GLYPHS)]} {arm.name}"
    axes.text(0, y, title, transform=axes.transAxes, fontsize=13.5, color=svg.arm_colour(arm.index))


def _whole_epochs(axes: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, epochs - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
