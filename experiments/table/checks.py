"""What stops a table before its first run."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from basics.errors import stop
from experiments.cli.arguments import check_configs
from experiments.cli.messages import no_config
from experiments.table.asked import asked, drift, is_free, leaves, look_up, options
from experiments.table.cells import Cell, config_of

OWN = {"seed_everything": "--seeds", "data.fold": "--folds", "run.root": "--root", "ckpt_path": "the state of its runs"}
OWN |= dict.fromkeys(("run.study", "run.strategy"), "--study and --strategies")
OWN |= {"run.overwrite": "the state of its runs", "trainer.enable_progress_bar": "its own bar"}


def check_command(given: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Stop at what can be seen to be wrong in the command."""
    check_configs(overrides)
    for name in given.strategies:
        if not Path(config_of(given.study, name)).is_file():
            stop(no_config(config_of(given.study, name)))
    if given.lr_trials < 0 or given.lr_trials == 1:
        stop(f"--lr-trials: one learning rate is no trial: give 2 or more, or leave it out (not {given.lr_trials})")
    if given.jobs is not None and given.jobs < 1:
        stop(f"--jobs is 1 or more, not {given.jobs}")
    for name, _ in options(overrides):
        if name in OWN:
            stop(f"--{name} is not for `--`: a table sets it by {OWN[name]}")
        if name == "model.lr" and given.lr_trials:
            stop("--model.lr and --lr-trials exclude each other: the trials are around the config's")


def check_values(cells: Sequence[Cell]) -> None:
    """Stop where a run that is there was made with other values than this table asks for, or than its other runs."""
    begun = [(cell, saved) for cell in cells if (saved := cell.saved()) is not None]
    tried = any(cell.trial for cell in cells)
    for cell, saved in begun:
        # Before its trials have chosen, a final run may have any rate.
        mine = cell if cell.trial or not tried else cell.at_rate(str(look_up(saved, "model.lr")))
        if problem := mine.other_values():
            stop(problem)
        first, other = begun[0]
        for key, theirs, ours in drift(saved, other, [cell.wanted, first.wanted]):
            stop(cell.says(key, theirs, ours, f"{first.folder} has"))


def check_forgotten(given: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """Stop where runs have a value that the last table here asked for and this one leaves at its default."""
    path = given.root / given.study / "table.json"
    before = asked(json.loads(path.read_text())["overrides"]) if path.is_file() else {}
    for cell in cells if before else ():
        for key, value in leaves(before):
            saved = cell.saved()
            if saved and look_up(cell.wanted, key) is None and not is_free(key) and look_up(saved, key) == value:
                stop(cell.says(key, value, "its default", "this table, which does not name it, asks for"))
