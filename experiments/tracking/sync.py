"""`make wandb-sync`: upload what was recorded offline below a folder of runs."""

import os
import subprocess
import sys
from pathlib import Path

from basics.errors import stop
from experiments.tracking.wandb_logger import logged_in


def recorded_offline(root: Path) -> tuple[list[Path], list[Path]]:
    """Find the folders of the W&B records that are still to be uploaded.

    Args:
        root: Folder of all runs.

    Returns:
        Records that begin a run, and records that go on with one (a resumed training, the test); each oldest first.
    """
    begun: set[str] = set()
    first: list[Path] = []
    later: list[Path] = []
    paths = root.rglob("offline-run-*/run-*.wandb")
    for path in sorted(paths, key=lambda path: path.parent.name):  # offline-run-<time>-<id>
        if not path.with_name(f"{path.name}.synced").exists():  # `wandb sync` leaves it
            (later if path.name in begun else first).append(path.parent)
        begun.add(path.name)  # run-<id>.wandb
    return first, later


def sync(root: Path) -> None:
    """Upload every offline record below a folder of runs."""
    first, later = recorded_offline(root)
    count = len(first) + len(later)
    if not count:
        print(f"nothing to upload: no offline W&B record below {root} that is not yet uploaded")
        return
    if not logged_in():
        records = f"{count} offline {'records' if count > 1 else 'record'} below {root}"
        stop(f"{records}, and nobody is logged in: wandb login && make wandb-sync")
    command = [sys.executable, "-m", "wandb", "sync"]
    # Without `resume` the record of a test would replace the curves of its training (wandb issue 3841).
    for folders, resume in ((first, {}), (later, {"WANDB_RESUME": "allow"})):
        if folders:
            done = subprocess.run([*command, *map(str, folders)], env={**os.environ, **resume}, check=False)
            if done.returncode:
                sys.exit(done.returncode)
