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
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from basics.errors import stop
from basics.files import write_file
from basics.names import MONITOR
from experiments.table import budget, launchers
from experiments.table.asked import asked, look_up
from experiments.table.cells import BUSY, Cell, config_of
from experiments.table.checks import check_command, check_forgotten, check_values
from experiments.table.progress import Board, Clock, print_plan

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
    place = args.index("--") if "--" in args else len(args)
    given, overrides = parse(args[:place]), tuple(args[place + 1 :])
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
    parser.add_argument("--strategies", type=_names, required=True, help="the arms, with commas between them")
    parser.add_argument("--seeds", type=_whole_numbers, default=[0, 1, 2], help="0,1,2 if not given")
    parser.add_argument(
        "--folds", type=_whole_numbers, default=[None], help="of data with folds; otherwise the config's"
    )
    parser.add_argument("--budget", choices=("epochs", "steps", "cost"), default="epochs", help="what all arms share")
    parser.add_argument("--lr-trials", type=int, default=0, metavar="K", help="try K learning rates for each arm")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="of all runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--launcher", choices=("local", "ray", "slurm"), default="local", help="where runs are made")
    parser.add_argument("--address", default="auto", help="of a Ray cluster")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once; otherwise one a GPU, or one")
    parser.add_argument("--plan", action="store_true", help="show the runs and what they cost; run nothing")
    return parser.parse_args(args)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(text.split(",")))


def _whole_numbers(text: str) -> list[int]:
    return [int(name) for name in _names(text)]


def run_table(given: argparse.Namespace, overrides: tuple[str, ...]) -> int:
    """Trials, then runs, then results; gives the exit code."""
    check_command(given, overrides)
    wanted = {name: asked(["--config", config_of(given.study, name), *overrides]) for name in given.strategies}
    if given.folds != [None] and any(look_up(tree, "data.fold") is None for tree in wanted.values()):
        stop(f"--folds: the data of {given.study} has no folds")
    number = budget.check_budget(given.budget, wanted)
    shared, costs = share(given, overrides, number)
    trials, finals = cells_of(given, shared, wanted)
    cells = [*trials, *finals]
    check_values(cells)
    check_forgotten(given, cells)
    if given.plan:
        print_plan(cells, Clock(costs, finished(cells)), costs)
        return 0
    record = {name: vars(given)[name] for name in ("study", "strategies", "seeds", "folds", "budget", "lr_trials")}
    epochs = {name: look_up(asked(shared[name]), "trainer.max_epochs") for name in given.strategies}
    steps = number if given.budget == "steps" else None
    record |= {"epochs": epochs, "max_steps": steps, "cost": costs, "overrides": list(overrides)}
    write_json(given.root / given.study / "table.json", record)

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


def share(
    given: argparse.Namespace, overrides: tuple[str, ...], number: int
) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """By strategy: its options, with what the budget makes of them, and the cost of a run in epochs of full training.

    Args:
        given: The table's options.
        overrides: Those after `--`.
        number: Epochs or steps of the budget.
    """
    shared, costs = {}, {}
    for name in given.strategies:
        own = ("--config", config_of(given.study, name), *overrides)
        epochs = look_up(asked(own), "trainer.max_epochs")
        extra: tuple[str, ...] = ()
        if given.budget == "steps":  # the plan counts in epochs, and they must not end a run before its steps
            epochs = epochs if isinstance(epochs, int) and epochs > 0 else 20
            arm = budget.read_arm((*own, "--trainer.max_epochs", str(epochs)))
            extra = ("--trainer.max_epochs", "-1")
        else:
            arm = budget.read_arm(own)
        if given.budget == "cost":
            epochs = number if name == budget.REFERENCE else budget.epochs_at_cost(arm, number)
            extra = ("--trainer.max_epochs", str(epochs))
        shared[name], costs[name] = (*own, *extra), arm.cost(epochs)
    return shared, costs


def cells_of(
    given: argparse.Namespace, shared: Mapping[str, tuple[str, ...]], wanted: Mapping[str, Any]
) -> tuple[list[Cell], list[Cell]]:
    """Trials and final runs, seed by seed, so that a table that is not finished has something of each arm."""
    cell = partial(Cell, given.study, root=given.root)
    trials = [
        cell(strategy=name, seed=given.seeds[0], fold=given.folds[0], overrides=shared[name][2:], trial=lr)
        for name in given.strategies
        for lr in budget.learning_rates(float(look_up(wanted[name], "model.lr") or 1e-3), given.lr_trials)
    ]
    finals = [
        cell(strategy=name, seed=seed, fold=fold, overrides=shared[name][2:])
        for fold in given.folds
        for seed in given.seeds
        for name in given.strategies
    ]
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
        scores = {lr: max(float(row[MONITOR]) for row in cell.rows() if row.get(MONITOR)) for lr, cell in own.items()}
        chosen[name] = max(scores, key=scores.__getitem__)
        tried = [{"lr": float(lr), "val_f1_macro": scores[lr], "folder": str(cell.folder)} for lr, cell in own.items()]
        record = {"lr": float(chosen[name]), "trials": tried}
        write_json(given.root / "lr_trials" / given.study / f"{name}.json", record)
    return chosen


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
