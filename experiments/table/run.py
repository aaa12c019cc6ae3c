"""Steps of a table: trials of learning rates, runs, results; recorded so that the same command goes on."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from math import isnan

from basics.errors import stop
from basics.files import write_json
from basics.names import MONITOR, TABLE
from experiments.configs import Config, look_up
from experiments.studies import study_of
from experiments.table import budget, clusters, launchers
from experiments.table.cells import BUSY, FOLD, LR, Cell
from experiments.table.checks import check_command, check_values
from experiments.table.progress import Board, Clock, print_cells

AGAIN = "the same command goes on from here"


def run_table(given: argparse.Namespace, overrides: tuple[str, ...]) -> int:
    """Make the trials, then the runs, then the results.

    Args:
        given: Options of the table.
        overrides: Options of `lightning fit` for every run.

    Returns:
        Exit code: 1 if a run failed.
    """
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
    given: argparse.Namespace, overrides: Sequence[str], configs: Mapping[str, Config], costs: Mapping[str, float]
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
    write_json(given.root / given.study / TABLE, record)


def cells_of(
    given: argparse.Namespace, overrides: tuple[str, ...], configs: Mapping[str, Config]
) -> tuple[list[Cell], list[Cell]]:
    """List trials and final runs, seed by seed, so that an unfinished table has something of each arm."""

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
    """Cells of which nothing is left to do."""
    return [cell for cell in cells if cell.state() == "finished"]


def work(given: argparse.Namespace, cells: Sequence[Cell], board: Board) -> None:
    """Run what is left of some cells."""
    left = [cell for cell in cells if cell.state() != "finished"]
    if not left:
        return
    begun = [cell for cell in left if cell.state() in ("trained", "interrupted")]
    if given.launcher == "ray":
        events = clusters.on_ray(left, given.jobs, given.address)
    elif given.launcher == "slurm":
        events = clusters.on_slurm(left, given.jobs)
    else:
        events = launchers.local(left, given.jobs)
    with closing(events):
        for cell, code in events:
            if code is None:
                board.begins(cell)
            else:
                board.ends(cell, code, whole=cell not in begun)


def choose(given: argparse.Namespace, trials: Sequence[Cell]) -> dict[str, str]:
    """Choose the learning rate of each arm whose trials are all finished, the best on validation; record it."""
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


def close(given: argparse.Namespace, board: Board, finals: Sequence[Cell]) -> int:
    """List the runs that failed; write the results if everything is finished."""
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
