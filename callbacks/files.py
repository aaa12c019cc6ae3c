import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins import TorchCheckpointIO


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it: a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.write_bytes(content.encode() if isinstance(content, str) else content)
    work.replace(path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a whole CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes it into the system's temporary folder and moves it; where that is another file system, the move is
    a copy, and a run killed in its middle is left with neither the old last.ckpt nor the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save, then rename."""
        work = f"{path}.part"
        super().save_checkpoint(checkpoint, work, storage_options)
        os.replace(work, path)


def is_dev_run(trainer: L.Trainer) -> bool:
    """Whether `--trainer.fast_dev_run` is on: such a run leaves no files."""
    return bool(getattr(trainer, "fast_dev_run", False))
