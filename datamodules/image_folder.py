import json
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.base import IMAGE_SUFFIXES, PARTS, ImageDataModule
from datamodules.images import MappedImages, Split, cached, decode_files, fingerprint, source_key
from datamodules.splits import stratified_split
from datamodules.tables import has_column, read_table


class ImageFolder(ImageDataModule):
    """A reader's own images: the same arms on other data by changing only `data:`.

    Three layouts are known: `root/{train,val,test}/<class>/*.jpg`; `root/<class>/*.jpg`, split 70/15/15 by
    `split_seed`, stratified by class; and a table with the columns image, label and (optionally) split.

    Args:
        root: The folder.
        csv: A table with the columns `image` (path below root), `label` (a class name) and perhaps `split` (train, val
            or test); without it the folders say.
        name: What the study is called in run folders; None takes the folder's name.
        image_size: Side of the input in pixels.
        decode_size: Side of the decoded copy that augmentation starts from; None is 8/7 of `image_size`.
        channels: 1 for grey, 3 for colour.
        class_names: In label order; None takes the names found, sorted.
        kwargs: As in `ImageDataModule`.
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
        self.channels, self.native_size = channels, decode_size or round(image_size * 8 / 7)
        self.study = name or self.root.resolve().name  # type: ignore[misc]
        if class_names and self.predict_folder:
            self.listed, self.class_names = [], class_names  # the images of training are not needed
            return
        self.listed = self._from_table(Path(csv)) if csv else self._from_folders()
        found = sorted({label for _, label, _ in self.listed})
        self.class_names = class_names or found
        if unknown := sorted(set(found) - set(self.class_names)):
            raise UserError(f"{self.root} has the class {unknown[0]!r}, which data.class_names lacks")

    def prepare(self) -> None:
        """Decode all images once."""
        self._meta()

    def load_splits(self) -> dict[str, Split]:
        """Map the decoded images."""
        meta = self._meta()
        self._images_fingerprint = str(meta["fingerprint"])
        images = MappedImages(self._cache / "images.bin", tuple(meta["shape"]))
        names = [name for name, _, _ in self.listed]
        labels = np.array([self.class_names.index(label) for _, label, _ in self.listed])
        parts = [np.array([i for i, (_, _, part) in enumerate(self.listed) if part == wanted], int) for wanted in PARTS]
        if not any(len(part) for part in parts):
            eval_size = round(0.15 * len(labels))
            parts = stratified_split(labels, [len(labels) - 2 * eval_size, eval_size, eval_size], self.split_seed)
        if empty := [part for part, rows in zip(PARTS, parts, strict=True) if not len(rows)]:
            raise UserError(f"{self.root} has no images for the split {empty[0]}")
        return {
            p: Split(images, rows, labels[rows], [names[row] for row in rows])
            for p, rows in zip(PARTS, parts, strict=True)
        }

    @property
    def _cache(self) -> Path:
        return self.cache_dir / f"{self.root.resolve().name}-{self.native_size}px-{self.channels}"

    def _meta(self) -> dict[str, Any]:
        files = [self.root / name for name, _, _ in self.listed]
        return cached(self._cache, source_key(files), lambda target: self._decode(target, files))

    def _decode(self, target: Path, files: list[Path]) -> None:
        pixels = decode_files(target / "images.bin", files, self.channels, self.native_size)
        meta = {"shape": pixels.shape, "fingerprint": fingerprint(pixels)}
        (target / "meta.json").write_text(json.dumps(meta))

    def _from_table(self, table: Path) -> list[tuple[str, str, str]]:
        rows = read_table(table, ("image", "label"))
        if not has_column(table, "split"):
            return [(image, label, "") for image, label in rows]
        parts = [part for (part,) in read_table(table, ("split",))]
        if wrong := sorted(set(parts) - set(PARTS)):
            raise UserError(f"{table}: split {wrong[0]!r}; expected train, val or test")
        return [(image, label, part) for (image, label), part in zip(rows, parts, strict=True)]

    def _from_folders(self) -> list[tuple[str, str, str]]:
        split = (self.root / "train").is_dir()
        pattern = "*/*/*" if split else "*/*"
        files = sorted(
            path.relative_to(self.root) for path in self.root.glob(pattern) if path.suffix.lower() in IMAGE_SUFFIXES
        )
        files = [file for file in files if not file.parts[0].startswith(".") and (not split or file.parts[0] in PARTS)]
        if not files:
            raise UserError(
                f"no images in {self.root}: expected train/<class>/*.jpg or <class>/*.jpg; or pass --data.csv"
            )
        return [(str(file), file.parts[-2], file.parts[0] if split else "") for file in files]
