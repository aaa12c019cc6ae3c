"""Faces with emotions, in the file of FER2013."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from basics.files import new_folder, write_csv
from datamodules.sample_data.drawing import OVERSAMPLING, Picture, clouds, draw_labels, expose, paint, random_pose
from datamodules.sample_data.strokes import Stroke, arc, corners, mirrored

# Raised brows at the nose, raised brows at the temples, open eyes, smile, open mouth, width of the mouth, wrinkled nose
EXPRESSIONS = {
    "Angry": (-0.8, 0.6, 0.8, -0.5, 0.1, 0.85, 0.2),
    "Disgust": (-0.6, -0.3, 0.5, -0.6, 0.35, 0.9, 1.0),
    "Fear": (0.8, 0.1, 1.5, -0.3, 0.5, 1.0, 0.0),
    "Happy": (0.1, 0.1, 0.8, 1.0, 0.3, 1.2, 0.1),
    "Sad": (0.7, -0.6, 0.65, -0.9, 0.0, 0.85, 0.0),
    "Surprise": (0.9, 0.9, 1.6, 0.0, 1.0, 0.65, 0.0),
    "Neutral": (0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0),
}
STRENGTH = (0.5, 1.25)  # how much of an expression shows
JITTER = 0.17  # how much faces differ anyway
EMOTION_SHARES = (0.139, 0.015, 0.143, 0.251, 0.168, 0.110, 0.174)


def _face(rng: np.random.Generator, emotion: str, skin: float) -> list[Stroke]:
    """Draw a face whose emotion is in brows, eyes, mouth and nose only, and is at times faint."""
    neutral = np.array(EXPRESSIONS["Neutral"])
    full = np.array(EXPRESSIONS[emotion])
    shape = neutral + rng.uniform(*STRENGTH) * (full - neutral) + rng.normal(0, JITTER, len(full))
    nose_brow, temple_brow, open_eye, smile, gape, wide, wrinkle = shape
    ink = skin * rng.uniform(0.2, 0.5)
    lip = skin * rng.uniform(0.45, 0.85)
    hair = rng.uniform(10, 200)
    jaw = rng.uniform(0.26, 0.32)
    brow_width = rng.uniform(0.02, 0.05)

    strokes = [
        Stroke(corners((0.1, 1.2), (0.25, 0.98), (0.75, 0.98), (0.9, 1.2)), rng.uniform(20, 230)),
        Stroke(corners((0.38, 0.7), (0.62, 0.7), (0.64, 1.05), (0.36, 1.05)), skin * 0.85),
        Stroke(arc((0.5, 0.42), (jaw + rng.uniform(0.02, 0.09), 0.40 + rng.uniform(0, 0.05))), hair),
        Stroke(arc((0.5, 0.54), (jaw, 0.39)), skin),
        Stroke(arc((0.5, 0.17), (jaw * 0.9, rng.uniform(0.04, 0.12))), hair),
        Stroke(corners((0.5, 0.48), (0.5 + rng.choice((-0.05, 0.05)), 0.61), (0.5, 0.62)), skin * 0.75, 0.025),
    ]
    eye_height = 0.032 * max(0.15, open_eye)
    iris = arc((0.62 + rng.uniform(-0.02, 0.02), 0.46), (0.024, min(0.026, eye_height)))
    brow = corners((0.55, 0.385 - 0.045 * nose_brow), (0.63, 0.37), (0.71, 0.39 - 0.045 * temple_brow))
    brow[1, 1] -= 0.025 * (nose_brow + temple_brow)
    eye = arc((0.62, 0.46), (0.062, eye_height))
    for side in (np.asarray, mirrored):
        strokes += [
            Stroke(side(eye), min(255, skin * 1.25 + 20)),
            Stroke(side(iris), ink * 0.5),
            Stroke(side(eye[12:]), ink, 0.02),
            Stroke(side(brow), ink, brow_width),
            Stroke(side(corners((0.53, 0.50), (0.57, 0.56))), skin * (1 - 0.4 * max(0, wrinkle)), 0.02),
        ]
    return strokes + _mouth(smile, max(0, gape), wide, wrinkle, lip)


def _mouth(smile: float, gape: float, wide: float, sneer: float, lip: float) -> list[Stroke]:
    across = np.linspace(-1, 1, 13)
    bow = 1 - across**2
    middle = 0.76 + 0.07 * smile * (bow - 0.5) - 0.03 * sneer * across
    upper = np.column_stack((0.5 + 0.12 * wide * across, middle - 0.05 * gape * bow - 0.02 * max(0, sneer) * bow))
    lower = np.column_stack((0.5 + 0.12 * wide * across, middle + 0.10 * gape * bow))
    outline = np.vstack((upper, lower[::-1], upper[:1]))
    teeth = np.vstack((upper, upper[::-1] + np.array((0, 0.03 * gape))))
    return [Stroke(outline, lip * 0.35), Stroke(teeth, 235), Stroke(outline, lip, 0.022)]


def _glasses(rng: np.random.Generator) -> list[Stroke]:
    shade = rng.uniform(0, 90)
    rim = arc((0.62, 0.46), (0.09, 0.075))
    return [Stroke(line, shade, 0.02) for line in (rim, mirrored(rim), corners((0.47, 0.45), (0.53, 0.45)))]


def _face_image(rng: np.random.Generator, emotion: str) -> Picture:
    size = 48 * OVERSAMPLING
    background = rng.uniform(20, 230) + rng.uniform(0, 60) * clouds(rng, size, 5)
    canvas = background.clip(0, 255).astype(np.uint8)
    strokes = _face(rng, emotion, rng.uniform(80, 215))
    if rng.random() < 0.2:
        strokes += _glasses(rng)
    paint(canvas, strokes, random_pose(rng, 10, (0.95, 1.25), 0.04))
    if rng.random() < 0.2:  # a hand, a microphone, a caption
        paint(canvas, [Stroke(rng.uniform(0, 1, (2, 2)), rng.uniform(0, 255), rng.uniform(0.05, 0.14))])
    return expose(rng, canvas, light=0.6, blur=0.8, noise=12)


def write_fer2013(root: Path, train: int = 2800, val: int = 351, test: int = 351, seed: int = 0) -> None:
    """Write fer2013.csv: 48 x 48 grey faces of seven emotions, about as unbalanced as the real ones.

    Args:
        root: Folder that receives fer2013/fer2013.csv.
        train: Number of rows with Usage Training.
        val: Number of rows with Usage PublicTest.
        test: Number of rows with Usage PrivateTest.
        seed: Seed of all pictures.
    """
    rng = np.random.default_rng((seed, 1))
    emotions = list(EXPRESSIONS)

    def rows() -> Iterator[tuple[int, str, str]]:
        for usage, count in (("Training", train), ("PublicTest", val), ("PrivateTest", test)):
            for label in draw_labels(rng, count, EMOTION_SHARES):
                pixels = _face_image(rng, emotions[label]).ravel().tolist()
                yield label, " ".join(map(str, pixels)), usage

    with new_folder(root / "fer2013") as folder:
        write_csv(folder / "fer2013.csv", ("emotion", "pixels", "Usage"), rows())
