"""The CSV file of FER2013, parsed on all cores by operations on whole arrays of bytes."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from basics.errors import UserError
from datamodules.cache import fingerprint
from datamodules.decoded import IMAGES, Meta
from datamodules.images import Array

SIDE = 48  # pixels
CHUNK = 2**19  # bytes of the CSV, about 64 rows
USAGES = ("Training", "PublicTest", "PrivateTest")  # train, val, test
CODES = {name.encode(): code for code, name in enumerate(USAGES)}


def parse_csv(csv: Path, folder: Path) -> Meta:
    """Parse the file into images.bin, labels.npy, usage.npy and lines.npy.

    The columns are found by their names, in any order and with blanks around them: both `emotion,pixels,Usage` and
    `emotion, Usage, pixels` are in circulation. Chunks of the file are parsed in parallel and written in order, so
    that the text is never in memory as a whole.

    Args:
        csv: Path of the file.
        folder: Path of an existing folder for the results.

    Returns:
        Name of the file, shape and fingerprint of the images.

    Raises:
        UserError: A column is missing or a row is malformed; the message names the line.
    """
    with csv.open("rb") as text:
        header = [name.strip().strip(b'"').decode(errors="replace").lower() for name in text.readline().split(b",")]
    expected = ("emotion", "pixels", "usage")
    if sorted(header) != sorted(expected):
        raise UserError(f"{csv}: its header has {', '.join(header)}; expected emotion, pixels and Usage")
    columns = [header.index(name) for name in expected]
    labels: list[int] = []
    usages: list[int] = []
    lines: list[int] = []
    line = 1
    with (folder / IMAGES).open("wb") as images, ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in pool.map(lambda span: _parse_chunk(csv, span, columns), _spans(csv)):
            if chunk.mistake:
                pool.shutdown(cancel_futures=True)
                row, message = chunk.mistake
                raise UserError(f"{csv} line {line + row}: {message}")
            images.write(chunk.pixels.data)
            labels += chunk.labels
            usages += chunk.usages
            lines += [line + row for row in chunk.rows]
            line += chunk.lines
    if set(usages) != {0, 1, 2}:
        raise UserError(f"{csv} has no row for one of {', '.join(USAGES)}: fetch the whole file again")
    arrays = {"labels": np.array(labels), "usage": np.array(usages, np.uint8), "lines": np.array(lines)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    shape = (len(labels), SIDE, SIDE, 1)
    pixels = np.memmap(folder / IMAGES, np.uint8, "r", shape=shape)
    return {"csv": csv.name, "shape": shape, "fingerprint": fingerprint(pixels, arrays["labels"], arrays["usage"])}


@dataclass
class _Chunk:
    """Some lines of the CSV, parsed.

    Args:
        lines: Number of lines.
        rows: Numbers of the lines that are not blank, from 1.
        labels: Emotions of these rows.
        usages: Codes of these rows.
        pixels: uint8 values of these rows, one after the other.
        mistake: Number of the first malformed line, and the message about it.
    """

    lines: int
    rows: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    usages: list[int] = field(default_factory=list)
    pixels: Array = field(default_factory=lambda: np.empty(0, np.uint8))
    mistake: tuple[int, str] | None = None


def _spans(csv: Path) -> Iterator[tuple[int, int]]:
    """Begin and end of chunks of whole lines, without the header; half a megabyte stays in the cache of a core."""
    with csv.open("rb") as text:
        begin = len(text.readline())
        size = text.seek(0, os.SEEK_END)
        while begin < size:
            text.seek(min(begin + CHUNK, size))
            text.readline()
            yield begin, text.tell()
            begin = text.tell()


def _parse_chunk(csv: Path, span: tuple[int, int], columns: Sequence[int]) -> _Chunk:
    """Parse the lines of a span of the file; columns are the indices of emotion, pixels and Usage."""
    begin, end = span
    with csv.open("rb", buffering=0) as text:
        text.seek(begin)
        lines = text.read(end - begin).splitlines()
    chunk = _Chunk(len(lines))
    texts = []
    for row, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = [cell.strip().strip(b'"') for cell in line.split(b",")]
        try:
            emotion, pixels, usage = (cells[column] for column in columns)
            label = int(emotion)
            code = CODES[usage]
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            chunk.mistake = row, f"not an emotion, 2,304 pixels and a Usage ({error})"
            break
        if not 0 <= label <= 6:
            chunk.mistake = row, f"emotion {label}; expected 0 to 6"
            break
        texts.append(pixels)
        chunk.rows.append(row)
        chunk.labels.append(label)
        chunk.usages.append(code)
    values = parse_pixels(texts) if texts else np.empty(0, np.uint16)
    if values is None:
        parsed = [_parse_row(text) for text in texts]
        mistakes = [(row, it) for row, it in zip(chunk.rows, parsed, strict=True) if isinstance(it, str)]
        if mistakes:  # it comes before the mistake that the loop stopped at, if any
            chunk.mistake = mistakes[0]
            return chunk
        values = np.concatenate(parsed)
    chunk.pixels = values.astype(np.uint8)
    return chunk


def parse_pixels(rows: Sequence[bytes]) -> Array | None:
    """Parse the numbers of some rows of text by a few operations on all of their bytes at once.

    All rows of the data set take 0.25 s in two threads, because numpy releases the interpreter lock; calls of
    np.fromstring take 2.2 s. At the last digit of a number its value is digit + 10 x previous digit + 100 x the one
    before that.

    Args:
        rows: Texts of 2,304 numbers from 0 to 255 each, separated by blanks.

    Returns:
        uint16 `[len(rows) * 2304]`; None if a row is something else.
    """
    text = np.frombuffer(b"   " + b" ".join(rows) + b" ", np.uint8)
    digits = text - np.uint8(ord("0"))  # a blank becomes 240
    is_digit = digits <= 9
    digits *= is_digit
    values = (digits[1:-3] * is_digit[2:-2].view(np.uint8)).astype(np.uint16)
    values *= np.uint16(100)
    values += digits[2:-2] * np.uint8(10)
    values += digits[3:-1]
    ends = is_digit[3:-1] > is_digit[4:]
    values = np.compress(ends, values)  # `values[ends]` takes 2.8 times as long
    four = is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1] & is_digit[3:]
    edges = np.cumsum([0, *(len(row) + 1 for row in rows)]).tolist()
    fits = all(np.count_nonzero(ends[start:end]) == SIDE * SIDE for start, end in pairwise(edges))
    plain = fits and not four.any() and bool((is_digit | (text == ord(" "))).all()) and values.max() <= 255
    return values if plain else None


def _parse_row(text: bytes) -> Array | str:
    """Parse the numbers `[2304]` of a row that is formatted unusually; a message if the row is malformed."""
    try:
        values = np.fromstring(text.decode(errors="replace"), np.int64, sep=" ")
    except ValueError as error:
        return f"not {SIDE * SIDE} pixels ({error})"
    if len(values) != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        return f"it has {len(values)} pixels; expected {SIDE * SIDE} values of 0 to 255: fetch the file again"
    return values
