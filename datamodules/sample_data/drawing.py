"""Drawing of all sets: how strokes are moved, painted and exposed, and class labels."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.sample_data.strokes import Points, Stroke

Picture = NDArray[np.uint8]

OVERSAMPLING = 2  # pictures are drawn this much larger and shrunk, which keeps thin strokes smooth
UNMOVED = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the pose that changes nothing


def random_pose(
    rng: np.random.Generator, turn: float, zoom: tuple[float, float], shift: float, skew: float = 0.08
) -> Points:
    """Draw an affine map `[2, 3]` about the middle of the picture; `skew` lets width and height differ."""
    angle = np.radians(rng.uniform(-turn, turn))
    scale = rng.uniform(*zoom) * rng.uniform(1 - skew, 1 + skew, 2)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    offset = 0.5 - linear @ (0.5, 0.5) + rng.uniform(-shift, shift, 2)
    return np.column_stack((linear, offset))


def paint(canvas: Picture, strokes: Iterable[Stroke], pose: Points = UNMOVED) -> None:
    """Draw the strokes in order, each over the ones before."""
    fraction_bits = 4  # cv2 takes integers, here in sixteenths of a pixel
    linear, offset = np.split(pose * canvas.shape[0] * 2**fraction_bits, [2], axis=1)
    zoomed_size = canvas.shape[0] * abs(np.linalg.det(pose[:, :2])) ** 0.5
    for points, shade, width in strokes:
        outline = [np.rint(points @ linear.T + offset.T).astype(np.int32)]
        colour = shade if isinstance(shade, tuple) else (shade,)
        if width:
            thickness = max(1, round(width * zoomed_size))
            cv2.polylines(canvas, outline, False, colour, thickness, cv2.LINE_AA, fraction_bits)
        else:
            cv2.fillPoly(canvas, outline, colour, cv2.LINE_AA, fraction_bits)


def clouds(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Draw smooth random patches `[size, size]` around zero; more cells make them smaller."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def expose(
    rng: np.random.Generator, canvas: Picture, light: float, blur: float, noise: float, only_drawn: bool = False
) -> Picture:
    """Shrink a canvas to its final size under uneven light, out of focus and with sensor noise, each at random."""
    size = canvas.shape[0] // OVERSAMPLING
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    drawn = image > 0
    image = cv2.GaussianBlur(image, (0, 0), 0.1 + blur * rng.random())
    across, down = rng.uniform(-light, light, 2)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    lit = 1 + across * ramp[None, :] + down * ramp[:, None]
    image *= lit.reshape(size, size, *[1] * (image.ndim - 2))
    image += rng.standard_normal(image.shape, dtype=np.float32) * noise * rng.uniform(0.4, 1)
    if only_drawn:
        image *= drawn
    result: Picture = np.clip(image, 0, 255).astype(np.uint8)
    return result


def draw_labels(rng: np.random.Generator, count: int, shares: Sequence[float], least: int = 1) -> list[int]:
    """Draw class numbers in random order, in the given shares but no class fewer than `least` times."""
    counts = np.diff(np.rint(np.cumsum(shares) / np.sum(shares) * count).astype(int), prepend=0)
    missing = np.maximum(least - counts, 0)
    counts += missing
    counts[np.argmax(counts)] -= missing.sum()
    if counts.min() < least:
        raise ValueError(f"{count} pictures are too few for {len(counts)} classes with {least} or more each")
    return [int(label) for label in rng.permutation(np.repeat(np.arange(len(counts)), counts))]
