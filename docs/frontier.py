"""Draws docs/frontier.svg, the first picture of README.md, from results/fer.json: `python docs/frontier.py`."""

import re
from pathlib import Path

import matplotlib

from basics.files import write_file
from experiments.report import svg
from experiments.report.frontier import Point, frontier
from experiments.results.records import load

FOLDER = Path(__file__).parent
SAYS = "Macro-F1 of the strategies on FER2013 against the operations of their training, with 95 % intervals."


def main(out: Path = FOLDER / "frontier.svg") -> None:
    """Draw the arms with the chart of the report, in the colours of its light page."""
    arms = load(FOLDER.parent / "results" / "fer.json").arms
    points = [Point(arm.strategy, index, (arm.operations or 0) / 1e12, arm.f1_macro) for index, arm in enumerate(arms)]
    with matplotlib.rc_context(svg.STYLE):
        picture = frontier(points, "training operations of a run, TFLOPs", SAYS, width=520)
    style = Path(svg.__file__).with_name("report.html.j2").read_text().partition("@media")[0]
    colours = {f"var(--{name})": colour for name, colour in re.findall(r"--([\w-]+): (#\w{3,6});", style)}
    colours["currentColor"] = colours["var(--ink)"]
    for variable, colour in colours.items():
        picture = picture.replace(variable, colour)
    write_file(out, picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background: white" ', 1))


if __name__ == "__main__":
    main()
