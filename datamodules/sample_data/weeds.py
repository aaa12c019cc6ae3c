"""Weeds and other plants, in the photos and tables of DeepWeeds."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from basics.files import new_folder, write_csv
from datamodules.sample_data.drawing import OVERSAMPLING, Picture, clouds, draw_labels, expose, paint, random_pose
from datamodules.sample_data.strokes import Points, Shade, Stroke, arc, litter, turned


class Plant(NamedTuple):
    """Marks of a species: its leaves, their arrangement on a stem, and its flowers."""

    leaf_length: float
    leaf_width: float
    leaf_belly: float  # fraction of the length at which the leaf is widest: 0.5 is an ellipse, less is a spearhead
    leaf_pairs: int
    leaf_angle: float  # degrees between leaf and stem
    leaf_shade: Shade
    flowers: int = 0  # per stem, from the tip down
    flower_size: float = 0.0
    flower_spread: float = 0.0  # fraction of the stem that carries flowers
    flower_shade: Shade = 0.0
    petals: int = 5


WEEDS = {
    "Chinee apple": Plant(0.13, 0.10, 0.5, 5, 60, (82, 128, 52), 3, 0.030, 0.8, (170, 175, 70), 0),
    "Lantana": Plant(0.14, 0.08, 0.4, 4, 60, (66, 106, 42), 3, 0.055, 0.35, (228, 120, 110), 7),
    "Parkinsonia": Plant(0.05, 0.014, 0.5, 14, 50, (120, 150, 80), 3, 0.032, 0.7, (236, 205, 60), 5),
    "Parthenium": Plant(0.15, 0.035, 0.6, 6, 45, (122, 160, 96), 6, 0.020, 0.3, (240, 240, 228), 5),
    "Prickly acacia": Plant(0.06, 0.020, 0.5, 11, 80, (84, 122, 56), 3, 0.035, 0.9, (238, 180, 40), 0),
    "Rubber vine": Plant(0.19, 0.08, 0.5, 3, 65, (60, 108, 44), 1, 0.075, 0.1, (214, 188, 222), 5),
    "Siam weed": Plant(0.16, 0.09, 0.3, 3, 55, (104, 148, 70), 4, 0.035, 0.15, (205, 198, 226), 9),
    "Snake weed": Plant(0.11, 0.06, 0.45, 4, 55, (74, 120, 52), 4, 0.026, 0.5, (112, 92, 200), 4),
}
NEGATIVE = "Negative"
OTHER_PLANTS = (
    Plant(0.45, 0.016, 0.3, 4, 14, (128, 146, 70)),  # grass
    Plant(0.40, 0.014, 0.3, 4, 18, (176, 158, 104)),  # dry grass
    Plant(0.10, 0.022, 0.3, 10, 70, (76, 126, 48)),  # fern
    Plant(0.22, 0.035, 0.4, 4, 40, (122, 138, 104)),  # gum leaves
    Plant(0.13, 0.09, 0.5, 4, 60, (84, 124, 58)),  # a shrub without flowers
    Plant(0.12, 0.05, 0.5, 4, 50, (96, 140, 70), 2, 0.032, 0.3, (238, 226, 150), 6),  # a daisy
)
WEED_SHARE = 0.06  # of each of the eight weeds; the rest is negative
FOLDS = 5


def _tinted(shade: Shade, factor: float) -> Shade:
    return tuple(min(255.0, channel * factor) for channel in (shade if isinstance(shade, tuple) else (shade,)))


def _leaf_outline(plant: Plant) -> Points:
    """Outline `[16, 2]` of a leaf from the origin along x."""
    along = np.linspace(0, 1, 8)
    half = plant.leaf_width / 2 * np.sin(np.pi * along ** (np.log(0.5) / np.log(plant.leaf_belly)))
    upper = np.column_stack((plant.leaf_length * along, half))
    return np.vstack((upper, upper[::-1] * (1, -1)))


def _branch(rng: np.random.Generator, plant: Plant, light: float) -> list[Stroke]:
    """Draw a stem that rises from the bottom of the unit square, with leaves in pairs and flowers near the tip."""
    sway = rng.uniform(-0.25, 0.25)
    rise = np.linspace(0, 1, 16)
    stem = np.column_stack((0.5 + sway * rise**2, 1 - rise))
    strokes = [Stroke(stem, _tinted(plant.leaf_shade, 0.7 * light), 0.012)]
    outline = _leaf_outline(plant)
    for height in np.linspace(0.05, 0.95, plant.leaf_pairs):
        base = (0.5 + sway * height**2, 1 - height)
        for side in (-1, 1):
            leaf = turned(outline * rng.uniform(0.8, 1.2), -90 + side * (plant.leaf_angle + rng.normal(0, 8))) + base
            strokes.append(Stroke(leaf, _tinted(plant.leaf_shade, light * rng.uniform(0.8, 1.2))))
            if plant.leaf_width > 0.03:
                strokes.append(Stroke(leaf[[0, 7]], _tinted(plant.leaf_shade, 1.35 * light), 0.008))
    flowers = plant.flowers if rng.random() < 0.5 else 0
    for height in 1 - rng.uniform(0, plant.flower_spread, flowers):
        strokes += _flower(plant, (0.5 + sway * height**2 + rng.normal(0, 0.03), 1 - height))
    return strokes


def _flower(plant: Plant, centre: tuple[float, float]) -> list[Stroke]:
    angles = np.linspace(0, 2 * np.pi, 40)
    radii = plant.flower_size * (0.75 + 0.25 * np.cos(angles * plant.petals))
    petals = np.stack((np.cos(angles) * radii, np.sin(angles) * radii), axis=1) + centre
    heart = arc(centre, (0.3 * plant.flower_size, 0.3 * plant.flower_size))
    return [Stroke(petals, plant.flower_shade), Stroke(heart, _tinted(plant.flower_shade, 0.7))]


def _ground(rng: np.random.Generator, size: int) -> Picture:
    """Draw soil with patches of grass and litter `[size, size, 3]`."""
    soil = np.array((122, 98, 72), np.float32) * np.float32(rng.uniform(0.7, 1.2))
    grass = np.array((88, 108, 56), np.float32) * np.float32(rng.uniform(0.6, 1.2))
    green = (np.float32(rng.uniform(-0.1, 1.1)) + clouds(rng, size, 4)).clip(0, 1)[..., None]
    mottle = 1 + 0.25 * clouds(rng, size, 16) + 0.2 * clouds(rng, size, 48)
    canvas: Picture = ((soil + (grass - soil) * green) * mottle[..., None]).clip(0, 255).astype(np.uint8)
    paint(canvas, litter(rng, [_tinted((150, 140, 90), light) for light in rng.uniform(0.4, 1.2, 16)], 0.15, 0.012))
    return canvas


def _weed_image(rng: np.random.Generator, species: str, size: int) -> Picture:
    canvas = _ground(rng, size * OVERSAMPLING)
    kinds = [WEEDS[species]] if species in WEEDS else OTHER_PLANTS
    for light in np.linspace(0.6, 1.1, rng.integers(4, 8)):  # the ones behind are in the shade
        plant = kinds[rng.integers(len(kinds))]
        paint(canvas, _branch(rng, plant, light), random_pose(rng, 180, (0.7, 1.2), 0.4))
    return expose(rng, canvas, light=0.7, blur=0.8, noise=10)


def _photo_names(rng: np.random.Generator, count: int) -> list[str]:
    """Draw names as the camera gives them, YYYYMMDD-HHMMSS-C.jpg, in order of time."""
    seconds = np.cumsum(rng.integers(1, 9000, count))
    cameras = rng.integers(0, 4, count)
    times = [datetime(2017, 1, 9, 7) + timedelta(seconds=int(second)) for second in seconds]
    return [f"{time:%Y%m%d-%H%M%S}-{camera}.jpg" for time, camera in zip(times, cameras, strict=True)]


def write_deepweeds(root: Path, images: int = 900, size: int = 64, seed: int = 0) -> None:
    """Write the photos of DeepWeeds and its tables: eight weeds, "Negative", and five folds of 60/20/20.

    Args:
        root: Folder that receives deepweeds/images and deepweeds/labels.
        images: Number of photos, 45 or more, so that every class is in every part of every fold.
        size: Side of the square photos in pixels.
        seed: Seed of all pictures.
    """
    rng = np.random.default_rng((seed, 2))
    species = [*WEEDS, NEGATIVE]
    shares = [WEED_SHARE] * len(WEEDS) + [1 - WEED_SHARE * len(WEEDS)]
    labels = draw_labels(rng, images, shares, least=FOLDS)
    names = _photo_names(rng, images)
    block = np.empty(images, int)
    block[np.argsort(labels, kind="stable")] = np.arange(images) % FOLDS  # stratifies: each class goes round the blocks

    with new_folder(root / "deepweeds") as folder:
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        for name, label in zip(names, labels, strict=True):
            photo = _weed_image(rng, species[label], size)[..., ::-1]  # cv2 wants blue first
            cv2.imwrite(str(folder / "images" / name), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
        for fold in range(FOLDS):
            part_of_block = np.roll(["test", "val", "train", "train", "train"], fold)
            for part in ("train", "val", "test"):
                rows = [row for row in zip(names, labels, block, strict=True) if part_of_block[row[2]] == part]
                write_csv(folder / "labels" / f"{part}_subset{fold}.csv", ("Filename", "Label"), (r[:2] for r in rows))
        listed = list(labels)
        listed[images // 2] = (listed[images // 2] + 1) % len(species)  # the real tables disagree on one photo, too
        whole = ((name, label, species[label]) for name, label in zip(names, listed, strict=True))
        write_csv(folder / "labels" / "labels.csv", ("Filename", "Label", "Species"), whole)
