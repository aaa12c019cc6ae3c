"""`make wandb-sync`: upload what was recorded offline below a folder of runs."""

import subprocess
import sys
from pathlib import Path

from experiments.errors import stop
from experiments.wandb_logger import logged_in


def recorded_offline(root: Path) -> list[Path]:
    """Folders of the W&B records that are still to be uploaded, oldest first: the training of a run before its test.

    Args:
        root: Folder of all runs.
    """
    records = [path for path in root.rglob("offline-run-*/run-*.wandb") if not _marker(path).exists()]
    return sorted((path.parent for path in records), key=lambda folder: folder.name)  # offline-run-<time>-<id>


def _marker(record: Path) -> Path:
    return record.with_name(record.name + ".synced")  # `wandb sync` leaves it


def main() -> None:
    """Upload; `python -m experiments.wandb_sync [FOLDER]`, which is runs/ where none is given."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    records = recorded_offline(root)
    if not records:
        print(f"nothing to upload: no offline W&B record below {root} that is not yet uploaded")
        return
    if not logged_in():
        count = f"{len(records)} offline record{'s' * (len(records) > 1)} below {root}"
        stop(f"{count}, and nobody is logged in: wandb login && make wandb-sync")
    wandb = [sys.executable, "-m", "wandb", "sync"]
    sys.exit(subprocess.run([*wandb, *map(str, records)], check=False).returncode)


if __name__ == "__main__":
    main()
