"""Where a run keeps its files, and which checkpoint belongs to which run."""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from basics.errors import UserError

CONFIG = "config.yaml"


class Run:
    """Names of a run; its folder is `<root>/<study>/<strategy>/seed<k>`.

    Args:
        root: Folder of all runs.
        study: None takes the name of the data set.
        strategy: None takes the name of the strategy; give one when two runs differ in something else.
        overwrite: Remove an older run of the same names; otherwise it is an error that there is one.
        predictions: Where `predict` writes; None is predictions.csv in the run's folder.
        every_n_train_steps: Write last.ckpt also every so many optimizer steps, to resume in the middle of an epoch.
    """

    def __init__(
        self,
        root: str = "runs",
        study: str | None = None,
        strategy: str | None = None,
        overwrite: bool = False,
        predictions: str | None = None,
        every_n_train_steps: int | None = None,
    ) -> None:
        self.root, self.study, self.strategy = Path(root), study, strategy
        self.overwrite, self.predictions = overwrite, predictions
        self.every_n_train_steps = every_n_train_steps

    def name_after(self, data: Any, model: Any, seed: int) -> None:
        """Complete the names from what is trained on what."""
        self.study = self.study or data.study
        self.strategy = self.strategy or model.strategy_name
        self.seed_name = "-".join(part for part in (f"seed{seed}", data.variant) if part)
        self.folder = self.root / self.study / self.strategy / self.seed_name

    def find_checkpoint(self, ckpt_path: str) -> Path:
        """The file that `best`, `last`, `last.ckpt` or a path means.

        Raises:
            UserError: There is no such checkpoint.
        """
        path = Path(ckpt_path)
        if ckpt_path.removesuffix(".ckpt") in ("best", "last") and not path.is_file():
            path = self.folder / "checkpoints" / f"{ckpt_path.removesuffix('.ckpt')}.ckpt"
        if not path.is_file():
            raise UserError(f"no checkpoint {path}: `lightning fit` writes it; --ckpt_path takes best, last or a file")
        return path

    def belong_to(self, path: Path, trained: Mapping[str, Any]) -> None:
        """Write where the run that a checkpoint is of keeps its files, under that run's names."""
        if path.parent.name == "checkpoints":
            self.folder = path.parent.parent
        if trained:
            self.study, self.strategy, self.seed_name = trained["study"], trained["strategy"], trained["seed_name"]

    def check_resumes(self, path: Path, trained: Mapping[str, Any]) -> None:
        """A run is resumed under its own names.

        Raises:
            UserError: The checkpoint is another run's.
        """
        this = f"{self.study}/{self.strategy}/{self.seed_name}"
        other = "/".join(str(trained.get(name)) for name in ("study", "strategy", "seed_name"))
        if trained and this != other:
            raise UserError(
                f"{path} is of the run {other}, and this is {this}: give the same config, seed and fold to resume it, "
                "or start from its weights with --model.weights"
            )

    def claim(self, resumes: bool) -> None:
        """Make sure that training does not overwrite an older run.

        Raises:
            UserError: There is one, and it is neither resumed nor to be overwritten.
        """
        requeued = any(self.folder.glob("hpc_ckpt_*.ckpt"))  # SLURM stopped it; Lightning goes on by itself
        if resumes or requeued or not (self.folder / CONFIG).exists():
            return
        if not self.overwrite:
            last = self.folder / "checkpoints" / "last.ckpt"
            go_on = f"continue it with --ckpt_path {last}, " if last.is_file() else ""
            raise UserError(
                f"{self.folder} already holds a run: {go_on}replace it with --run.overwrite true, "
                "or give this one another --run.strategy NAME or --seed_everything K"
            )
        rank_zero_only(shutil.rmtree)(self.folder)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without running any code that may be in it.

    Raises:
        UserError: The file is not a checkpoint of this project.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        checkpoint["hyper_parameters"]["_class_path"]
    except Exception as error:  # damaged and foreign files raise errors of many types
        raise UserError(
            f"{path} is not a checkpoint of `lightning fit`; weights alone go to --model.weights"
        ) from error
    return checkpoint


def provenance() -> dict[str, Any]:
    """The state of the code and the versions of the libraries that made a run."""
    packages = ("torch", "torchvision", "lightning", "torchmetrics", "timm", "albumentations", "numpy")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
