"""Clothes, in the files of Fashion-MNIST."""

import struct
from pathlib import Path

import numpy as np

from basics.files import new_folder
from datamodules.fashion_mnist import CLOTHES
from datamodules.sample_data.drawing import OVERSAMPLING, Picture, clouds, draw_labels, expose, paint, random_pose
from datamodules.sample_data.strokes import Points, Stroke, arc, corners, mirrored


def _symmetric(right_half: Points) -> Points:
    """Close an outline with its own mirror image."""
    return np.concatenate((right_half, mirrored(right_half)[::-1]))


def _top(rng: np.random.Generator, sleeve: float, hem: float) -> Points:
    """Outline of a garment with sleeves; a sleeve of 1 reaches the hip."""
    shoulder = np.array((0.69, 0.13))
    slope = np.array((0.17, 0.70)) + rng.normal(0, 0.025, 2)
    cuff = shoulder + (0.07, 0.02) + slope * sleeve
    inner_cuff = cuff + np.array((-0.11, 0.04))
    side = 0.69 + rng.normal(0, 0.025)
    return _symmetric(np.vstack(((0.57, 0.07), shoulder, cuff, inner_cuff, (side, 0.34), (side, hem))))


def _clothes(rng: np.random.Generator, kind: str, shade: float, trim: float) -> list[Stroke]:
    """Draw one garment; the four kinds of top overlap in sleeves and length, as the real ones do."""
    neck = Stroke(arc((0.5, 0.05), (0.08, rng.uniform(0.04, 0.13)), 0, 180), 0)
    collar = Stroke(corners((0.58, 0.08), (0.5, rng.uniform(0.15, 0.25)), (0.42, 0.08)), trim, 0.035)
    buttons = Stroke(corners((0.5, 0.18), (0.5, 0.77)), trim, 0.03)
    flare = rng.uniform(0.0, 0.12)
    heel = rng.uniform(0.0, 0.08)
    match kind:
        case "T-shirt/top":
            return [Stroke(_top(rng, rng.uniform(0.05, 0.45), rng.uniform(0.78, 0.92)), shade), neck]
        case "Pullover":
            cuffs = [Stroke(corners((0.29, 0.84), (0.71, 0.84)), trim, 0.04)][: rng.integers(2)]
            return [Stroke(_top(rng, rng.uniform(0.75, 1.0), rng.uniform(0.80, 0.9)), shade), neck, *cuffs]
        case "Coat":
            return [Stroke(_top(rng, rng.uniform(0.8, 1.05), rng.uniform(0.88, 0.97)), shade), collar, buttons]
        case "Shirt":
            details = [neck, collar, buttons][rng.integers(2) : rng.integers(2, 4)]
            return [Stroke(_top(rng, rng.uniform(0.2, 1.0), rng.uniform(0.80, 0.93)), shade), *details]
        case "Dress":
            half = corners((0.56, 0.04), (0.62, 0.05), (0.63, 0.24), (0.58, 0.42), (0.62 + flare, 0.96))
            return [Stroke(_symmetric(half), shade), neck]
        case "Trouser":
            half = corners((0.66, 0.05), (0.68 + flare / 2, 0.95), (0.55 + flare / 2, 0.95), (0.5, 0.36))
            return [Stroke(_symmetric(half), shade), Stroke(corners((0.35, 0.08), (0.65, 0.08)), trim, 0.03)]
        case "Bag":
            handle = arc((0.5, 0.42), (rng.uniform(0.15, 0.28), rng.uniform(0.15, 0.36)), 180, 360)
            half = corners((0.80, 0.40), (0.82 + flare / 2, 0.88 - heel))
            flap = Stroke(corners((0.22, 0.42), (0.5, 0.5 + flare), (0.78, 0.42)), trim, 0.03)
            return [Stroke(handle, shade, 0.045), Stroke(_symmetric(half), shade), flap]
        case "Sandal":
            sole = corners((0.05, 0.77), (0.45, 0.75), (0.72, 0.62), (0.95, 0.62 - heel), (0.95, 0.86), (0.86, 0.86))
            under = corners((0.80, 0.72), (0.5, 0.84), (0.06, 0.85))
            toes = rng.uniform(0.22, 0.36)
            ankle = rng.uniform(0.72, 0.82)
            straps = [
                Stroke(arc((toes, 0.77), (0.13, rng.uniform(0.08, 0.16)), 180, 360), shade, 0.05),
                Stroke(arc((ankle, 0.64), (0.15, rng.uniform(0.12, 0.26)), 160, 370), shade, 0.045),
                Stroke(corners((toes, 0.66), (0.5, 0.62), (ankle - 0.14, 0.56)), shade, 0.04),
            ][: rng.integers(1, 4)]
            return [*straps, Stroke(np.vstack((sole, under)), shade)]
        case "Sneaker":
            back = corners((0.60, 0.44), (0.88, 0.42), (0.94, 0.52), (0.95, 0.80))
            toe = corners((0.05, 0.80), (0.05, 0.72), (0.16, 0.63), (0.42, 0.56))
            laces = [Stroke(corners((x, 0.50), (x + 0.05, 0.60)), trim, 0.03) for x in (0.45, 0.52, 0.59)]
            rubber = Stroke(corners((0.05, 0.79), (0.95, 0.79)), trim, 0.06)
            return [Stroke(np.vstack((back, toe)), shade), *laces, rubber]
        case _:  # Ankle boot
            shaft = corners((0.48, 0.40), (0.50, 0.12 + flare), (0.84, 0.12 + flare), (0.86, 0.60), (0.90, 0.86))
            foot = corners((0.72, 0.86), (0.68, 0.86 - heel), (0.08, 0.86), (0.08, 0.74), (0.22, 0.62))
            zipper = Stroke(corners((0.66, 0.17 + flare), (0.66, 0.45)), trim, 0.03)
            return [Stroke(np.vstack((shaft, foot)), shade), zipper]


def _clothes_image(rng: np.random.Generator, kind: str) -> Picture:
    size = 28 * OVERSAMPLING
    canvas = np.zeros((size, size), np.uint8)
    shade = rng.uniform(90, 240)
    strokes = _clothes(rng, kind, shade, shade * rng.uniform(0.4, 0.85))
    paint(canvas, strokes, random_pose(rng, 5, (0.85, 1.08), 0.03, 0.1))
    stripes = np.sin(np.arange(size) * rng.uniform(0.2, 0.9))[:, None] if rng.random() < 0.3 else 0.0
    texture = 0.85 + 0.15 * stripes + rng.uniform(0.05, 0.25) * clouds(rng, size, 8)
    return expose(rng, (canvas * texture.clip(0.3, 1)).astype(np.uint8), 0.3, 0.3, 8, only_drawn=True)


def write_fashion_mnist(root: Path, train: int = 3000, test: int = 501, seed: int = 0) -> None:
    """Write the four IDX files of Fashion-MNIST: 28 x 28 grey, ten balanced classes.

    Args:
        root: Folder that receives FashionMNIST/raw.
        train: Number of pictures in the train files.
        test: Number of pictures in the t10k files.
        seed: Seed of all pictures.
    """
    rng = np.random.default_rng((seed, 0))
    with new_folder(root / "FashionMNIST") as folder:
        (folder / "raw").mkdir()
        for part, count in (("train", train), ("t10k", test)):
            labels = draw_labels(rng, count, [1] * len(CLOTHES))
            images = np.stack([_clothes_image(rng, CLOTHES[label]) for label in labels])
            _write_idx(folder / "raw" / f"{part}-images-idx3-ubyte", images)
            _write_idx(folder / "raw" / f"{part}-labels-idx1-ubyte", np.array(labels, np.uint8))


def _write_idx(path: Path, values: Picture) -> None:
    unsigned_bytes = 0x0800
    header = struct.pack(f">{1 + values.ndim}i", unsigned_bytes + values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())
