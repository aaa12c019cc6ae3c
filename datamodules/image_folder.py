"""Images of the user's own, in folders or listed by a table."""

from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import ImageDataModule
from datamodules.cache import fingerprint
from datamodules.decoded import Meta, decode_files, decode_once
from datamodules.image_lists import Listed, list_folders, list_table
from datamodules.images import MappedImages
from datamodules.splits import PARTS, Split, stratified_split


class ImageFolder(ImageDataModule):
    """Images of your own: the same arms on other data by changing only `data:`.

    Three layouts are known: `root/{train,val,test}/<class>/*.jpg`; `root/<class>/*.jpg`, split 70/15/15 by
    `split_seed`, stratified by class; and a table with the columns image, label and (optionally) split.

    Args:
        root: Path of the folder.
        csv: Path of a table with the columns `image` (path below root), `label` (a class name) and perhaps `split`
            (train, val or test); None lists the images by their folders.
        name: Name of the study in run folders; None takes the folder's name.
        image_size: Side of the input in pixels.
        decode_size: Side of the decoded copy that augmentation starts from; None is 8/7 of `image_size`.
        channels: 1 for grey, 3 for colour.
        class_names: Names in label order; None takes the names found, sorted.
        kwargs: Arguments of `ImageDataModule`.
    """

    def __init__(
        self,
        root: str,
        csv: str | None = None,
        name: str | None = None,
        image_size: int = 224,
        decode_size: int | None = None,
        channels: int = 3,
        class_names: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root=root, image_size=image_size, **kwargs)
        self.channels = channels
        self.native_size = decode_size or round(image_size * 8 / 7)
        self.study = name or self.root.resolve().name  # type: ignore[misc]
        self.listed: list[Listed] = []
        if class_names and self.predict_folder:
            self.class_names = class_names  # the images of training are not needed
            return
        self.listed = list_table(Path(csv)) if csv else list_folders(self.root)
        found = sorted({image.label for image in self.listed})
        self.class_names = class_names or found
        if unknown := sorted(set(found) - set(self.class_names)):
            raise UserError(f"{self.root} has the class {unknown[0]!r}, which data.class_names lacks")

    def prepare(self) -> None:
        """Decode all images once."""
        self._decoded()

    def load_splits(self) -> dict[str, Split]:
        """Map the decoded images."""
        images, _ = self._decoded()
        labels = np.array([self.class_names.index(image.label) for image in self.listed])
        parts = [np.array([row for row, image in enumerate(self.listed) if image.part == part], int) for part in PARTS]
        if not any(len(rows) for rows in parts):
            eval_size = round(0.15 * len(labels))
            parts = stratified_split(labels, [len(labels) - 2 * eval_size, eval_size, eval_size], self.split_seed)
        if empty := [part for part, rows in zip(PARTS, parts, strict=True) if not len(rows)]:
            raise UserError(f"{self.root} has no images for the split {empty[0]}")
        whole = Split(images, np.arange(len(labels)), labels, [image.name for image in self.listed])
        return {part: whole.part(rows) for part, rows in zip(PARTS, parts, strict=True)}

    def _decoded(self) -> tuple[MappedImages, Meta]:
        files = [self.root / image.name for image in self.listed]

        def decode(folder: Path) -> Meta:
            pixels = decode_files(folder, files, self.channels, self.native_size)
            return {"shape": pixels.shape, "fingerprint": fingerprint(pixels)}

        cache = self.cache_dir / f"{self.root.resolve().name}-{self.native_size}px-{self.channels}"
        return decode_once(cache, files, decode)
