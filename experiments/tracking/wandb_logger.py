"""The W&B logger of a run, and what goes with it."""

import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from experiments.runs import RunFolder

PROJECT = "finetune-compare"


def wandb_logger(run: RunFolder) -> WandbLogger | bool:
    """Make a W&B run whose group, job type, name and config let a dashboard compare arms at once.

    Without a login it records offline and says how to upload; without wandb the run's own files are the record.
    The test's part of the run has the names in its config too: the two may be uploaded apart from each other.

    Args:
        run: Folder of the run; it keeps the W&B id, so that a resumed or tested run stays one run.
    """
    if importlib.util.find_spec("wandb") is None:
        rank_zero_info("wandb is not installed: metrics.csv and metrics.json in the run's folder are the record")
        return False
    mode = os.environ.get("WANDB_MODE", "online" if logged_in() else "offline")
    if mode in ("offline", "dryrun"):
        rank_zero_info(f"W&B records offline; to upload: wandb login && wandb sync {run.path}/wandb/offline-run-*")
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        group=run.study,
        job_type=run.strategy,
        name=run.name,
        id=run.wandb_id.read_text() if run.wandb_id.is_file() else None,
        config={"study": run.study, "strategy": run.strategy, "seed": run.seed, "fold": run.fold},
        save_dir=run.path,
        offline=mode in ("offline", "dryrun"),
    )


@rank_zero_only
def log_cost(loggers: Iterable[Logger], run: RunFolder) -> None:
    """Give W&B what training has cost: cost/trainable (parameters), cost/flops and cost/seconds, as summary values.

    Args:
        loggers: Loggers of the trainer.
        run: Folder of the run; without cost.json there is nothing to log.
    """
    if not run.cost.is_file():
        return
    total = json.loads(run.cost.read_text())["total"]
    cost = {
        "cost/trainable": total["trainable"],
        "cost/flops": total["forward_flops"] + total["backward_flops"],
        "cost/seconds": total["seconds"],
    }
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(cost)


def finish_wandb() -> None:
    """Close the W&B run, or the next command line in the same process would write into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()


def logged_in() -> bool:
    """True if this machine has a key for W&B; nothing is sent to find out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.is_file() and "wandb.ai" in netrc.read_text()
