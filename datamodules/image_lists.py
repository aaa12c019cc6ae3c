"""Lists of image files: folders of classes, tables, and folders of images to be classified."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from basics.errors import UserError
from datamodules.images import MappedImages, read_image
from datamodules.splits import PARTS, Split
from datamodules.tables import has_column, read_table

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


class Listed(NamedTuple):
    """An image of a list: its path below the root, its class, and its split, which is empty if the list has none."""

    name: str
    label: str
    part: str = ""


def list_table(table: Path) -> list[Listed]:
    """List the images of a table with the columns image, label and, optionally, split.

    Raises:
        UserError: A column is missing, or a split is not train, val or test.
    """
    rows = read_table(table, ("image", "label"))
    if not has_column(table, "split"):
        return [Listed(image, label) for image, label in rows]
    parts = [part for (part,) in read_table(table, ("split",))]
    if wrong := sorted(set(parts) - set(PARTS)):
        raise UserError(f"{table}: split {wrong[0]!r}; expected train, val or test")
    return [Listed(image, label, part) for (image, label), part in zip(rows, parts, strict=True)]


def list_folders(root: Path) -> list[Listed]:
    """List the images of `root/{train,val,test}/<class>` if there is such a folder, else those of `root/<class>`.

    Raises:
        UserError: There are no images.
    """
    split = (root / "train").is_dir()
    pattern = "*/*/*" if split else "*/*"
    files = sorted(path.relative_to(root) for path in root.glob(pattern) if path.suffix.lower() in IMAGE_SUFFIXES)
    files = [file for file in files if not file.parts[0].startswith(".") and (not split or file.parts[0] in PARTS)]
    if not files:
        raise UserError(f"no images in {root}: expected train/<class>/*.jpg or <class>/*.jpg; or pass --data.csv")
    return [Listed(str(file), file.parts[-2], file.parts[0] if split else "") for file in files]


def read_folder(folder: Path, channels: int, size: int) -> Split:
    """Decode all images of a folder and its subfolders into memory; their labels are 0.

    Raises:
        UserError: There are no images.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"no images in {folder}: data.predict_folder takes a folder of JPEG or PNG files")
    pixels = np.stack([read_image(path, channels, size) for path in files])
    images = MappedImages(folder, pixels.shape, _array=pixels)
    names = [str(path.relative_to(folder)) for path in files]
    return Split(images, np.arange(len(files)), np.zeros(len(files), np.int64), names)
