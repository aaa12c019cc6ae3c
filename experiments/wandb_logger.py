import importlib.util
import os
import sys
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from experiments.run_folder import Run

PROJECT = "finetune-compare"
WANDB_ID = Path("wandb", "id")  # below the run's folder; written when training starts


def wandb_logger(run: Run) -> WandbLogger | bool:
    """A W&B run whose group, job type and name let a dashboard compare arms at once.

    Without a login it records offline and says how to upload; without wandb the run's own files are the record.

    Args:
        run: With its folder; the W&B id is kept there, so that a resumed or tested run stays one run.
    """
    if importlib.util.find_spec("wandb") is None:
        rank_zero_info("wandb is not installed: metrics.csv and metrics.json in the run's folder are the record")
        return False
    mode = os.environ.get("WANDB_MODE", "online" if _logged_in() else "offline")
    identity = run.folder / WANDB_ID
    if mode in ("offline", "dryrun"):
        rank_zero_info(f"W&B records offline; to upload: wandb login && wandb sync {run.folder}/wandb/offline-run-*")
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        group=run.study,
        job_type=run.strategy,
        name=f"{run.study}/{run.strategy}/{run.seed_name}",
        id=identity.read_text() if identity.is_file() else None,
        save_dir=run.folder,
        offline=mode in ("offline", "dryrun"),
    )


def finish_wandb() -> None:
    """Close the W&B run, or the next command line in the same process would write into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.is_file() and "wandb.ai" in netrc.read_text()
