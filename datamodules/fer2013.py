"""FER2013: faces with seven emotions."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import AugmentWith, ImageDataModule
from datamodules.decoded import Meta, decode_once
from datamodules.fer2013_csv import SIDE, parse_csv
from datamodules.images import MappedImages
from datamodules.splits import PARTS, Split

FILES = ("fer2013.csv", "icml_face_data.csv")
KAGGLE = "kaggle.com/competitions/challenges-in-representation-learning-facial-expression-recognition-challenge"


class FER2013(ImageDataModule):
    """FER2013: 48x48 grey faces, 7 emotions (Goodfellow et al. 2013), from the one CSV file of its publisher.

    28,709 Training images are train, 3,589 PublicTest val, 3,589 PrivateTest test. The 300 MB of text are parsed once
    into a file of 83 MB that later starts only map. Disgust is 1.5 % of the images, which is why macro-F1 counts.
    """

    study = "fer"
    class_names = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    channels = 1
    native_size = SIDE

    def __init__(
        self, image_size: int | None = SIDE, batch_size: int = 128, augment_with: AugmentWith = "batch", **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, augment_with=augment_with, **kwargs)
        self.cache = self.cache_dir / "fer2013"

    @property
    def csv(self) -> Path:
        """Path of the file, under either of its two names.

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
        self._decoded()

    def load_splits(self) -> dict[str, Split]:
        """Map the parsed images."""
        images, meta = self._decoded()
        labels, lines, usage = (np.load(self.cache / f"{name}.npy") for name in ("labels", "lines", "usage"))
        whole = Split(images, np.arange(len(labels)), labels, [f"{meta['csv']}:{line}" for line in lines])
        return {part: whole.part(np.flatnonzero(usage == code)) for code, part in enumerate(PARTS)}

    def _decoded(self) -> tuple[MappedImages, Meta]:
        csv = self.csv
        return decode_once(self.cache, [csv], partial(parse_csv, csv))
