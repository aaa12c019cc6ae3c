"""Where a run keeps its files, and which checkpoint belongs to which run."""

import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException

CONFIG = "config.yaml"


class Run:
    """Names of a run; its folder is `<root>/<study>/<strategy>/seed<k>`.

    Args:
        root: Folder of all runs.
        study: None takes the name of the data set.
        strategy: None takes the name of the strategy; give one when two runs differ in something else.
        overwrite: Remove an older run of the same names; otherwise it is an error that there is one.
        predictions: Where `predict` writes; None is predictions.csv in the run's folder.
    """

    def __init__(
        self,
        root: str = "runs",
        study: str | None = None,
        strategy: str | None = None,
        overwrite: bool = False,
        predictions: str | None = None,
    ) -> None:
        self.root, self.study, self.strategy = Path(root), study, strategy
        self.overwrite, self.predictions = overwrite, predictions

    def name_after(self, data: Any, model: Any, seed: int) -> None:
        """Complete the names from what is trained on what."""
        self.study = self.study or data.study
        self.strategy = self.strategy or model.strategy_name
        self.seed_name = "-".join(part for part in (f"seed{seed}", data.variant) if part)
        self.folder = self.root / self.study / self.strategy / self.seed_name

    def checkpoint(self, ckpt_path: str | None) -> str | None:
        """Turn `best` and `last` into files, and move to the folder of the run that a checkpoint belongs to.

        Raises:
            FileNotFoundError: There is no such checkpoint.
        """
        if ckpt_path is None:
            return None
        path = self.folder / "checkpoints" / f"{ckpt_path}.ckpt" if ckpt_path in ("best", "last") else Path(ckpt_path)
        if not path.is_file():
            raise FileNotFoundError(
                f"no checkpoint {path}: `lightning fit` writes it; --ckpt_path takes best, last or a file"
            )
        if path.parent.name == "checkpoints":
            self.folder = path.parent.parent
        return str(path)

    def claim(self, resumes: bool) -> None:
        """Make sure that training does not overwrite an older run.

        Raises:
            MisconfigurationException: There is one, and it is neither resumed nor to be overwritten.
        """
        if resumes or not (self.folder / CONFIG).exists():
            return
        if not self.overwrite:
            last = self.folder / "checkpoints" / "last.ckpt"
            go_on = f"continue it with --ckpt_path {last}, " if last.is_file() else ""
            raise MisconfigurationException(
                f"{self.folder} already holds a run: {go_on}replace it with --run.overwrite true, "
                "or give this one another --run.strategy NAME or --seed_everything K"
            )
        shutil.rmtree(self.folder)


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
