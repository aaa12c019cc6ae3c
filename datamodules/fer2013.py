import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import PARTS, AugmentWith, ImageDataModule
from datamodules.images import Array, MappedImages, Split, cached, fingerprint, source_key

SIDE = 48
CHUNK = 2**19  # bytes of the CSV, about 64 rows
USAGES = ("Training", "PublicTest", "PrivateTest")  # train, val, test
CODES = {name.encode(): code for code, name in enumerate(USAGES)}
FILES = ("fer2013.csv", "icml_face_data.csv")
KAGGLE = "kaggle.com/competitions/challenges-in-representation-learning-facial-expression-recognition-challenge"


class FER2013(ImageDataModule):
    """FER2013: 48x48 grey faces, 7 emotions (Goodfellow et al. 2013), from the one CSV file of its publisher.

    28,709 Training images are train, 3,589 PublicTest val, 3,589 PrivateTest test. The 300 MB of text are parsed once
    into a file of 83 MB that later starts only map. Disgust is 1.5 % of the images, which is why macro-F1 counts.
    """

    study = "fer"
    class_names = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    channels, native_size = 1, SIDE

    def __init__(
        self,
        image_size: int | None = SIDE,
        batch_size: int = 128,
        augment_with: AugmentWith = "batch",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, augment_with=augment_with, **kwargs)

    @property
    def csv(self) -> Path:
        """The file, under either of its two names.

        Raises:
            UserError: Neither is there; Kaggle gives it only to those who have an account.
        """
        folder = self.root / "fer2013"
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
        raise UserError(
            f"no {FILES[0]} in {folder}: download it from {KAGGLE} (needs an account), "
            f"put {FILES[0]} or {FILES[1]} there, or pass --data.root FOLDER"
        )

    def prepare(self) -> None:
        """Parse the CSV, unless that was done before."""
        self._meta()

    def load_splits(self) -> dict[str, Split]:
        """Map the parsed images."""
        meta, folder = self._meta(), self.cache_dir / "fer2013"
        labels, usage = np.load(folder / "labels.npy"), np.load(folder / "usage.npy")
        images = MappedImages(folder / "images.bin", tuple(meta["shape"]))
        self._images_fingerprint = str(meta["fingerprint"])
        rows = {name: np.flatnonzero(usage == code) for code, name in enumerate(PARTS)}
        lines = np.load(folder / "lines.npy")
        return {
            name: Split(images, r, labels[r], [f"{meta['csv']}:{line}" for line in lines[r]])
            for name, r in rows.items()
        }

    def _meta(self) -> dict[str, Any]:
        csv = self.csv
        return cached(self.cache_dir / "fer2013", source_key([csv]), lambda folder: parse_csv(csv, folder))


def parse_csv(csv: Path, folder: Path) -> None:
    """Parse the file into images.bin, labels.npy, usage.npy, lines.npy and meta.json.

    The columns are found by their names, in any order and with blanks around them: `emotion,pixels,Usage` and
    `emotion, Usage, pixels` are both about. Chunks of the file are parsed side by side and written in order, so that
    the text is never in memory as a whole.

    Args:
        csv: The file.
        folder: An existing folder for the results.

    Raises:
        UserError: A column is missing, or a row is not as it should be; names the line.
    """
    with csv.open("rb") as text:
        header = [name.strip().strip(b'"').decode(errors="replace").lower() for name in text.readline().split(b",")]
    wanted = ("emotion", "pixels", "usage")
    if sorted(header) != sorted(wanted):
        raise UserError(f"{csv}: its header has {', '.join(header)}; expected emotion, pixels and Usage")
    columns = [header.index(name) for name in wanted]
    labels, usages, lines, line = [], [], [], 1
    with (folder / "images.bin").open("wb") as images, ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in pool.map(lambda span: _parse_chunk(csv, span, columns), _spans(csv)):
            if chunk.wrong:
                pool.shutdown(cancel_futures=True)
                place, message = chunk.wrong
                raise UserError(f"{csv} line {line + place}: {message}")
            images.write(chunk.pixels.data)
            labels += chunk.labels
            usages += chunk.usages
            lines += [line + place for place in chunk.places]
            line += chunk.lines
    if set(usages) != {0, 1, 2}:
        raise UserError(f"{csv} has no row for one of {', '.join(USAGES)}: fetch the whole file again")
    arrays = {"labels": np.array(labels), "usage": np.array(usages, np.uint8), "lines": np.array(lines)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    shape = (len(labels), SIDE, SIDE, 1)
    pixels = np.memmap(folder / "images.bin", np.uint8, "r", shape=shape)
    made = fingerprint(pixels, arrays["labels"], arrays["usage"])
    (folder / "meta.json").write_text(json.dumps({"csv": csv.name, "shape": shape, "fingerprint": made}))


@dataclass
class _Chunk:
    """Some lines of the CSV, parsed; places are lines from the first of them, and `wrong` is one with what it is."""

    lines: int
    places: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    usages: list[int] = field(default_factory=list)
    pixels: Array = field(default_factory=lambda: np.empty(0, np.uint8))
    wrong: tuple[int, str] | None = None


def _spans(csv: Path) -> Iterator[tuple[int, int]]:
    """Begin and end of chunks of whole lines, without the header; half a megabyte stays in the cache of a core."""
    with csv.open("rb") as text:
        begin, _ = len(text.readline()), text.seek(0, os.SEEK_END)
        size = text.tell()
        while begin < size:
            text.seek(min(begin + CHUNK, size))
            text.readline()
            yield begin, text.tell()
            begin = text.tell()


def _parse_chunk(csv: Path, span: tuple[int, int], columns: Sequence[int]) -> _Chunk:
    """Parse the lines between two places of the file; columns are those of emotion, pixels and Usage."""
    begin, end = span
    with csv.open("rb", buffering=0) as text:
        text.seek(begin)
        rows = text.read(end - begin).splitlines()
    chunk, texts = _Chunk(len(rows)), []
    for place, row in enumerate(rows, 1):
        if not row.strip():
            continue
        cells = [cell.strip().strip(b'"') for cell in row.split(b",")]
        try:
            emotion, pixels, usage = (cells[column] for column in columns)
            label, code = int(emotion), CODES[usage]
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            chunk.wrong = place, f"not an emotion, 2,304 pixels and a Usage ({error})"
            break
        if not 0 <= label <= 6:
            chunk.wrong = place, f"emotion {label}; expected 0 to 6"
            break
        texts.append(pixels)
        chunk.places.append(place)
        chunk.labels.append(label)
        chunk.usages.append(code)
    values = parse_pixels(texts) if texts else np.empty(0, np.uint16)
    if values is None:
        parsed = [_parse_row(text) for text in texts]
        mistakes = [(place, it) for place, it in zip(chunk.places, parsed, strict=True) if isinstance(it, str)]
        if mistakes:  # before the one that the loop stopped at, if any
            chunk.wrong = mistakes[0]
            return chunk
        values = np.concatenate(parsed)
    chunk.pixels = values.astype(np.uint8)
    return chunk


def parse_pixels(rows: Sequence[bytes]) -> Array | None:
    """The numbers of some rows of text, by a few operations on all of their bytes at once.

    All rows of the data set take 0.25 s in two threads, which numpy lets run side by side; calls of np.fromstring take
    2.2 s. Where a number ends, it is the digit there, ten times the digit before, and a hundred times that before this.

    Args:
        rows: Each of 2,304 numbers of 0 to 255 with blanks between them.

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
    """The numbers `[2304]` of a row that is written in another way; what is wrong with it, if that is the case."""
    try:
        values = np.fromstring(text.decode(errors="replace"), np.int64, sep=" ")
    except ValueError as error:
        return f"not {SIDE * SIDE} pixels ({error})"
    if len(values) != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        return f"it has {len(values)} pixels; expected {SIDE * SIDE} values of 0 to 255: fetch the file again"
    return values
