"""One self-contained page with everything that the finished runs say: `make report`.

It reads the run folders and results/<study>.json, which `experiments.results` writes from the runs and which is written
anew if a run is newer. Nothing is loaded from anywhere when the page is read.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from basics.files import write_file
from experiments.report.page import build
from experiments.runs import RunFolder


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of <study>.json")
    parser.add_argument("--out", type=Path, help="the page; default: report.html in --results")
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    out = given.out or given.results / "report.html"
    refresh(given.root, given.results)
    page, runs = build(given.root, given.results)
    write_file(out, page)
    print(f"wrote {out}: {runs} runs, {len(page.encode()) / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s")


def refresh(root: Path, results: Path) -> None:
    """Write results/<study>.json anew for the studies that have a run newer than it.

    Raises:
        SystemExit: The runs of a study cannot be compared; one line says why.
    """
    tested: dict[str, float] = {}
    for run in RunFolder.find(root):
        if run.scores.is_file() and run.answers.is_file():
            tested[run.study] = max(tested.get(run.study, 0.0), run.scores.stat().st_mtime)
    for study, when in sorted(tested.items()):
        path = results / f"{study}.json"
        if not path.is_file() or path.stat().st_mtime < when:
            from experiments.results.write import write

            write(study, root, results)


if __name__ == "__main__":
    main()
