"""Shapes, a source task for the faces: edges, curves and parts, but no faces."""

from pathlib import Path

import cv2
import numpy as np

from basics.files import new_folder
from datamodules.sample_data.drawing import OVERSAMPLING, Picture, clouds, draw_labels, expose, paint, random_pose
from datamodules.sample_data.strokes import Points, Stroke, arc, corners, litter, turned


def _bar(degrees: float, length: float = 0.7, offset: float = 0.0) -> Points:
    """A line `[2, 2]` through the middle of the picture, or beside it."""
    return turned(corners((-length / 2, offset), (length / 2, offset)), degrees) + 0.5


def _grating(degrees: float) -> list[tuple[Points, float]]:
    return [(_bar(degrees, 0.8, offset), 0.07) for offset in (-0.34, -0.17, 0.0, 0.17, 0.34)]


SHAPES: dict[str, list[tuple[Points, float]]] = {  # name -> lines and their widths; zero fills the line
    "arc_down": [(arc((0.5, 0.35), (0.36, 0.30), 0, 180), 0.08)],
    "arc_up": [(arc((0.5, 0.65), (0.36, 0.30), 180, 360), 0.08)],
    "bar_falling": [(_bar(45), 0.10)],
    "bar_flat": [(_bar(0), 0.10)],
    "bar_rising": [(_bar(-45), 0.10)],
    "bar_upright": [(_bar(90), 0.10)],
    "blob": [(arc((0.5, 0.5), (0.36, 0.17)), 0)],
    "cross": [(_bar(0), 0.09), (_bar(90), 0.09)],
    "disc": [(arc((0.5, 0.5), (0.27, 0.27)), 0)],
    "grating_falling": _grating(45),
    "grating_flat": _grating(0),
    "grating_upright": _grating(90),
    "ring": [(arc((0.5, 0.5), (0.28, 0.28)), 0.08)],
    "two_bars": [(corners((x - 0.16, 0.5), (x + 0.16, 0.5)), 0.08) for x in (0.26, 0.74)],
    "two_dots": [(arc((x, 0.5), (0.10, 0.10)), 0) for x in (0.26, 0.74)],
    "wedge": [(corners((0.2, 0.75), (0.5, 0.22), (0.8, 0.75)), 0)],
}


def _shape_image(rng: np.random.Generator, name: str, size: int) -> Picture:
    tone = rng.uniform(60, 195)
    contrast = rng.uniform(35, 90) * rng.choice((-1, 1))
    background = tone + rng.uniform(5, 40) * clouds(rng, size * OVERSAMPLING, 5)
    canvas = background.clip(0, 255).astype(np.uint8)
    paint(canvas, litter(rng, list(tone + contrast * rng.uniform(-0.5, 0.5, 5)), 0.25, 0.04))
    ink = float(np.clip(tone + contrast, 0, 255))
    strokes = [Stroke(points, ink, width) for points, width in SHAPES[name]]
    paint(canvas, strokes, random_pose(rng, 12, (0.45, 1.0), 0.18, 0.15))
    return expose(rng, canvas, light=0.6, blur=0.8, noise=12)


def write_shapes(root: Path, train: int = 4000, val: int = 400, seed: int = 0, size: int = 48) -> None:
    """Write grey PNG files of simple shapes on cluttered ground, one folder for each of 16 classes.

    Args:
        root: Folder that receives shapes/{train,val,test}/<class>/<number>.png.
        train: Number of pictures to train on.
        val: Number of pictures in val, and of those in test.
        seed: Seed of all pictures.
        size: Side of the square pictures in pixels.
    """
    rng = np.random.default_rng((seed, 3))
    names = list(SHAPES)
    with new_folder(root / "shapes") as folder:
        for part, count in (("train", train), ("val", val), ("test", val)):
            for name in names:
                (folder / part / name).mkdir(parents=True)
            for number, label in enumerate(draw_labels(rng, count, [1] * len(names))):
                picture = _shape_image(rng, names[label], size)
                cv2.imwrite(str(folder / part / names[label] / f"{number:05d}.png"), picture)
