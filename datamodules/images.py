"""Images in a file that all processes of a machine map, so that they are in memory once; reading and resizing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basics.errors import UserError

Array = NDArray[Any]


@dataclass
class MappedImages:
    """uint8 images `[N, H, W, C]` in a file, mapped when first used.

    The map stays behind when the object travels to another process: a worker maps the file itself instead of getting
    a copy of its contents.

    Args:
        path: Path of the file.
        shape: Number, height, width and channels of the images.
        offset: Bytes of the file before the first image.
        fingerprint: Hash of the pixels, taken when they were decoded; empty if nobody took it.
    """

    path: Path
    shape: tuple[int, int, int, int]
    offset: int = 0
    fingerprint: str = ""
    _array: Array | None = field(default=None, repr=False, compare=False)

    @property
    def array(self) -> Array:
        """The images `[N, H, W, C]`, read-only."""
        if self._array is None:
            self._array = np.memmap(self.path, np.uint8, "r", self.offset, self.shape)
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}


def read_image(path: Path, channels: int, size: int | None = None) -> Array:
    """Decode one image file.

    Args:
        path: Path of a JPEG or PNG file, or of any other that OpenCV reads.
        channels: 1 for grey, 3 for RGB; the image is converted.
        size: Pixels of the shorter side, to which the image is shrunk or enlarged before the centre is cropped to a
            square; None keeps the image as it is.

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
        top = (image.shape[0] - size) // 2
        left = (image.shape[1] - size) // 2
        image = image[top : top + size, left : left + size]
    return np.asarray(image).reshape(*image.shape[:2], channels)


def resize(image: Array, height: int, width: int) -> Array:
    """Resize `[H, W, C]` or `[H, W]`; shrinking averages over the area, which does not alias."""
    import cv2

    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))
