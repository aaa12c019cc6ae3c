"""Puts a figure into a page: panels of a fixed size, and their SVG in the page's own colours and font.

A panel is drawn in a few marker colours; `to_svg` turns these into the page's CSS colours (`currentColor`,
`var(--arm-2)`), so that one figure serves a light page and a dark one.
"""

import html
import io
import re
from itertools import count
from typing import Any

from experiments.results.records import Interval

# Placeholders for colours of the page.
INK = "#010101"
MUTED = "#020202"
RULE = "#030303"
# An arm has one shape everywhere, for those who do not see its colour.
MARKERS = "osD^vPXh"
GLYPHS = "●■◆▲▼✚✖⬢"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 12,
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
    """Colour in a figure that stands for an arm's colour of the page."""
    return f"#0a00{index % len(MARKERS):02x}"


def stage_colour(index: int) -> str:
    """Colour in a figure that stands for a stage's colour of the page."""
    return f"#0b00{index % len(MARKERS):02x}"


def mark(index: int) -> dict[str, Any]:
    """Colour and marker of an arm, as options of matplotlib."""
    return {"color": arm_colour(index), "marker": MARKERS[index % len(MARKERS)]}


def error_bar(score: Interval) -> list[list[float]]:
    """Lengths of the bar below and above a mean `[2, 1]`."""
    low, high = score.ci95 or (score.mean, score.mean)
    return [[score.mean - low], [high - score.mean]]


def panel(width: int, height: int, left: int = 40, right: int = 12, top: int = 28, bottom: int = 38) -> tuple[Any, Any]:
    """Make a figure and its axes. Sizes are CSS pixels; a layout engine for the margins takes longer than all else."""
    from matplotlib.figure import Figure

    figure = Figure((width / 72, height / 72), dpi=72)
    area = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure, figure.add_axes(area)


def plain_ticks(axes: Any, axis: str = "both") -> None:
    """Write ticks as 1,000 and 0.25, not as 10^3 and 0.250."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in ("x", "y") if axis == "both" else (axis,):
        one = getattr(axes, f"{name}axis")
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        if getattr(axes, f"get_{name}scale")() == "log":
            low, high = sorted(getattr(axes, f"get_{name}lim")())
            one.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            one.set_minor_formatter(NullFormatter())


def to_svg(figure: Any, says: str) -> str:
    """Write a figure as SVG to set into HTML.

    Args:
        figure: A figure of matplotlib in the colours of this module.
        says: The finding, for readers who cannot see the figure.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    head, _, body = text.getvalue().partition("<svg")[2].partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
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
