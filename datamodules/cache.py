"""Cache folders: built once a machine, used as long as their sources stay the same."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from basics.errors import UserError
from basics.files import checksum, new_folder
from datamodules.images import Array


def cached(folder: Path, key: str, build: Callable[[Path], None]) -> dict[str, Any]:
    """Build a cache folder once, and give its `meta.json`.

    `build` fills a temporary folder beside `folder`, which replaces `folder` when it is complete: nothing half-written
    is ever used. If two runs want to build at once, the later one waits and uses the result.

    Args:
        folder: Path of the cache folder; a cache there with another key is replaced.
        key: Text that changes when the sources do, for example their sizes and times of change.
        build: Function that writes the files of the cache into a folder, `meta.json` among them.

    Raises:
        UserError: The parent folder cannot be written.
    """
    if (meta := _read_meta(folder, key)) is not None:
        return meta
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder.parent / f".{folder.name}.lock"))
            if (meta := _read_meta(folder, key)) is not None:  # another run has built it while this one waited
                return meta
            work = stack.enter_context(new_folder(folder))
        except OSError as error:
            raise UserError(f"cannot write the cache {folder} ({error.strerror}): pass --data.cache_dir") from error
        build(work)
        built = work / "meta.json"
        meta = {**json.loads(built.read_text()), "key": key}
        built.write_text(json.dumps(meta))
    return meta


def _read_meta(folder: Path, key: str) -> dict[str, Any] | None:
    """Read `meta.json` of a complete cache with this key; None if there is no such cache."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return meta if meta.get("key") == key else None


def source_key(paths: Iterable[Path]) -> str:
    """Hash the paths, sizes and times of change of the files that a cache is made from.

    Raises:
        UserError: One of the files is missing.
    """
    lines = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise UserError(
                f"no file {path}: the data set is incomplete, fetch it again or take the file off its list"
            ) from None
        lines.append(f"{path}:{stat.st_size}:{stat.st_mtime_ns}")
    return fingerprint(lines)


def fingerprint(*parts: Array | Sequence[str]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of arrays and names."""
    contents = (
        np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else "\n".join(part).encode() for part in parts
    )
    return checksum(contents)[:16]
