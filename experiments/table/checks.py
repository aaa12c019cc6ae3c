"""Mistakes that stop a table before its first run."""

import argparse
from collections.abc import Sequence

from basics.errors import stop
from experiments.cli.arguments import check_configs, no_config
from experiments.studies import study_of
from experiments.table.cells import Cell

# Options of `fit` that the table sets by itself, and its own option for each.
OWN = {
    "seed_everything": "--seeds",
    "data.fold": "--folds",
    "run.root": "--root",
    "run.study": "--study and --strategies",
    "run.strategy": "--study and --strategies",
    "run.overwrite": "the state of its runs",
    "ckpt_path": "the state of its runs",
    "trainer.enable_progress_bar": "its own bar",
}


def check_command(given: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Stop at a mistake that can be seen in the command itself."""
    check_configs(overrides)
    for arm in given.strategies:
        config = study_of(given.study).config(arm)
        if not config.is_file():
            stop(no_config(str(config)))
    if not given.strategies:
        stop(f"--study {given.study}: there is no config configs/{given.study}_<arm>.yaml")
    if given.lr_trials < 0 or given.lr_trials == 1:
        stop(f"--lr-trials: one learning rate is no trial: give 2 or more, or leave it out (not {given.lr_trials})")
    if given.jobs is not None and given.jobs < 1:
        stop(f"--jobs is 1 or more, not {given.jobs}")
    for arg in overrides:
        name = arg.removeprefix("--").partition("=")[0] if arg.startswith("--") else ""
        if name in OWN:
            stop(f"--{name} is not for `--`: a table sets it by {OWN[name]}")
        if name == "model.lr" and given.lr_trials:
            stop("--model.lr and --lr-trials exclude each other: the trials are around the config's")


def check_values(cells: Sequence[Cell]) -> None:
    """Stop if a run that is there was made with other values than this table asks for."""
    tried = any(cell.trial for cell in cells)
    for cell in cells:
        # Before its trials have chosen, a final run may have any rate.
        if problem := cell.other_value(free_rate=tried and cell.trial is None):
            stop(problem)
