from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import AugmentWith, ImageDataModule
from datamodules.images import Array, MappedImages, Split, fingerprint
from datamodules.splits import stratified_split

HEADER = {1: 8, 3: 16}  # bytes before the data in an IDX file of that many dimensions
TRAIN_SHARE = 55 / 60  # 55,000 of 60,000


class FashionMNIST(ImageDataModule):
    """Fashion-MNIST: 28x28 grey images of clothes, 10 balanced classes (Xiao et al. 2017, MIT licence).

    The 60,000 training images are split 55,000/5,000 into train and val, stratified by class; the 10,000 of the
    publisher's t10k files are the test. The IDX files are downloaded if absent and mapped as they are.
    """

    study = "fashion"
    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    channels, native_size = 1, 28

    def __init__(self, batch_size: int = 128, augment_with: AugmentWith = "batch", **kwargs: Any) -> None:
        super().__init__(batch_size=batch_size, augment_with=augment_with, **kwargs)
        self.folder = self.root / "FashionMNIST" / "raw"

    def prepare(self) -> None:
        """Download the four IDX files through torchvision, if they are absent."""
        files = [
            self.folder / f"{part}-{kind}"
            for part in ("train", "t10k")
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]
        if all(file.is_file() for file in files):
            return
        from torchvision.datasets import FashionMNIST as Publisher

        try:
            Publisher(self.root, download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"no Fashion-MNIST in {self.folder}, and it cannot be downloaded ({error}): "
                "put the four IDX files there, or pass --data.root FOLDER"
            ) from error

    def load_splits(self) -> dict[str, Split]:
        """Map the IDX files."""
        train, test = self._part("train"), self._part("t10k")
        size = round(len(train) * TRAIN_SHARE)
        parts = stratified_split(train.labels, [size, len(train) - size], self.split_seed)
        names = ("train", "val")
        splits = {
            name: Split(train.images, rows, train.labels[rows], [f"train/{row}" for row in rows])
            for name, rows in zip(names, parts, strict=True)
        }
        return {**splits, "test": test}

    @property
    def images_fingerprint(self) -> str:
        """Of both files (30 ms for the whole set)."""
        return fingerprint(self.splits["train"].images.array, self.splits["test"].images.array)

    def _part(self, part: str) -> Split:
        path = self.folder / f"{part}-images-idx3-ubyte"
        count, height, width = _read_shape(path, 3)
        labels_path = self.folder / f"{part}-labels-idx1-ubyte"
        (labels_count,) = _read_shape(labels_path, 1)
        if labels_count != count:
            raise UserError(f"{labels_path} has {labels_count} labels for {count} images: fetch both again")
        labels: Array = np.fromfile(labels_path, np.uint8, offset=HEADER[1]).astype(np.int64)
        images = MappedImages(path, (count, height, width, 1), HEADER[3])
        return Split(images, np.arange(count), labels, [f"{part}/{row}" for row in range(count)])


def _read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The sizes in the header of an IDX file, checked against the size of the file."""
    with path.open("rb") as file:
        raw = file.read(HEADER[dimensions])
    header = np.frombuffer(raw[: len(raw) // 4 * 4], ">u4")
    shape = tuple(int(size) for size in header[1:])
    complete = len(header) == dimensions + 1 and path.stat().st_size == HEADER[dimensions] + np.prod(shape)
    if not complete or header[0] != 0x800 + dimensions:
        raise UserError(f"{path} is not a complete IDX file: remove it, and it will be downloaded again")
    return shape
