"""One command for one table: every arm with every seed, finished runs kept, interrupted ones resumed.

python -m experiments.table --study fer --strategies frozen,full --seeds 0,1,2 -- --trainer.max_epochs 5
"""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from math import isnan
from pathlib import Path
from typing import Any, NoReturn

from basics.errors import stop
from basics.files import write_file
from basics.names import MONITOR
from experiments.configs import look_up
from experiments.studies import study_of
from experiments.table import budget, launchers
from experiments.table.cells import BUSY, FOLD, LR, Cell
from experiments.table.checks import check_command, check_values
from experiments.table.progress import Board, Clock, print_cells

AGAIN = "the same command goes on from here"


class Parser(argparse.ArgumentParser):
    """Errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        hint = "; options of lightning come after --" if "unrecognized" in message else ""
        stop(f"{message}{hint} (python -m experiments.table --help)")


def main(args: Sequence[str] | None = None) -> None:
    """Run a table; exit code 1 if a run failed, 2 for a mistake in the command, 130 when interrupted."""
    args = list(sys.argv[1:] if args is None else args)
    end = args.index("--") if "--" in args else len(args)
    given = parse(args[:end])
    overrides = tuple(args[end + 1 :])
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with quiet_plans():
            code = run_table(given, overrides)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {AGAIN}", file=sys.stderr)
        code = 130
    finally:
        signal.signal(signal.SIGTERM, before)
    if code:
        sys.exit(code)


@contextmanager
def quiet_plans() -> Iterator[None]:
    """Keep Lightning from saying its seed and devices for the plan of every arm, which nobody sees."""
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
    """The table's own options."""
    parser = Parser("experiments.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, help="fashion, deepweeds, fer: configs/<study>_<strategy>.yaml")
    parser.add_argument("--strategies", type=_names, help="arms, with commas between them; all if not given")
    parser.add_argument("--seeds", type=_whole_numbers, help="0,1,2 if not given; those of the study")
    parser.add_argument("--folds", type=_whole_numbers, help="folds of the data; those of the study if not given")
    parser.add_argument("--budget", choices=("epochs", "steps", "cost"), default="epochs", help="what all arms share")
    parser.add_argument("--lr-trials", type=int, default=0, metavar="K", help="try K learning rates for each arm")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="of all runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--launcher", choices=("local", "ray", "slurm"), default="local", help="where runs are made")
    parser.add_argument("--address", default="auto", help="of a Ray cluster")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once; otherwise one a GPU, or one")
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


def run_table(given: argparse.Namespace, overrides: tuple[str, ...]) -> int:
    """Trials, then runs, then results; gives the exit code."""
    check_command(given, overrides)
    arms = {
        arm: budget.read_arm(("--config", str(study_of(given.study).config(arm)), *overrides))
        for arm in given.strategies
    }
    configs = {arm: config for arm, (config, _) in arms.items()}
    if given.folds != [0] and any(look_up(config, FOLD) is None for config in configs.values()):
        stop(f"--folds: the data of {given.study} has no folds")
    configs, costs = budget.within_budget(given.budget, configs, {arm: cost for arm, (_, cost) in arms.items()})
    trials, finals = cells_of(given, overrides, configs)
    cells = [*trials, *finals]
    check_values(cells)
    if given.plan:
        print_cells(cells, Clock(costs, finished(cells)), costs)
        return 0
    write_record(given, overrides, configs, costs)

    with Board(cells, Clock(costs, finished(cells))) as board:
        work(given, trials, board)
        if trials:
            chosen = choose(given, trials)
            finals = [cell.at_rate(chosen.get(cell.strategy)) for cell in finals]
            board.cells = [*trials, *finals]
        ready = [cell for cell in finals if not trials or cell.strategy in chosen]
        check_values(ready)
        work(given, ready, board)
    return close(given, board, finals)


def write_record(
    given: argparse.Namespace,
    overrides: Sequence[str],
    configs: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, float],
) -> None:
    """Write table.json: which runs the table has, and what they share."""
    names = ("study", "strategies", "seeds", "folds", "budget", "lr_trials")
    steps = look_up(configs[given.strategies[0]], "trainer.max_steps") if given.budget == "steps" else None
    record = {name: vars(given)[name] for name in names} | {
        "epochs": {arm: look_up(config, "trainer.max_epochs") for arm, config in configs.items()},
        "max_steps": steps,
        "cost": costs,
        "overrides": list(overrides),
    }
    write_json(given.root / given.study / "table.json", record)


def cells_of(
    given: argparse.Namespace, overrides: tuple[str, ...], configs: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Cell], list[Cell]]:
    """Trials and final runs, seed by seed, so that a table that is not finished has something of each arm."""

    def cell(arm: str, seed: int, fold: int, trial: str | None = None) -> Cell:
        length = ("--trainer.max_epochs", str(look_up(configs[arm], "trainer.max_epochs")))
        own = (*overrides, *(() if given.budget == "epochs" else length))
        return Cell(given.study, arm, seed, fold, given.root, own, trial, configs[arm])

    trials = [
        cell(arm, given.seeds[0], given.folds[0], lr)
        for arm in given.strategies
        for lr in budget.learning_rates(float(look_up(configs[arm], LR)), given.lr_trials)
    ]
    finals = [cell(arm, seed, fold) for fold in given.folds for seed in given.seeds for arm in given.strategies]
    return trials, finals


def finished(cells: Sequence[Cell]) -> list[Cell]:
    """Those of which nothing is left to do."""
    return [cell for cell in cells if cell.state() == "finished"]


def work(given: argparse.Namespace, cells: Sequence[Cell], board: Board) -> None:
    """Run what is left of some cells."""
    left = [cell for cell in cells if cell.state() != "finished"]
    if not left:
        return
    begun = [cell for cell in left if cell.state() in ("trained", "interrupted")]
    if given.launcher == "ray":
        events = launchers.on_ray(left, given.jobs, given.address)
    else:
        events = {"local": launchers.local, "slurm": launchers.on_slurm}[given.launcher](left, given.jobs)
    with closing(events):
        for cell, code in events:
            if code is None:
                board.begins(cell)
            else:
                board.ends(cell, code, whole=cell not in begun)


def choose(given: argparse.Namespace, trials: Sequence[Cell]) -> dict[str, str]:
    """The learning rate of each arm all of whose trials are finished: the best on validation; recorded."""
    chosen: dict[str, str] = {}
    for name in given.strategies:
        own = {cell.trial: cell for cell in trials if cell.strategy == name and cell.trial}
        if any(cell.state() != "finished" for cell in own.values()):
            continue
        scores = {lr: best_score(cell) for lr, cell in own.items()}
        chosen[name] = max(scores, key=scores.__getitem__)
        tried = [
            {"lr": float(lr), "val_f1_macro": scores[lr], "folder": str(cell.run.path)} for lr, cell in own.items()
        ]
        record = {"lr": float(chosen[name]), "trials": tried}
        write_json(given.root / "lr_trials" / given.study / f"{name}.json", record)
    return chosen


def best_score(cell: Cell) -> float:
    """Best validation score of a run; epochs without a validation have none."""
    scores = [row[MONITOR] for row in cell.run.rows() if MONITOR in row]
    return max(score for score in scores if not isnan(score))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all."""
    write_file(path, json.dumps(record, indent=1) + "\n")


def close(given: argparse.Namespace, board: Board, finals: Sequence[Cell]) -> int:
    """List what failed; where everything is finished, write the results."""
    for cell, code in board.failed.items():
        why = "another process is at it" if code == BUSY else f"exit code {code}, the end of {cell.log}:"
        print(f"\nfailed: {cell.name}: {why}", file=sys.stderr)
        print("".join(f"    {line}\n" for line in cell.log_end() if code != BUSY), end="", file=sys.stderr)
    if board.failed:
        print(f"\n{board.describe()}; {AGAIN}", file=sys.stderr)
        return 1
    if len(finished(finals)) < len(finals):
        print(f"{board.describe()}; {AGAIN}")
        return 0
    check_values(finals)
    from experiments.results.write import write

    write(given.study, given.root, given.out, given.strategies)
    return 0


if __name__ == "__main__":
    main()
