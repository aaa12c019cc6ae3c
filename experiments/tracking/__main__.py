"""Weights & Biases beside the runs: `python -m experiments.tracking dashboard`, `... sync [FOLDER]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Create the dashboard, or upload what was recorded offline."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("dashboard", help="create or renew one workspace and one report that compare the arms")
    upload = commands.add_parser("sync", help="upload what was recorded offline")
    upload.add_argument("root", type=Path, nargs="?", default=Path("runs"), help="folder of all runs")
    given = parser.parse_args(arguments)
    if given.command == "sync":
        from experiments.tracking.sync import sync

        sync(given.root)
    else:
        from experiments.tracking.dashboard import write

        write()


if __name__ == "__main__":
    main()
