"""Images of a data set, decoded once a machine into a cache folder that every process maps."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.cache import cached, source_key
from datamodules.images import Array, MappedImages, read_image

Meta = dict[str, Any]  # shape and fingerprint of the images, and whatever else a data set keeps about them
IMAGES = "images.bin"


def decode_once(folder: Path, sources: Iterable[Path], decode: Callable[[Path], Meta]) -> tuple[MappedImages, Meta]:
    """Decode images into a cache folder, unless it has them already, and map them.

    Args:
        folder: Path of the cache folder.
        sources: Files that the images come from; when one of them changes, all are decoded again.
        decode: Function that writes `images.bin` into a folder, perhaps beside other files, and returns the meta.

    Raises:
        UserError: A source is missing, or the parent folder cannot be written.
    """

    def build(work: Path) -> None:
        (work / "meta.json").write_text(json.dumps(decode(work)))

    meta = cached(folder, source_key(sources), build)
    return MappedImages(folder / IMAGES, tuple(meta["shape"]), fingerprint=str(meta["fingerprint"])), meta


def decode_files(folder: Path, files: Sequence[Path], channels: int, size: int) -> Array:
    """Decode image files on all cores into `images.bin` and give the map `[N, size, size, channels]`."""
    rank_zero_info(f"decoding {len(files):,} images once into {folder.parent}")
    pixels = np.memmap(folder / IMAGES, np.uint8, "w+", shape=(len(files), size, size, channels))

    def decode(index: int) -> None:
        pixels[index] = read_image(files[index], channels, size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, range(len(files))))  # raises the error of a worker
    pixels.flush()
    return pixels
