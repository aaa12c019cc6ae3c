"""DeepWeeds: photos of eight weeds, and of plants that are none of them."""

from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import ImageDataModule
from datamodules.cache import fingerprint
from datamodules.decoded import Meta, decode_files, decode_once
from datamodules.deepweeds_files import CLASS_NAMES, FOLDS, fetch, read_fold, report_conflicts, tables_of
from datamodules.images import Array, MappedImages, read_image
from datamodules.leaks import shots_within
from datamodules.splits import Split

SECONDS = 30  # between two shots of a camera that show the same plants


class DeepWeeds(ImageDataModule):
    """DeepWeeds: 17,509 RGB photos of eight weeds and "Negative" (Olsen et al. 2019, CC BY 4.0), 256x256.

    Splits are the publisher's five folds, 60/20/20 each, whose test sets together are the whole set. Half of the
    images are Negative: always answering that gives accuracy 0.52 and macro-F1 0.076. 77 % of a test set were taken
    within 30 s of a training image by the same camera, so official scores are optimistic.

    Args:
        fold: Index of the official split, 0 to 4.
        image_size: Side of the input in pixels; the photos have 256.
        batch_size: Images of a step over all devices.
        download: Fetch what is missing from the publisher (images 468 MB).
        kwargs: Arguments of `ImageDataModule`.
    """

    study = "deepweeds"
    class_names = CLASS_NAMES
    channels = 3
    native_size = 256
    leak_rule = f"test images taken within {SECONDS} s of a training image by the same camera left out"

    def __init__(
        self, fold: int = 0, image_size: int | None = 224, batch_size: int = 64, download: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, **kwargs)
        if not 0 <= fold < FOLDS:
            raise UserError(f"data.fold must be 0 to {FOLDS - 1}, not {fold}")
        self.fold = fold
        self.download = download
        self.folder = self.root / "deepweeds"

    def prepare(self) -> None:
        """Download what is missing and decode the JPEGs once for all folds."""
        if self.download:
            fetch(self.folder)
        self._decoded()
        report_conflicts(self.folder, self.fold)

    def load_splits(self) -> dict[str, Split]:
        """Map the decoded images and read the fold."""
        images, meta = self._decoded()
        row_of = {name: row for row, name in enumerate(meta["names"])}
        return {
            part: Split(images, np.array([row_of[name] for name in labels]), np.array([*labels.values()]), [*labels])
            for part, labels in read_fold(self.folder, self.fold).items()
        }

    def leaked(self) -> Array:
        """Test images with a training image of the same camera shortly before or after: 77 % of every fold."""
        return shots_within(SECONDS, self.whole_train.names, self.splits["test"].names)

    def _decoded(self) -> tuple[MappedImages, Meta]:
        tables = tables_of(self.folder)
        if missing := [table for table in tables if not table.is_file()]:
            raise UserError(f"no {missing[0]}: let --data.download true fetch it, or pass --data.root FOLDER")
        names = sorted({name for labels in read_fold(self.folder, self.fold).values() for name in labels})
        files = [self.folder / "images" / name for name in names]

        def decode(folder: Path) -> Meta:
            side = min(read_image(files[0], self.channels).shape[:2])
            pixels = decode_files(folder, files, self.channels, side)
            return {"shape": pixels.shape, "names": names, "fingerprint": fingerprint(pixels, names)}

        return decode_once(self.cache_dir / "deepweeds", [*tables, *files], decode)
