"""One command for one table: every arm with every seed, finished runs kept, interrupted ones resumed.

python -m experiments.table --study fer --strategies frozen,full --seeds 0,1,2 -- --trainer.max_epochs 5
"""

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from basics.errors import stop
from experiments.studies import study_of
from experiments.table.run import AGAIN, run_table


class Parser(argparse.ArgumentParser):
    """Python's parser with errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        hint = "; options of lightning come after --" if "unrecognized" in message else ""
        stop(f"{message}{hint} (python -m experiments.table --help)")


def main(args: Sequence[str] | None = None) -> None:
    """Run a table; exit code 1 if a run failed, 2 for a mistake in the command, 130 when interrupted."""
    args = list(sys.argv[1:] if args is None else args)
    end = args.index("--") if "--" in args else len(args)
    given = parse(args[:end])
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with quiet_lightning():
            code = run_table(given, tuple(args[end + 1 :]))
    except KeyboardInterrupt:
        print(f"\ninterrupted: {AGAIN}", file=sys.stderr)
        code = 130
    finally:
        signal.signal(signal.SIGTERM, before)
    if code:
        sys.exit(code)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from printing seed and devices for every arm whose config is read."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def parse(args: Sequence[str]) -> argparse.Namespace:
    """Parse the table's own options; the study says what is not given."""
    parser = Parser("experiments.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, help="fashion, deepweeds, fer: configs/<study>_<strategy>.yaml")
    parser.add_argument("--strategies", type=_names, help="arms, with commas between them; all if not given")
    parser.add_argument("--seeds", type=_whole_numbers, help="such as 0,1,2; those of the study if not given")
    parser.add_argument("--folds", type=_whole_numbers, help="folds of the data; those of the study if not given")
    parser.add_argument("--budget", choices=("epochs", "steps", "cost"), default="epochs", help="what all arms share")
    parser.add_argument("--lr-trials", type=int, default=0, metavar="K", help="try K learning rates for each arm")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--launcher", choices=("local", "ray", "slurm"), default="local", help="where runs are made")
    parser.add_argument("--address", default="auto", help="address of a Ray cluster")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once; default: one on each GPU, or one")
    parser.add_argument("--plan", action="store_true", help="show the runs and what they cost; run nothing")
    given = parser.parse_args(args)
    study = study_of(given.study)
    given.strategies = given.strategies or study.arms
    given.seeds = given.seeds or list(study.seeds)
    given.folds = given.folds or list(study.folds)
    return given


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(text.split(",")))


def _whole_numbers(text: str) -> list[int]:
    return [int(name) for name in _names(text)]


if __name__ == "__main__":
    main()
