"""Files of DeepWeeds: the tables of its five folds, and how tables and photos are fetched."""

import zipfile
from functools import partial
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from datamodules.cache import cached
from datamodules.download import download
from datamodules.splits import PARTS
from datamodules.tables import read_table

CLASS_NAMES = (
    "Chinee apple",
    "Lantana",
    "Parkinsonia",
    "Parthenium",
    "Prickly acacia",
    "Rubber vine",
    "Siam weed",
    "Snake weed",
    "Negative",
)
FOLDS = 5
URL_OF_LABELS = "https://raw.githubusercontent.com/AlexOlsen/DeepWeeds/master/labels/"
# images.zip, 491,516,047 bytes; `confirm=t` answers Google Drive's question about large files.
URL_OF_IMAGES = (
    "https://drive.usercontent.google.com/download?id=1xnK3B6K6KekDI55vwJ0vnc2IGoDga9cj&export=download&confirm=t"
)
SHA256_OF_IMAGES = "0961f63c01b997bfab1559ad09e99c0e8130617fd96a8b92fdc09940e01b0ce8"


def tables_of(folder: Path) -> list[Path]:
    """Paths of the tables of all folds."""
    return [folder / "labels" / f"{part}_subset{fold}.csv" for fold in range(FOLDS) for part in PARTS]


def read_fold(folder: Path, fold: int) -> dict[str, dict[str, int]]:
    """Labels by name of the photo, for train, val and test of a fold; every fold has all photos.

    Raises:
        UserError: A table is malformed.
    """
    return {part: _read_labels(folder / "labels" / f"{part}_subset{fold}.csv") for part in PARTS}


def report_conflicts(folder: Path, fold: int) -> None:
    """Say where labels.csv and a fold differ; the fold wins, because published scores rest on it."""
    table = folder / "labels" / "labels.csv"
    if not table.is_file():
        return
    whole = _read_labels(table)
    for labels in read_fold(folder, fold).values():
        for name, label in labels.items():
            if whole.get(name, label) != label:
                rank_zero_info(
                    f"DeepWeeds: {name} is {CLASS_NAMES[label]!r} in the folds and {CLASS_NAMES[whole[name]]!r} "
                    "in labels.csv; the folds win"
                )


def fetch(folder: Path) -> None:
    """Download the tables and the images that are missing, and unpack the images.

    Raises:
        UserError: A download failed.
    """
    for table in [*tables_of(folder), folder / "labels" / "labels.csv"]:
        download(URL_OF_LABELS + table.name, table)
    if not (folder / "images").is_dir():
        archive = download(URL_OF_IMAGES, folder / "images.zip", SHA256_OF_IMAGES)
        cached(folder / "images", SHA256_OF_IMAGES, partial(_unpack, archive))
        archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    (folder / "meta.json").write_text("{}")


def _read_labels(table: Path) -> dict[str, int]:
    rows = read_table(table, ("Filename", "Label"), classes=len(CLASS_NAMES))
    return {name: int(label) for name, label in rows}
