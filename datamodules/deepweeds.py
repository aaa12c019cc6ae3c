import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from basics.errors import UserError
from datamodules.base import PARTS, ImageDataModule
from datamodules.download import SHA256_OF_IMAGES, URL_OF_IMAGES, URL_OF_LABELS, download
from datamodules.images import Array, MappedImages, Split, cached, decode_files, fingerprint, read_image, source_key
from datamodules.splits import shots_within
from datamodules.tables import read_table

FOLDS = 5
SECONDS = 30  # between two shots of a camera that show the same plants


class DeepWeeds(ImageDataModule):
    """DeepWeeds: 17,509 RGB photos of eight weeds and "Negative" (Olsen et al. 2019, CC BY 4.0), 256x256.

    Splits are the publisher's five folds, 60/20/20 each, whose test sets together are the whole set. Half of the
    images are Negative: always answering that gives accuracy 0.52 and macro-F1 0.076. 77 % of a test set were taken
    within 30 s of a training image by the same camera, so official scores are optimistic.

    Args:
        fold: Which of the five official splits, 0 to 4.
        image_size: Side of the input in pixels; the photos have 256.
        batch_size: Images of a step over all devices.
        download: Fetch what is missing from the publisher (images 468 MB).
        kwargs: As in `ImageDataModule`.
    """

    study = "deepweeds"
    class_names = (
        *("Chinee apple", "Lantana", "Parkinsonia", "Parthenium", "Prickly acacia"),
        *("Rubber vine", "Siam weed", "Snake weed", "Negative"),
    )
    channels, native_size = 3, 256
    leak_rule = f"test images taken within {SECONDS} s of a training image by the same camera left out"

    def __init__(
        self, fold: int = 0, image_size: int | None = 224, batch_size: int = 64, download: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, **kwargs)
        if not 0 <= fold < FOLDS:
            raise UserError(f"data.fold must be 0 to {FOLDS - 1}, not {fold}")
        self.fold, self.download = fold, download
        self.folder = self.root / "deepweeds"

    def prepare(self) -> None:
        """Download what is missing and decode the JPEGs once for all folds."""
        if self.download:
            self._fetch()
        self._meta()
        self._report_conflicts()

    def load_splits(self) -> dict[str, Split]:
        """Map the decoded images and read the fold."""
        meta = self._meta()
        self._images_fingerprint = str(meta["fingerprint"])
        images = MappedImages(self.cache_dir / "deepweeds" / "images.bin", tuple(meta["shape"]))
        row_of = {name: row for row, name in enumerate(meta["names"])}
        splits = {}
        for part in PARTS:
            labels = self._labels(f"{part}_subset{self.fold}.csv")
            rows = np.array([row_of[name] for name in labels])
            splits[part] = Split(images, rows, np.array(list(labels.values())), list(labels))
        return splits

    def leaked(self) -> Array:
        """Those with a training image of the same camera shortly before or after: 77 % of every fold."""
        return shots_within(SECONDS, self.whole_train.names, self.splits["test"].names)

    def _meta(self) -> dict[str, Any]:
        tables = [self.folder / "labels" / f"{part}_subset{fold}.csv" for fold in range(FOLDS) for part in PARTS]
        if missing := [table for table in tables if not table.is_file()]:
            raise UserError(f"no {missing[0]}: let --data.download true fetch it, or pass --data.root FOLDER")
        files = [self.folder / "images" / name for name in self._names()]
        return cached(self.cache_dir / "deepweeds", source_key([*tables, *files]), self._decode)

    def _decode(self, target: Path) -> None:
        names = self._names()
        files = [self.folder / "images" / name for name in names]
        side = min(read_image(files[0], self.channels).shape[:2])
        pixels = decode_files(target / "images.bin", files, self.channels, side)
        meta = {"shape": pixels.shape, "names": names, "fingerprint": fingerprint(pixels, names)}
        (target / "meta.json").write_text(json.dumps(meta))

    def _names(self) -> list[str]:
        """All images; every fold has all of them."""
        return sorted({name for part in PARTS for name in self._labels(f"{part}_subset{self.fold}.csv")})

    def _labels(self, table: str) -> dict[str, int]:
        rows = read_table(self.folder / "labels" / table, ("Filename", "Label"), classes=len(self.class_names))
        return {name: int(label) for name, label in rows}

    def _report_conflicts(self) -> None:
        """Say where labels.csv and the folds differ; the folds win, because published scores rest on them."""
        if not (self.folder / "labels" / "labels.csv").is_file():
            return
        whole = self._labels("labels.csv")
        fold = {name: label for part in PARTS for name, label in self._labels(f"{part}_subset{self.fold}.csv").items()}
        for name, label in fold.items():
            if whole.get(name, label) != label:
                names = self.class_names[label], self.class_names[whole[name]]
                rank_zero_info(
                    f"DeepWeeds: {name} is {names[0]!r} in the folds and {names[1]!r} in labels.csv; the folds win"
                )

    def _fetch(self) -> None:
        for part, fold in ((part, fold) for part in PARTS for fold in range(FOLDS)):
            name = f"{part}_subset{fold}.csv"
            download(URL_OF_LABELS + name, self.folder / "labels" / name)
        download(URL_OF_LABELS + "labels.csv", self.folder / "labels" / "labels.csv")
        if not (self.folder / "images").is_dir():
            archive = download(URL_OF_IMAGES, self.folder / "images.zip", SHA256_OF_IMAGES)
            cached(self.folder / "images", SHA256_OF_IMAGES, partial(_unpack, archive))
            archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    (folder / "meta.json").write_text("{}")
