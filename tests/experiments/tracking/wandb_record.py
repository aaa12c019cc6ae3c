"""Reads what W&B records offline; its format is private, so that only tests depend on it."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BLOCK = 32 * 1024


def messages(content: bytes) -> Iterator[bytes]:
    """Messages of a log in leveldb's format.

    Its pieces have a checksum, a length, a kind and data; they do not cross blocks of 32 KiB.
    """
    assert content[:4] == b":W&B"
    position, message = 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # too little for the head of a piece
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        message += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece; 2 and 3 are the first and those between
            yield message
            message = b""


def records(path: Path, patience: float = 30) -> list[Any]:
    """All records of a file; W&B's process may still write them after `wandb.finish` has returned."""
    from wandb.proto.wandb_internal_pb2 import Record

    deadline = time.monotonic() + patience
    while True:
        found = [Record.FromString(message) for message in messages(path.read_bytes())]
        if any(record.WhichOneof("record_type") == "exit" for record in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def read(path: Path) -> SimpleNamespace:
    """The run with its config, the rows of the history, and the summary, of a run-*.wandb file."""
    config, history, summary, run = {}, [], {}, None
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
        updates = record.run.config.update if kind == "run" else record.config.update
        config |= values(updates)
        if kind == "history":
            history.append(values(record.history.item))
        summary |= values(record.summary.update)
    return SimpleNamespace(run=run, config=config, history=history, summary=summary)


def values(items: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        *above, last = item.nested_key or [item.key]
        inner = found
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return found
