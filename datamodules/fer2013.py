import json
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.base import PARTS, AugmentWith, ImageDataModule
from datamodules.images import MappedImages, Split, cached, fingerprint, source_key

SIDE = 48
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
    `emotion, Usage, pixels` are both about. numpy reads the 2,304 numbers of a row in 60 us: 2.2 s for all of them.

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
    for place, line in enumerate(lines):
        cells = [cell.strip().strip(b'"') for cell in rows[line - 1].split(b",")]
        try:
            values = np.fromstring(cells[pixels].decode(), np.int64, sep=" ")
            labels[place], usages[place] = int(cells[emotion]), codes[cells[usage]]
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            raise MisconfigurationException(
                f"{csv} line {line}: not an emotion, 2,304 pixels and a Usage ({error})"
            ) from error
        if len(values) != SIDE * SIDE or values.min() < 0 or values.max() > 255 or not 0 <= labels[place] <= 6:
            raise MisconfigurationException(
                f"{csv} line {line}: emotion {labels[place]} with {len(values)} pixels; "
                f"expected 0 to 6 and {SIDE * SIDE} values of 0 to 255: fetch the file again"
            )
        images[place] = values.reshape(SIDE, SIDE, 1)
    if set(usages.tolist()) != {0, 1, 2}:
        raise MisconfigurationException(f"{csv} has no row for one of {', '.join(USAGES)}: fetch the whole file again")
    images.flush()
    np.save(folder / "labels.npy", labels)
    np.save(folder / "usage.npy", usages)
    np.save(folder / "lines.npy", np.array(lines))
    meta = {"csv": csv.name, "shape": images.shape, "fingerprint": fingerprint(images, labels, usages)}
    (folder / "meta.json").write_text(json.dumps(meta))
