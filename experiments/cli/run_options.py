"""Options of a run: `--run.root`, `--run.study` and so on."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from basics.errors import UserError
from experiments.runs import RunFolder, fold_of


@dataclass
class RunOptions:
    """Names of a run; its folder is `<root>/<study>/<strategy>/seed<k>`.

    Args:
        root: Folder of all runs.
        study: None takes the name of the data set.
        strategy: None takes the name of the strategy; give one when two runs differ in something else.
        overwrite: Remove an older run of the same names; otherwise it is an error that there is one.
        predictions: Where `predict` writes; None is predictions.csv in the run's folder.
        every_n_train_steps: Write last.ckpt also every so many optimizer steps, to resume in the middle of an epoch.
    """

    root: str = "runs"
    study: str | None = None
    strategy: str | None = None
    overwrite: bool = False
    predictions: str | None = None
    every_n_train_steps: int | None = None

    def folder(self, data: Any, model: Any, seed: int) -> RunFolder:
        """Folder of the run; names that were not given come from what is trained on what.

        Raises:
            UserError: The run has no seed.
        """
        if isinstance(seed, bool):
            raise UserError("a run has a seed, or nobody could repeat it: give --seed_everything K")
        study = self.study or data.study
        return RunFolder(Path(self.root), study, self.strategy or model.strategy_name, seed, data.fold)

    def claim(self, folder: RunFolder, resumes: bool) -> None:
        """Make sure that training does not overwrite an older run.

        Raises:
            UserError: There is one, and it is neither resumed nor to be overwritten.
        """
        requeued = any(folder.path.glob("hpc_ckpt_*.ckpt"))  # SLURM stopped it; Lightning goes on by itself
        if resumes or requeued or not folder.config.exists():
            return
        if not self.overwrite:
            go_on = f"continue it with --ckpt_path {folder.last}, " if folder.last.is_file() else ""
            raise UserError(
                f"{folder.path} already holds a run: {go_on}replace it with --run.overwrite true, "
                "or give this one another --run.strategy NAME or --seed_everything K"
            )
        rank_zero_only(shutil.rmtree)(folder.path)


def find_checkpoint(folder: RunFolder, ckpt_path: str) -> Path:
    """Find the file that `best`, `last`, `last.ckpt` or a path names.

    Raises:
        UserError: There is no such checkpoint.
    """
    path = Path(ckpt_path)
    name = ckpt_path.removesuffix(".ckpt")
    if name in ("best", "last") and not path.is_file():
        path = folder.checkpoints / f"{name}.ckpt"
    if not path.is_file():
        raise UserError(f"no checkpoint {path}: `lightning fit` writes it; --ckpt_path takes best, last or a file")
    return path


def owner(folder: RunFolder, checkpoint: Path, trained: Mapping[str, Any]) -> RunFolder:
    """Folder of the run that a checkpoint belongs to.

    Args:
        folder: Folder that the command line names.
        checkpoint: Path of the checkpoint.
        trained: Record of the run in the checkpoint; empty if it has none.
    """
    if trained:
        folder = RunFolder(folder.root, trained["study"], trained["strategy"], trained["seed"], fold_of(trained))
    if checkpoint.parent.name == folder.checkpoints.name:
        folder = replace(folder, moved=checkpoint.parent.parent)
    return folder
