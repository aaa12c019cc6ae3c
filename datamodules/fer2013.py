import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.base import PARTS, AugmentWith, ImageDataModule
from datamodules.images import Array, MappedImages, Split, cached, fingerprint, source_key

SIDE = 48
ROWS_A_PASS = 64  # of the CSV: half a megabyte, which stays in the cache of a core
USAGES = ("Training", "PublicTest", "PrivateTest")  # train, val, test
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
            FileNotFoundError: Neither is there; Kaggle gives it only to those who have an account.
        """
        folder = self.root / "fer2013"
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
        raise FileNotFoundError(
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
    `emotion, Usage, pixels` are both about.

    Args:
        csv: The file.
        folder: An existing folder for the results.

    Raises:
        MisconfigurationException: A column is missing, or a row is not as it should be; names the line.
    """
    rows = csv.read_bytes().splitlines()
    header = [name.strip().strip(b'"').decode(errors="replace").lower() for name in rows[0].split(b",")] if rows else []
    wanted = ("emotion", "pixels", "usage")
    if sorted(header) != sorted(wanted):
        raise MisconfigurationException(
            f"{csv}: its header has {', '.join(header)}; expected emotion, pixels and Usage"
        )
    emotion, pixels, usage = (header.index(name) for name in wanted)
    lines = [number for number, row in enumerate(rows, 1) if row.strip()][1:]
    labels, usages = np.empty(len(lines), np.int64), np.empty(len(lines), np.uint8)
    images = np.memmap(folder / "images.bin", np.uint8, "w+", shape=(max(1, len(lines)), SIDE, SIDE, 1))
    codes = {name.encode(): code for code, name in enumerate(USAGES)}
    texts: list[bytes] = []
    for place, line in enumerate(lines):
        cells = [cell.strip().strip(b'"') for cell in rows[line - 1].split(b",")]
        try:
            labels[place], usages[place] = int(cells[emotion]), codes[cells[usage]]
            texts.append(cells[pixels])
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            raise MisconfigurationException(
                f"{csv} line {line}: not an emotion, 2,304 pixels and a Usage ({error})"
            ) from error
        if not 0 <= labels[place] <= 6:
            raise MisconfigurationException(f"{csv} line {line}: emotion {labels[place]}; expected 0 to 6")

    def parse(start: int) -> None:
        part = slice(start, start + ROWS_A_PASS)
        values = parse_pixels(texts[part])
        if values is None:
            values = np.stack(
                [_parse_row(text, csv, line) for text, line in zip(texts[part], lines[part], strict=True)]
            )
        images[part] = values.reshape(-1, SIDE, SIDE, 1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(parse, range(0, len(lines), ROWS_A_PASS)))
    if set(usages.tolist()) != {0, 1, 2}:
        raise MisconfigurationException(f"{csv} has no row for one of {', '.join(USAGES)}: fetch the whole file again")
    images.flush()
    np.save(folder / "labels.npy", labels)
    np.save(folder / "usage.npy", usages)
    np.save(folder / "lines.npy", np.array(lines))
    meta = {"csv": csv.name, "shape": images.shape, "fingerprint": fingerprint(images, labels, usages)}
    (folder / "meta.json").write_text(json.dumps(meta))


def parse_pixels(rows: Sequence[bytes]) -> Array | None:
    """The numbers of some rows of text, by a few operations on all of their bytes at once.

    All rows of the data set take 0.7 s in two threads, which numpy lets run side by side; calls of np.fromstring take
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
    values = values[ends]
    four = is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1] & is_digit[3:]
    edges = np.cumsum([0, *(len(row) + 1 for row in rows)]).tolist()
    fits = all(np.count_nonzero(ends[start:end]) == SIDE * SIDE for start, end in pairwise(edges))
    plain = fits and not four.any() and bool((is_digit | (text == ord(" "))).all()) and values.max() <= 255
    return values if plain else None


def _parse_row(text: bytes, csv: Path, line: int) -> Array:
    """A row that is written in another way, or is wrong."""
    try:
        values = np.fromstring(text.decode(errors="replace"), np.int64, sep=" ")
    except ValueError as error:
        raise MisconfigurationException(f"{csv} line {line}: not {SIDE * SIDE} pixels ({error})") from error
    if len(values) != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        raise MisconfigurationException(
            f"{csv} line {line}: it has {len(values)} pixels; "
            f"expected {SIDE * SIDE} values of 0 to 255: fetch the file again"
        )
    return values
