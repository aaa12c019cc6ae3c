"""Draws small image sets in the official file formats of Fashion-MNIST, FER2013 and DeepWeeds, and a set of shapes.

A picture is a list of strokes in unit coordinates (x to the right, y down, the picture spans 0 to 1). A class says
which strokes it is made of, a random pose moves them, and a random exposure spoils the result with light, blur and
noise. Everything follows from the seed: the same call writes the same bytes.

    python -m datamodules.sample_data --root data/sample
"""

import argparse
import csv
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]
Shade = float | tuple[float, ...]  # one grey level, or red, green, blue; 0 to 255

OVERSAMPLING = 2  # pictures are drawn this much larger and shrunk, which keeps thin strokes smooth


class Stroke(NamedTuple):
    """A line through `points` [N, 2], or the area that they enclose where the width is zero."""

    points: Points
    shade: Shade
    width: float = 0.0


class Plant(NamedTuple):
    """What tells one species from another: its leaves, their arrangement on a stem, and its flowers."""

    leaf_length: float
    leaf_width: float
    leaf_belly: float  # where along the leaf it is widest: 0.5 is an ellipse, less is a spearhead
    leaf_pairs: int
    leaf_angle: float  # degrees between leaf and stem
    leaf_shade: Shade
    flowers: int = 0  # per stem, from the tip down
    flower_size: float = 0.0
    flower_spread: float = 0.0  # the share of the stem that carries flowers
    flower_shade: Shade = 0.0
    petals: int = 5


CLOTHES = "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"

# Shape of a face: brows up at the nose, brows up at the temples, open eyes, smile, open mouth, mouth width, wrinkled nose
EXPRESSIONS = {
    "Angry": (-0.8, 0.6, 0.8, -0.5, 0.1, 0.85, 0.2),
    "Disgust": (-0.6, -0.3, 0.5, -0.6, 0.35, 0.9, 1.0),
    "Fear": (0.8, 0.1, 1.5, -0.3, 0.5, 1.0, 0.0),
    "Happy": (0.1, 0.1, 0.8, 1.0, 0.3, 1.2, 0.1),
    "Sad": (0.7, -0.6, 0.65, -0.9, 0.0, 0.85, 0.0),
    "Surprise": (0.9, 0.9, 1.6, 0.0, 1.0, 0.65, 0.0),
    "Neutral": (0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0),
}
STRENGTH, JITTER = (0.5, 1.2), 0.15  # how much of an expression shows, and how much faces differ anyway
EMOTION_SHARES = 0.139, 0.015, 0.143, 0.251, 0.168, 0.110, 0.174

WEEDS = {
    "Chinee apple": Plant(0.13, 0.10, 0.5, 5, 60, (82, 128, 52), 3, 0.030, 0.8, (170, 175, 70), 0),
    "Lantana": Plant(0.14, 0.08, 0.4, 4, 60, (58, 104, 48), 3, 0.055, 0.35, (228, 120, 110), 7),
    "Parkinsonia": Plant(0.05, 0.014, 0.5, 14, 50, (120, 150, 80), 3, 0.032, 0.7, (236, 205, 60), 5),
    "Parthenium": Plant(0.15, 0.035, 0.6, 6, 45, (122, 160, 96), 6, 0.020, 0.3, (240, 240, 228), 5),
    "Prickly acacia": Plant(0.06, 0.020, 0.5, 11, 80, (74, 122, 66), 3, 0.035, 0.9, (238, 180, 40), 0),
    "Rubber vine": Plant(0.19, 0.08, 0.5, 3, 65, (48, 108, 62), 1, 0.075, 0.1, (214, 188, 222), 5),
    "Siam weed": Plant(0.16, 0.09, 0.3, 3, 55, (104, 148, 70), 4, 0.035, 0.15, (205, 198, 226), 9),
    "Snake weed": Plant(0.11, 0.06, 0.45, 4, 55, (64, 116, 70), 4, 0.026, 0.5, (112, 92, 200), 4),
}
NEGATIVE = "Negative"
OTHER_PLANTS = (
    Plant(0.45, 0.016, 0.3, 4, 14, (128, 146, 70)),  # grass
    Plant(0.40, 0.014, 0.3, 4, 18, (176, 158, 104)),  # dry grass
    Plant(0.10, 0.022, 0.3, 10, 70, (70, 130, 62)),  # fern
    Plant(0.22, 0.035, 0.4, 4, 40, (112, 138, 112)),  # gum leaves
    Plant(0.13, 0.09, 0.5, 4, 60, (84, 124, 58)),  # a shrub without flowers
    Plant(0.12, 0.05, 0.5, 4, 50, (96, 140, 70), 2, 0.032, 0.3, (238, 226, 150), 6),  # a daisy
)
WEED_SHARE, FOLDS = 0.06, 5  # of each of the eight weeds; the rest is negative


def _points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, dtype=np.float64)


def _arc(centre: tuple[float, float], radii: tuple[float, float], start: float = 0, stop: float = 360) -> Points:
    """Points [N, 2] on an ellipse from one angle to another, in degrees clockwise from the right."""
    angles = np.linspace(np.radians(start), np.radians(stop), 24)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1) * radii + centre


def _mirror(points: Points) -> Points:
    return points * (-1, 1) + (1, 0)


def _symmetric(right_half: Points) -> Points:
    """Closes an outline with its own mirror image."""
    return np.concatenate((right_half, _mirror(right_half)[::-1]))


def _pose(rng: np.random.Generator, turn: float, zoom: tuple[float, float], shift: float, skew: float = 0.08) -> Points:
    """A random affine map [2, 3] about the middle of the picture; `skew` lets width and height differ."""
    angle = np.radians(rng.uniform(-turn, turn))
    scale = rng.uniform(*zoom) * rng.uniform(1 - skew, 1 + skew, 2)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    offset = 0.5 - linear @ (0.5, 0.5) + rng.uniform(-shift, shift, 2)
    return np.column_stack((linear, offset))


UNMOVED = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _paint(canvas: Picture, strokes: Iterable[Stroke], pose: Points = UNMOVED) -> None:
    fraction_bits = 4
    linear, offset = pose[:, :2].T * canvas.shape[0] * 2**fraction_bits, pose[:, 2] * canvas.shape[0] * 2**fraction_bits
    zoomed_size = canvas.shape[0] * abs(np.linalg.det(pose[:, :2])) ** 0.5
    for points, shade, width in strokes:
        outline = [np.rint(points @ linear + offset).astype(np.int32)]
        colour = shade if isinstance(shade, tuple) else (shade,)
        if width:
            thickness = max(1, round(width * zoomed_size))
            cv2.polylines(canvas, outline, False, colour, thickness, cv2.LINE_AA, fraction_bits)
        else:
            cv2.fillPoly(canvas, outline, colour, cv2.LINE_AA, fraction_bits)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Smooth random patches [size, size] around zero; more cells make them smaller."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _expose(
    rng: np.random.Generator, canvas: Picture, light: float, blur: float, noise: float, only_drawn: bool = False
) -> Picture:
    """Shrinks a canvas to its final size under uneven light, out of focus and with sensor noise, each at random."""
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
    return np.clip(image, 0, 255).astype(np.uint8)


def _labels(rng: np.random.Generator, count: int, shares: Sequence[float], least: int = 1) -> list[int]:
    """Class numbers in random order, in the given shares but no class fewer than `least` times."""
    counts = np.diff(np.rint(np.cumsum(shares) / np.sum(shares) * count).astype(int), prepend=0)
    missing = np.maximum(least - counts, 0)
    counts += missing
    counts[np.argmax(counts)] -= missing.sum()
    if counts.min() < least:
        raise ValueError(f"{count} pictures are too few for {len(counts)} classes with {least} or more each")
    return [int(label) for label in rng.permutation(np.repeat(np.arange(len(counts)), counts))]


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into, which takes the place of `folder` only once it is complete."""
    new, old = (folder.with_name(f".{folder.name}.{state}-{os.getpid()}") for state in ("new", "old"))
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# Clothes: Fashion-MNIST


def _top(rng: np.random.Generator, sleeve: float, hem: float) -> Points:
    """The outline of a garment with sleeves; a sleeve of 1 reaches the hip."""
    shoulder, slope = np.array((0.69, 0.13)), np.array((0.17, 0.70)) + rng.normal(0, 0.025, 2)
    cuff = shoulder + (0.07, 0.02) + slope * sleeve
    side = 0.69 + rng.normal(0, 0.025)
    return _symmetric(np.vstack(((0.57, 0.07), shoulder, cuff, cuff + (-0.11, 0.04), (side, 0.34), (side, hem))))


def _clothes(rng: np.random.Generator, kind: str, shade: float, trim: float) -> list[Stroke]:
    """One garment; the four kinds of top overlap in sleeves and length, as the real ones do."""
    neck = Stroke(_arc((0.5, 0.05), (0.08, rng.uniform(0.04, 0.13)), 0, 180), 0)
    collar = Stroke(_points((0.58, 0.08), (0.5, rng.uniform(0.15, 0.25)), (0.42, 0.08)), trim, 0.035)
    front = Stroke(_points((0.5, 0.18), (0.5, 0.88)), trim, 0.03)
    flare, heel = rng.uniform(0.0, 0.12), rng.uniform(0.0, 0.08)
    match kind:
        case "T-shirt/top":
            return [Stroke(_top(rng, rng.uniform(0.05, 0.45), rng.uniform(0.78, 0.92)), shade), neck]
        case "Pullover":
            cuffs = [Stroke(_points((0.29, 0.84), (0.71, 0.84)), trim, 0.04)][: rng.integers(2)]
            return [Stroke(_top(rng, rng.uniform(0.75, 1.0), rng.uniform(0.80, 0.9)), shade), neck, *cuffs]
        case "Coat":
            return [Stroke(_top(rng, rng.uniform(0.8, 1.05), rng.uniform(0.88, 0.97)), shade), collar, front]
        case "Shirt":
            details = [neck, collar, front][rng.integers(2) : rng.integers(2, 4)]
            return [Stroke(_top(rng, rng.uniform(0.2, 1.0), rng.uniform(0.80, 0.93)), shade), *details]
        case "Dress":
            half = _points((0.56, 0.04), (0.62, 0.05), (0.63, 0.24), (0.58, 0.42), (0.62 + flare, 0.96))
            return [Stroke(_symmetric(half), shade), neck]
        case "Trouser":
            half = _points((0.66, 0.05), (0.68 + flare / 2, 0.95), (0.55 + flare / 2, 0.95), (0.5, 0.36))
            return [Stroke(_symmetric(half), shade), Stroke(_points((0.35, 0.08), (0.65, 0.08)), trim, 0.03)]
        case "Bag":
            handle = _arc((0.5, 0.42), (rng.uniform(0.15, 0.28), rng.uniform(0.15, 0.36)), 180, 360)
            half = _points((0.80, 0.40), (0.82 + flare / 2, 0.88 - heel))
            flap = Stroke(_points((0.22, 0.42), (0.5, 0.5 + flare), (0.78, 0.42)), trim, 0.03)
            return [Stroke(handle, shade, 0.045), Stroke(_symmetric(half), shade), flap]
        case "Sandal":
            sole = _points((0.05, 0.77), (0.45, 0.75), (0.72, 0.62), (0.95, 0.62 - heel), (0.95, 0.86), (0.86, 0.86))
            under = _points((0.80, 0.72), (0.5, 0.84), (0.06, 0.85))
            ankle, tilt = 0.40 - heel, rng.uniform(-0.06, 0.06)
            straps = [
                Stroke(_points((0.95, 0.62), (0.92, ankle), (0.66, ankle + 0.05), (0.62, 0.68)), shade, 0.045),
                Stroke(_points((0.12, 0.77), (0.26 + tilt, 0.62), (0.44, 0.75)), shade, 0.05),
                Stroke(_points((0.26 + tilt, 0.62), (0.66, ankle + 0.05)), shade, 0.035),
            ][: rng.integers(2, 4)]
            return [*straps, Stroke(np.vstack((sole, under)), shade)]
        case "Sneaker":
            body = _points((0.05, 0.72), (0.16, 0.63), (0.42, 0.56), (0.60, 0.44), (0.88, 0.42), (0.94, 0.52), (0.95, 0.80))
            laces = [Stroke(_points((x, 0.50), (x + 0.05, 0.60)), trim, 0.03) for x in (0.45, 0.52, 0.59)]
            under = Stroke(_points((0.05, 0.79), (0.95, 0.79)), trim, 0.06)
            return [Stroke(np.vstack((body, (0.05, 0.80))), shade), *laces, under]
        case _:
            shaft = _points((0.48, 0.40), (0.50, 0.12 + flare), (0.84, 0.12 + flare), (0.86, 0.60), (0.90, 0.86))
            foot = _points((0.72, 0.86), (0.68, 0.86 - heel), (0.08, 0.86), (0.08, 0.74), (0.22, 0.62))
            return [Stroke(np.vstack((shaft, foot)), shade), Stroke(_points((0.66, 0.14), (0.66, 0.45)), trim, 0.03)]


def _clothes_image(rng: np.random.Generator, kind: str) -> Picture:
    size = 28 * OVERSAMPLING
    canvas = np.zeros((size, size), np.uint8)
    shade = rng.uniform(90, 240)
    _paint(canvas, _clothes(rng, kind, shade, shade * rng.uniform(0.4, 0.85)), _pose(rng, 5, (0.85, 1.08), 0.03, 0.1))
    stripes = np.sin(np.arange(size) * rng.uniform(0.2, 0.9))[:, None] if rng.random() < 0.3 else 0.0
    texture = 0.85 + 0.15 * stripes + rng.uniform(0.05, 0.25) * _clouds(rng, size, 8)
    return _expose(rng, (canvas * texture.clip(0.3, 1)).astype(np.uint8), 0.3, 0.3, 8, only_drawn=True)


def write_fashion_mnist(root: Path, train: int = 3000, test: int = 501, seed: int = 0) -> None:
    """Writes the four IDX files of Fashion-MNIST: 28 x 28 grey, ten balanced classes.

    Args:
        root: Receives FashionMNIST/raw.
        train: Pictures in the train files.
        test: Pictures in the t10k files.
        seed: Decides every picture.
    """
    rng = np.random.default_rng((seed, 0))
    with _replacing(root / "FashionMNIST") as folder:
        (folder / "raw").mkdir()
        for part, count in (("train", train), ("t10k", test)):
            labels = _labels(rng, count, [1] * len(CLOTHES))
            images = np.stack([_clothes_image(rng, CLOTHES[label]) for label in labels])
            _write_idx(folder / "raw" / f"{part}-images-idx3-ubyte", images)
            _write_idx(folder / "raw" / f"{part}-labels-idx1-ubyte", np.array(labels, np.uint8))


def _write_idx(path: Path, values: Picture) -> None:
    unsigned_bytes = 0x0800
    header = struct.pack(f">{1 + values.ndim}i", unsigned_bytes + values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


# Faces: FER2013


def _face(rng: np.random.Generator, emotion: str, skin: float) -> list[Stroke]:
    """A face whose emotion is in brows, eyes, mouth and nose only, and is at times faint."""
    neutral, full = np.array(EXPRESSIONS["Neutral"]), np.array(EXPRESSIONS[emotion])
    shape = neutral + rng.uniform(*STRENGTH) * (full - neutral) + rng.normal(0, JITTER, len(full))
    nose_brow, temple_brow, open_eye, smile, gape, wide, wrinkle = shape
    ink, lip, hair = skin * rng.uniform(0.2, 0.5), skin * rng.uniform(0.45, 0.85), rng.uniform(10, 200)
    jaw, brow_width = rng.uniform(0.26, 0.32), rng.uniform(0.02, 0.05)

    strokes = [
        Stroke(_points((0.1, 1.2), (0.25, 0.98), (0.75, 0.98), (0.9, 1.2)), rng.uniform(20, 230)),
        Stroke(_points((0.38, 0.7), (0.62, 0.7), (0.64, 1.05), (0.36, 1.05)), skin * 0.85),
        Stroke(_arc((0.5, 0.42), (jaw + rng.uniform(0.02, 0.09), 0.40 + rng.uniform(0, 0.05))), hair),
        Stroke(_arc((0.5, 0.54), (jaw, 0.39)), skin),
        Stroke(_arc((0.5, 0.17), (jaw * 0.9, rng.uniform(0.04, 0.12))), hair),
        Stroke(_points((0.5, 0.48), (0.5 + rng.choice((-0.05, 0.05)), 0.61), (0.5, 0.62)), skin * 0.75, 0.025),
    ]
    eye_height = 0.032 * max(0.15, open_eye)
    iris = _arc((0.62 + rng.uniform(-0.02, 0.02), 0.46), (0.024, min(0.026, eye_height)))
    brow = _points((0.55, 0.385 - 0.045 * nose_brow), (0.63, 0.37), (0.71, 0.39 - 0.045 * temple_brow))
    brow[1, 1] -= 0.025 * (nose_brow + temple_brow)
    eye = _arc((0.62, 0.46), (0.062, eye_height))
    for side in (np.asarray, _mirror):
        strokes += [
            Stroke(side(eye), min(255, skin * 1.25 + 20)),
            Stroke(side(iris), ink * 0.5),
            Stroke(side(eye[12:]), ink, 0.02),
            Stroke(side(brow), ink, brow_width),
            Stroke(side(_points((0.53, 0.50), (0.57, 0.56))), skin * (1 - 0.4 * max(0, wrinkle)), 0.02),
        ]
    return strokes + _mouth(smile, max(0, gape), wide, wrinkle, lip)


def _mouth(smile: float, gape: float, wide: float, sneer: float, lip: float) -> list[Stroke]:
    across = np.linspace(-1, 1, 13)
    bow = 1 - across**2
    middle = 0.76 + 0.07 * smile * (bow - 0.5) - 0.03 * sneer * across
    upper = np.column_stack((0.5 + 0.12 * wide * across, middle - 0.05 * gape * bow - 0.02 * max(0, sneer) * bow))
    lower = np.column_stack((0.5 + 0.12 * wide * across, middle + 0.10 * gape * bow))
    outline = np.vstack((upper, lower[::-1], upper[:1]))
    teeth = np.vstack((upper, upper[::-1] + (0, 0.03 * gape)))
    return [Stroke(outline, lip * 0.35), Stroke(teeth, 235), Stroke(outline, lip, 0.022)]


def _glasses(rng: np.random.Generator) -> list[Stroke]:
    shade, rim = rng.uniform(0, 90), _arc((0.62, 0.46), (0.09, 0.075))
    return [Stroke(line, shade, 0.02) for line in (rim, _mirror(rim), _points((0.47, 0.45), (0.53, 0.45)))]


def _face_image(rng: np.random.Generator, emotion: str) -> Picture:
    size = 48 * OVERSAMPLING
    background = rng.uniform(20, 230) + rng.uniform(0, 60) * _clouds(rng, size, 5)
    canvas = background.clip(0, 255).astype(np.uint8)
    strokes = _face(rng, emotion, rng.uniform(80, 215))
    if rng.random() < 0.2:
        strokes += _glasses(rng)
    _paint(canvas, strokes, _pose(rng, 10, (0.95, 1.25), 0.04))
    if rng.random() < 0.2:  # a hand, a microphone, a caption
        _paint(canvas, [Stroke(rng.uniform(0, 1, (2, 2)), rng.uniform(0, 255), rng.uniform(0.05, 0.14))])
    return _expose(rng, canvas, light=0.6, blur=0.8, noise=12)


def write_fer2013(root: Path, train: int = 2800, val: int = 351, test: int = 351, seed: int = 0) -> None:
    """Writes fer2013.csv: 48 x 48 grey faces of seven emotions, about as unbalanced as the real ones.

    Args:
        root: Receives fer2013/fer2013.csv.
        train: Rows with Usage Training.
        val: Rows with Usage PublicTest.
        test: Rows with Usage PrivateTest.
        seed: Decides every picture.
    """
    rng, emotions = np.random.default_rng((seed, 1)), list(EXPRESSIONS)

    def rows() -> Iterator[tuple[int, str, str]]:
        for usage, count in (("Training", train), ("PublicTest", val), ("PrivateTest", test)):
            for label in _labels(rng, count, EMOTION_SHARES):
                pixels = _face_image(rng, emotions[label]).ravel().tolist()
                yield label, " ".join(map(str, pixels)), usage

    with _replacing(root / "fer2013") as folder:
        _write_csv(folder / "fer2013.csv", ("emotion", "pixels", "Usage"), rows())


# Weeds: DeepWeeds


def _tinted(shade: Shade, factor: float) -> Shade:
    return tuple(min(255.0, channel * factor) for channel in (shade if isinstance(shade, tuple) else (shade,)))


def _turned(points: Points, degrees: float) -> Points:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def _leaf_outline(plant: Plant) -> Points:
    """A leaf [16, 2] from the origin along x."""
    along = np.linspace(0, 1, 8)
    half = plant.leaf_width / 2 * np.sin(np.pi * along ** (np.log(0.5) / np.log(plant.leaf_belly)))
    upper = np.column_stack((plant.leaf_length * along, half))
    return np.vstack((upper, upper[::-1] * (1, -1)))


def _branch(rng: np.random.Generator, plant: Plant, light: float) -> list[Stroke]:
    """One stem that rises from the bottom of the unit square, with leaves in pairs and flowers near the tip."""
    sway = rng.uniform(-0.25, 0.25)
    rise = np.linspace(0, 1, 16)
    stem = np.column_stack((0.5 + sway * rise**2, 1 - rise))
    strokes = [Stroke(stem, _tinted(plant.leaf_shade, 0.7 * light), 0.012)]
    outline = _leaf_outline(plant)
    for place in np.linspace(0.05, 0.95, plant.leaf_pairs):
        base = (0.5 + sway * place**2, 1 - place)
        for side in (-1, 1):
            leaf = _turned(outline * rng.uniform(0.8, 1.2), -90 + side * (plant.leaf_angle + rng.normal(0, 8))) + base
            strokes.append(Stroke(leaf, _tinted(plant.leaf_shade, light * rng.uniform(0.8, 1.2))))
            if plant.leaf_width > 0.03:
                strokes.append(Stroke(leaf[[0, 7]], _tinted(plant.leaf_shade, 1.35 * light), 0.008))
    in_bloom = rng.random() < 0.5
    for place in 1 - rng.uniform(0, plant.flower_spread, plant.flowers * in_bloom):
        strokes += _flower(plant, (0.5 + sway * place**2 + rng.normal(0, 0.03), 1 - place))
    return strokes


def _flower(plant: Plant, centre: tuple[float, float]) -> list[Stroke]:
    angles = np.linspace(0, 2 * np.pi, 40)
    radii = plant.flower_size * (0.75 + 0.25 * np.cos(angles * plant.petals))
    petals = np.stack((np.cos(angles) * radii, np.sin(angles) * radii), axis=1) + centre
    heart = _arc(centre, (0.3 * plant.flower_size, 0.3 * plant.flower_size))
    return [Stroke(petals, plant.flower_shade), Stroke(heart, _tinted(plant.flower_shade, 0.7))]


def _ground(rng: np.random.Generator, size: int) -> Picture:
    """Soil with patches of grass and litter [size, size, 3]."""
    soil, grass = np.array((122, 98, 72)) * rng.uniform(0.7, 1.2), np.array((88, 108, 56)) * rng.uniform(0.6, 1.2)
    green = (0.5 + rng.uniform(-0.6, 0.6) + _clouds(rng, size, 4)).clip(0, 1)[..., None]
    mottle = 1 + 0.25 * _clouds(rng, size, 16) + 0.2 * _clouds(rng, size, 48)
    canvas = ((soil * (1 - green) + grass * green) * mottle[..., None]).clip(0, 255).astype(np.uint8)
    for start, along in zip(rng.random((16, 2)), rng.uniform(-0.15, 0.15, (16, 2)), strict=True):
        shade = _tinted((150, 140, 90), rng.uniform(0.4, 1.2))
        _paint(canvas, [Stroke(np.vstack((start, start + along)), shade, 0.012)])
    return canvas


def _weed_image(rng: np.random.Generator, species: str, size: int) -> Picture:
    canvas = _ground(rng, size * OVERSAMPLING)
    kinds = [WEEDS[species]] if species in WEEDS else OTHER_PLANTS
    for light in np.linspace(0.6, 1.1, rng.integers(4, 8)):  # the ones behind are in the shade
        plant = kinds[rng.integers(len(kinds))]
        _paint(canvas, _branch(rng, plant, light), _pose(rng, 180, (0.7, 1.2), 0.4))
    return _expose(rng, canvas, light=0.7, blur=0.8, noise=10)


def _photo_names(rng: np.random.Generator, count: int) -> list[str]:
    """Names as the camera gives them, YYYYMMDD-HHMMSS-C.jpg, in order of time."""
    seconds = np.cumsum(rng.integers(1, 9000, count))
    cameras = rng.integers(0, 4, count)
    times = [datetime(2017, 1, 9, 7) + timedelta(seconds=int(second)) for second in seconds]
    return [f"{time:%Y%m%d-%H%M%S}-{camera}.jpg" for time, camera in zip(times, cameras, strict=True)]


def write_deepweeds(root: Path, images: int = 900, size: int = 64, seed: int = 0) -> None:
    """Writes the photos of DeepWeeds and its tables: eight weeds, "Negative", and five folds of 60/20/20.

    Args:
        root: Receives deepweeds/images and deepweeds/labels.
        images: How many; 45 or more, so that every class is in every part of every fold.
        size: Side of the square photos in pixels.
        seed: Decides every picture.
    """
    rng, species = np.random.default_rng((seed, 2)), [*WEEDS, NEGATIVE]
    shares = [WEED_SHARE] * len(WEEDS) + [1 - WEED_SHARE * len(WEEDS)]
    labels = _labels(rng, images, shares, least=FOLDS)
    names = _photo_names(rng, images)
    block = np.empty(images, int)
    block[np.argsort(labels, kind="stable")] = np.arange(images) % FOLDS  # stratifies: each class goes round the blocks

    with _replacing(root / "deepweeds") as folder:
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        for name, label in zip(names, labels, strict=True):
            photo = _weed_image(rng, species[label], size)[..., ::-1]  # cv2 wants blue first
            cv2.imwrite(str(folder / "images" / name), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
        for fold in range(FOLDS):
            part_of_block = np.roll(["test", "val", "train", "train", "train"], fold)
            for part in ("train", "val", "test"):
                rows = [row for row in zip(names, labels, block, strict=True) if part_of_block[row[2]] == part]
                _write_csv(folder / "labels" / f"{part}_subset{fold}.csv", ("Filename", "Label"), (r[:2] for r in rows))
        listed = list(labels)
        listed[images // 2] = (listed[images // 2] + 1) % len(species)  # the real tables disagree on one photo, too
        whole = ((name, label, species[label]) for name, label in zip(names, listed, strict=True))
        _write_csv(folder / "labels" / "labels.csv", ("Filename", "Label", "Species"), whole)


# Shapes: a source task for the faces, with edges, curves and parts but no faces


def _bar(degrees: float, length: float = 0.7, offset: float = 0.0) -> Points:
    """A line [2, 2] through the middle of the picture, or beside it."""
    return _turned(_points((-length / 2, offset), (length / 2, offset)), degrees) + 0.5


def _grating(degrees: float) -> list[tuple[Points, float]]:
    return [(_bar(degrees, 0.8, offset), 0.07) for offset in (-0.34, -0.17, 0.0, 0.17, 0.34)]


SHAPES: dict[str, list[tuple[Points, float]]] = {  # lines and their widths; zero is filled
    "arc_down": [(_arc((0.5, 0.35), (0.36, 0.30), 0, 180), 0.08)],
    "arc_up": [(_arc((0.5, 0.65), (0.36, 0.30), 180, 360), 0.08)],
    "bar_falling": [(_bar(45), 0.10)],
    "bar_flat": [(_bar(0), 0.10)],
    "bar_rising": [(_bar(-45), 0.10)],
    "bar_upright": [(_bar(90), 0.10)],
    "blob": [(_arc((0.5, 0.5), (0.36, 0.17)), 0)],
    "cross": [(_bar(0), 0.09), (_bar(90), 0.09)],
    "disc": [(_arc((0.5, 0.5), (0.27, 0.27)), 0)],
    "grating_falling": _grating(45),
    "grating_flat": _grating(0),
    "grating_upright": _grating(90),
    "ring": [(_arc((0.5, 0.5), (0.28, 0.28)), 0.08)],
    "two_bars": [(_bar(0, 0.3) + (shift, 0.0), 0.08) for shift in (-0.23, 0.23)],
    "two_dots": [(_arc((x, 0.5), (0.10, 0.10)), 0) for x in (0.26, 0.74)],
    "wedge": [(_points((0.2, 0.75), (0.5, 0.22), (0.8, 0.75)), 0)],
}


def _shape_image(rng: np.random.Generator, name: str, size: int) -> Picture:
    tone = rng.uniform(60, 195)
    contrast = rng.uniform(35, 90) * rng.choice((-1, 1))
    background = tone + rng.uniform(5, 40) * _clouds(rng, size * OVERSAMPLING, 5)
    canvas = background.clip(0, 255).astype(np.uint8)
    for start, along in zip(rng.random((5, 2)), rng.uniform(-0.25, 0.25, (5, 2)), strict=True):
        clutter = Stroke(np.vstack((start, start + along)), tone + 0.5 * contrast * rng.uniform(-1, 1), 0.04)
        _paint(canvas, [clutter])
    ink = float(np.clip(tone + contrast, 0, 255))
    strokes = [Stroke(points, ink, width) for points, width in SHAPES[name]]
    _paint(canvas, strokes, _pose(rng, 12, (0.45, 1.0), 0.18, 0.15))
    return _expose(rng, canvas, light=0.6, blur=0.8, noise=12)


def write_shapes(root: Path, train: int = 4000, val: int = 400, seed: int = 0, size: int = 48) -> None:
    """Writes grey PNG files of simple shapes on cluttered ground, one folder for each of 16 classes.

    Args:
        root: Receives shapes/{train,val,test}/<class>/<number>.png.
        train: Pictures to train on.
        val: Pictures in val, and as many again in test.
        seed: Decides every picture.
        size: Side of the square pictures in pixels.
    """
    rng, names = np.random.default_rng((seed, 3)), list(SHAPES)
    with _replacing(root / "shapes") as folder:
        for part, count in (("train", train), ("val", val), ("test", val)):
            for name in names:
                (folder / part / name).mkdir(parents=True)
            for number, label in enumerate(_labels(rng, count, [1] * len(names))):
                picture = _shape_image(rng, names[label], size)
                cv2.imwrite(str(folder / part / names[label] / f"{number:05d}.png"), picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes all four sets below a folder."""
    parser = argparse.ArgumentParser(description="Draw small image sets in the formats of public ones.")
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=float, default=1.0, help="size of the sets; 0.1 is a tenth of the default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sets: list[tuple[str, Callable[..., None], tuple[int, ...]]] = [
        ("FashionMNIST", write_fashion_mnist, (3000, 501)),
        ("fer2013", write_fer2013, (2800, 351, 351)),
        ("deepweeds", write_deepweeds, (900,)),
        ("shapes", write_shapes, (4000, 400)),
    ]
    for name, write, defaults in sets:
        counts = [max(50, round(count * options.images)) for count in defaults]  # enough for every class
        write(options.root, *counts, seed=options.seed)
        print(f"{options.root / name}: {' + '.join(map(str, counts))} pictures")


if __name__ == "__main__":
    main()
