"""Decoded images in a file that all processes of a machine map, so that they are in memory once."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from basics.errors import UserError

Array = NDArray[Any]


@dataclass
class MappedImages:
    """uint8 images `[N, H, W, C]` in a file, mapped when first used.

    The map is left behind when the object travels to another process, so that a worker maps the file itself instead
    of getting a copy of its contents.
    """

    path: Path
    shape: tuple[int, int, int, int]
    offset: int = 0
    _array: Array | None = field(default=None, repr=False, compare=False)

    @property
    def array(self) -> Array:
        """The images `[N, H, W, C]`, read-only."""
        if self._array is None:
            self._array = np.memmap(self.path, np.uint8, "r", self.offset, self.shape)
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}


@dataclass
class Split:
    """A part of a data set: rows of `images`, their labels and names."""

    images: MappedImages
    rows: Array
    labels: Array
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)


def cached(folder: Path, key: str, build: Callable[[Path], None]) -> dict[str, Any]:
    """Build a cache folder once, and give its `meta.json`.

    `build` writes into a temporary folder beside `folder`, which takes its place only when it is complete: nothing
    half-written is ever used. Of two runs that want to build at once, the later one waits and uses the result.

    Args:
        folder: Where the cache is to be; a cache there with another key is replaced.
        key: Changes when the source does, for example its size and time of change.
        build: Writes the files of the cache, `meta.json` among them.

    Raises:
        UserError: The parent folder cannot be written.
    """
    meta = folder / "meta.json"

    def current() -> dict[str, Any] | None:
        try:
            contents: dict[str, Any] = json.loads(meta.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return contents if contents.get("key") == key else None

    contents = current()
    if contents is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        except OSError as error:
            raise UserError(f"cannot write the cache {folder} ({error.strerror}): pass --data.cache_dir") from error
        try:
            with FileLock(folder.parent / f".{folder.name}.lock"):
                contents = current()
                if contents is None:
                    work.chmod(0o755)
                    build(work)
                    built = work / "meta.json"
                    contents = {**json.loads(built.read_text()), "key": key}
                    built.write_text(json.dumps(contents))
                    shutil.rmtree(folder, ignore_errors=True)
                    work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return contents


def source_key(paths: Iterable[Path]) -> str:
    """Changes with the name, the size or the time of change of any of the files that a cache is made from.

    Raises:
        UserError: One of them is missing.
    """
    lines = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise UserError(
                f"no file {path}: the data set is incomplete, fetch it again or take the file off its list"
            ) from None
        lines.append(f"{path}:{stat.st_size}:{stat.st_mtime_ns}")
    return fingerprint(lines)


def fingerprint(*parts: Array | Sequence[str]) -> str:
    """SHA-256 over arrays and names, 16 hexadecimal digits of it."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update("\n".join(part).encode())
    return digest.hexdigest()[:16]


def read_image(path: Path, channels: int, size: int | None = None) -> Array:
    """Decode one image file.

    Args:
        path: JPEG, PNG or whatever else OpenCV reads.
        channels: 1 for grey, 3 for RGB; the image is converted.
        size: Shrink or enlarge to this many pixels on the shorter side and crop the centre to a square; None keeps
            the image as it is.

    Returns:
        The image as uint8 `[H, W, C]`.

    Raises:
        UserError: There is no such file, or it is not an image.
    """
    import cv2

    if not path.is_file():
        raise UserError(f"no image {path}: the list of images names it")
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR) if len(encoded) else None
    if image is None:
        raise UserError(f"{path} is not a readable image: replace it or take it off the list")
    if channels == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if size is not None and image.shape[:2] != (size, size):
        height, width = image.shape[:2]
        scale = size / min(height, width)
        image = resize(image, max(size, round(height * scale)), max(size, round(width * scale)))
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        image = image[top : top + size, left : left + size]
    return np.asarray(image).reshape(*image.shape[:2], channels)


def resize(image: Array, height: int, width: int) -> Array:
    """Resize `[H, W, C]` or `[H, W]`; shrinking averages over the area, which does not alias."""
    import cv2

    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))


def decode_files(target: Path, files: Sequence[Path], channels: int, size: int) -> Array:
    """Decode image files on all cores into `target` and give the map `[N, size, size, channels]`."""
    from lightning.fabric.utilities.rank_zero import rank_zero_info

    rank_zero_info(f"decoding {len(files):,} images once into {target.parent.parent}")
    pixels = np.memmap(target, np.uint8, "w+", shape=(len(files), size, size, channels))

    def decode(position: int) -> None:
        pixels[position] = read_image(files[position], channels, size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(files))):
            pass
    pixels.flush()
    return pixels
