"""From finished runs to results/<study>.json and results/<study>.md: scores with intervals, pairs, verdicts, cost.

python -m experiments.results --study fer
python -m experiments.results --readme
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.results import tables
from experiments.results.write import write


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the results of a study, or refresh the tables of README.md and docs/."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--study", help="fashion, deepweeds, fer: a folder of --root")
    what.add_argument("--readme", action="store_true", help="put the tables of --out into README.md and docs/")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--latex", action="store_true", help="write <study>.tex, too")
    given = parser.parse_args(arguments)
    if given.readme:
        tables.refresh(given.out)
    else:
        write(given.study, given.root, given.out, latex=given.latex)


if __name__ == "__main__":
    main()
