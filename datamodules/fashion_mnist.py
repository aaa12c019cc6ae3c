"""Fashion-MNIST: grey images of clothes."""

from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import AugmentWith, ImageDataModule
from datamodules.cache import fingerprint
from datamodules.idx import HEADER, read_shape
from datamodules.images import Array, MappedImages
from datamodules.splits import Split, stratified_split

CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
TRAIN_FRACTION = 55 / 60  # 55,000 of 60,000


class FashionMNIST(ImageDataModule):
    """Fashion-MNIST: 28x28 grey images of clothes, 10 balanced classes (Xiao et al. 2017, MIT licence).

    The 60,000 training images are split 55,000/5,000 into train and val, stratified by class; the 10,000 of the
    publisher's t10k files are the test. The IDX files are downloaded if absent and mapped as they are.
    """

    study = "fashion"
    class_names = CLOTHES
    channels = 1
    native_size = 28

    def __init__(self, batch_size: int = 128, augment_with: AugmentWith = "batch", **kwargs: Any) -> None:
        super().__init__(batch_size=batch_size, augment_with=augment_with, **kwargs)
        self.folder = self.root / "FashionMNIST" / "raw"

    def prepare(self) -> None:
        """Download the four IDX files through torchvision, if they are absent."""
        if all((self.folder / f"{part}-{kind}").is_file() for part in ("train", "t10k") for kind in KINDS):
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
        whole = self._part("train")
        size = round(len(whole) * TRAIN_FRACTION)
        train, val = stratified_split(whole.labels, [size, len(whole) - size], self.split_seed)
        return {"train": whole.part(train), "val": whole.part(val), "test": self._part("t10k")}

    @property
    def images_fingerprint(self) -> str:
        """Hash of the images in both files (30 ms for the whole set)."""
        return fingerprint(self.splits["train"].images.array, self.splits["test"].images.array)

    def _part(self, part: str) -> Split:
        path, labels_path = (self.folder / f"{part}-{kind}" for kind in KINDS)
        count, height, width = read_shape(path, 3)
        (labels_count,) = read_shape(labels_path, 1)
        if labels_count != count:
            raise UserError(f"{labels_path} has {labels_count} labels for {count} images: fetch both again")
        labels: Array = np.fromfile(labels_path, np.uint8, offset=HEADER[1]).astype(np.int64)
        images = MappedImages(path, (count, height, width, 1), HEADER[3])
        return Split(images, np.arange(count), labels, [f"{part}/{row}" for row in range(count)])
