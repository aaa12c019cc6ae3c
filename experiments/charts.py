"""The figures of the report, as SVG text to set into a page.

A panel is about as wide as a phone and is drawn in a few marker colours; `_svg` turns these into the page's own CSS
colours (`currentColor`, `var(--arm-2)`), so that one figure serves a light page and a dark one, and its text is the
page's. The page lays panels side by side where it has the room.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

INK, MUTED, RULE = "#010101", "#020202", "#030303"
MARKERS, GLYPHS = "osD^vPXh", "●■◆▲▼✚✖⬢"  # an arm has one shape everywhere, for those who do not see its colour
DASHES = ["-", (0, (6, 2)), (0, (3, 1.5)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1))]
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.linewidth": 2,
}

_numbers = count()  # ids of matplotlib's SVGs are those of every other one: each figure gets a prefix of its own


def arm_colour(index: int) -> str:
    """The marker of an arm's colour."""
    return f"#0a00{index % len(MARKERS):02x}"


def frontier(points: Sequence[Mapping[str, Any]], xlabel: str, says: str) -> str:
    """Macro-F1 against cost, an arm a point, and the line of those that nothing beats for less.

    Args:
        points: name, index, cost, f1, ci95 (None with one run) of each arm.
        xlabel: What the cost is, with its unit.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = _panel(440, 330, left=48, bottom=42)
    costs = [point["cost"] for point in points]
    if min(costs) > 0 and max(costs) / min(costs) > 8:
        axes.set_xscale("log")
    best, front = -1.0, []
    for point in sorted(points, key=lambda point: (point["cost"], -point["f1"])):
        if point["f1"] > best:
            best = point["f1"]
            front.append(point)
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
    _plain_ticks(axes)
    axes.set_title("macro-F1 on test", loc="left", fontsize=11, color=MUTED)
    places = [axes.transData.transform((point["cost"], point["f1"])) * 72 / figure.dpi for point in points]
    width, height = figure.get_size_inches() * 72
    for point, (x, y), shown in zip(points, places, _spread([y for _, y in places], 13.0), strict=True):
        left = x > width - 95
        at = (x + (-9 if left else 9), shown)
        if abs(shown - y) > 6:
            figure.add_artist(_line([x, at[0]], [y, shown], width, height))
        figure.text(at[0] / width, at[1] / height, point["name"], va="center", ha="right" if left else "left")
    return _svg(figure, says)


def curve(
    arm: Mapping[str, Any], others: Sequence[Mapping[str, Any]], ylimits: tuple[float, float], says: str
) -> str:
    """Validation macro-F1 of an arm by epoch: mean and range of its runs over the means of the others.

    Args:
        arm: name, index, scores [runs, epochs] with NaN where there is none, changes {epoch: what joins}.
        others: The same of the arms that are drawn faintly.
        ylimits: Shared by all panels.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = _panel(360, 230, top=42)
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
    _panel_title(axes, arm, y=1.13 if arm["changes"] else 1.02)
    return _svg(figure, says)


def class_scores(
    name: str, arms: Sequence[Mapping[str, Any]], limits: tuple[float, float], images: int, says: str
) -> str:
    """F1 of one class, an arm a row, with intervals.

    Args:
        name: Of the class.
        arms: name, index, mean, ci95 (None with one run) of each arm.
        limits: Of the axis, shared by all classes.
        images: Test images of the class.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = _panel(360, 66 + 17 * len(arms), left=78, top=26, bottom=24)
    for row, arm in enumerate(arms):
        low, high = arm["ci95"] or (arm["mean"], arm["mean"])
        axes.errorbar(
            *(arm["mean"], row),
            xerr=[[arm["mean"] - low], [high - arm["mean"]]],
            **{"color": arm_colour(arm["index"]), "marker": MARKERS[arm["index"] % len(MARKERS)], "ms": 6, "lw": 1.6},
        )
    axes.set_yticks(range(len(arms)), [arm["name"] for arm in arms])
    axes.set(xlim=limits, ylim=(len(arms) - 0.4, -0.6))
    axes.grid(False, axis="y")
    _plain_ticks(axes, axis="x")
    axes.set_title(name, loc="left", fontsize=12, x=0)
    axes.set_title(f"{images:,} images", loc="right", fontsize=10, color=MUTED)
    return _svg(figure, says)


def reliability(arm: Mapping[str, Any], says: str) -> str:
    """Accuracy of the answers given with a confidence; a calibrated network is on the diagonal.

    Args:
        arm: name, index, ece, bins: (mean confidence, accuracy, share of the images) of each bin that has any.
        says: The finding, for who cannot see the figure.
    """
    figure, axes = _panel(360, 290, left=44, bottom=42)
    confidence, accuracy, share = np.array(arm["bins"]).T
    colour = arm_colour(arm["index"])
    axes.bar(confidence, share, width=0.05, color=colour, alpha=0.22, lw=0, zorder=1)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), zorder=2)
    axes.vlines(confidence, confidence, accuracy, color=colour, lw=1.2, alpha=0.6, zorder=2)
    axes.plot(confidence, accuracy, color=colour, lw=1.4, zorder=3)
    axes.scatter(confidence, accuracy, s=16 + 260 * share, color=colour, lw=0, zorder=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", xticks=[0, 0.25, 0.5, 0.75, 1], yticks=[0, 0.25, 0.5, 0.75, 1])
    _plain_ticks(axes)
    _panel_title(axes, arm)
    axes.set_title(f"ECE {arm['ece']:.3f}", loc="right", fontsize=11, color=INK)
    return _svg(figure, says)


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
    figure, upper = _panel(360, 330, left=50, top=30, bottom=180)
    lower = figure.add_axes((50 / 360, 40 / 330, (360 - 62) / 360, 108 / 330))
    epochs = 2
    for axes, key in ((upper, "gradient_norm"), (lower, "distance")):
        for number, stage in enumerate(stages):
            if stage not in series[key]:
                continue
            at, mean = _mean(series[key][stage])
            epochs = max(epochs, np.shape(series[key][stage])[1])
            dash, single = DASHES[number % len(DASHES)], "o" if len(at) < 2 else None
            axes.plot(at, mean, color=f"#0b00{number:02x}", ls=dash, marker=single, lw=1.8)
        axes.set_ylim(limits[key])
    upper.set_yscale("log")
    for axes, title in ((upper, "gradient norm"), (lower, "distance from the start, relative")):
        _whole_epochs(axes, epochs)
        _phase_lines(axes, arm["changes"], named=False)
        axes.set_title(title, loc="left", fontsize=10, color=MUTED, pad=4, x=-0.13)
    _plain_ticks(upper)
    upper.tick_params(labelbottom=False)
    upper.minorticks_off()
    lower.set_xlabel("epoch")
    upper.set_title(f"{GLYPHS[arm['index'] % len(GLYPHS)]} {arm['name']}", loc="right", fontsize=12, pad=4)
    return _svg(figure, says)


def _panel(
    width: int, height: int, left: int = 44, right: int = 12, top: int = 28, bottom: int = 38
) -> tuple[Any, Any]:
    """A figure of so many CSS pixels and its axes; fixed margins, because a layout engine takes longer than the rest."""
    from matplotlib.figure import Figure

    figure = Figure((width / 72, height / 72), dpi=72)
    area = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure, figure.add_axes(area)


def _panel_title(axes: Any, arm: Mapping[str, Any], y: float = 1.02) -> None:
    index = arm["index"]
    title = f"{GLYPHS[index % len(GLYPHS)]} {arm['name']}"
    axes.set_title(title, loc="left", fontsize=12, color=arm_colour(index), y=y, pad=0)


def _mean(scores: Any) -> tuple[Any, Any]:
    """Epochs that any run has, and the mean over the runs that have them."""
    scores = np.asarray(scores, dtype=float)
    there = ~np.isnan(scores)
    epochs = np.flatnonzero(there.any(0))
    return epochs, np.nansum(scores, 0)[epochs] / there.sum(0)[epochs]


def _phase_lines(axes: Any, changes: Mapping[int, str], named: bool) -> None:
    for number, (epoch, text) in enumerate(changes.items()):
        axes.axvline(epoch - 0.5, color=INK, lw=0.9, ls=(0, (1, 2)), zorder=2)
        if named:
            place = axes.get_xaxis_transform()
            right = epoch - 0.5 > sum(axes.get_xlim()) / 2
            axes.text(
                *(epoch - 0.5, 1.02 + 0.075 * (number % 2)),
                text,
                **{"transform": place, "fontsize": 9.5, "color": MUTED, "ha": "right" if right else "left"},
            )


def _whole_epochs(axes: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, epochs - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def _plain_ticks(axes: Any, axis: str = "both") -> None:
    """1,000 and 0.25, not 10^3 and 0.250."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in ("x", "y") if axis == "both" else (axis,):
        one = getattr(axes, f"{name}axis")
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        if getattr(axes, f"get_{name}scale")() == "log":
            low, high = sorted(getattr(axes, f"get_{name}lim")())
            one.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            one.set_minor_formatter(NullFormatter())


def _line(xs: list[float], ys: list[float], width: float, height: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([x / width for x in xs], [y / height for y in ys], color=MUTED, lw=0.7)


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


def _svg(figure: Any, says: str) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]+"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    prefix = f"f{next(_numbers)}-"
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", body).replace("xlink:href", "href")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", body)
    for marker, colour in ((INK, "currentColor"), (MUTED, "var(--muted)"), (RULE, "var(--rule)")):
        body = body.replace(marker, colour)
    body = re.sub(r"#0a00(..)", lambda m: f"var(--arm-{int(m[1], 16)})", body)
    body = re.sub(r"#0b00(..)", lambda m: f"var(--stage-{int(m[1], 16)})", body)
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{html.escape(says)}">{body}'
