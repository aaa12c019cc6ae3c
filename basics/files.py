"""Writes that are whole or not at all, and the one checksum."""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it: a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.write_bytes(content.encode() if isinstance(content, str) else content)
    work.replace(path)


def write_json(path: Path, record: Any, indent: int | None = 1) -> None:
    """Write a record as JSON, as `write_file` does."""
    write_file(path, json.dumps(record, indent=indent) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a whole CSV file as `write_file` does."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_file(path, text.getvalue())


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, which replaces `path` if the block ends without an error.

    Args:
        path: Final place of the folder; its parent is created.

    Yields:
        The folder to fill, readable by others as `mkdir` would make it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        work.chmod(0o755)
        yield work
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            path.replace(old / "old")
            work.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            work.replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def checksum(parts: Iterable[Any]) -> str:
    """SHA-256 in hexadecimal digits of some bytes, or of anything that lends its memory: arrays, maps."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()
