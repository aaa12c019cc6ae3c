"""Draws docs/frontier.png, the first picture of README.md, from results/fer.json: `python docs/frontier.py`."""

import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import to_hex, to_rgba_array

from experiments.report import svg
from experiments.report.frontier import Point, frontier_figure
from experiments.results.records import load

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results" / "fer.json"
WIDTH = 520  # CSS pixels
SCALE = 3  # pixels of the picture for each of them


def palette() -> dict[str, str]:
    """Map the placeholder colours of the charts to the colours of the report's light page."""
    style = (Path(svg.__file__).parent / "report.html.j2").read_text()
    light = dict(re.findall(r"--([\w-]+): (#\w{3,6});", style.partition("@media")[0]))
    colours = {svg.INK: light["ink"], svg.MUTED: light["muted"], svg.RULE: light["rule"]}
    return colours | {svg.arm_colour(index): light[f"arm-{index}"] for index in range(len(svg.MARKERS))}


def recolour(artist: Any, colours: dict[str, str]) -> None:
    """Replace the placeholder colours of a part of the figure."""
    for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
        if hasattr(artist, f"get_{name}") and hasattr(artist, f"set_{name}"):
            found = to_rgba_array(getattr(artist, f"get_{name}")())  # several in a collection, none for "none"
            if len(found) and (new := colours.get(to_hex(found[0]))):
                getattr(artist, f"set_{name}")(new)


def main(out: Path = FOLDER / "frontier.png") -> None:
    """Draw the arms of FER2013 with the chart of the report, and write the picture."""
    points = [
        Point(arm.strategy, index, (arm.operations or 0.0) / 1e12, arm.f1_macro)
        for index, arm in enumerate(load(RESULTS).arms)
    ]
    with matplotlib.rc_context(svg.STYLE):
        figure = frontier_figure(points, "training operations of a run, TFLOPs", WIDTH)
        colours = palette()
        for artist in figure.findobj():
            recolour(artist, colours)
        figure.set_facecolor("white")
        figure.savefig(out, dpi=72 * SCALE, metadata={"Software": None})
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
