"""Strokes, of which the pictures of all sets are made, and the points that they lead through."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Shade = float | tuple[float, ...]  # one grey level, or red, green, blue; 0 to 255


class Stroke(NamedTuple):
    """A line through `points` `[N, 2]`, or the area that they enclose if the width is zero."""

    points: Points
    shade: Shade
    width: float = 0.0


def corners(*pairs: tuple[float, float]) -> Points:
    """Points `[N, 2]` from pairs of x and y."""
    return np.array(pairs, dtype=np.float64)


def arc(centre: tuple[float, float], radii: tuple[float, float], start: float = 0, stop: float = 360) -> Points:
    """Points `[N, 2]` on an ellipse from one angle to another, in degrees clockwise from the right."""
    angles = np.linspace(np.radians(start), np.radians(stop), 24)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1) * radii + centre


def mirrored(points: Points) -> Points:
    """Swap left and right."""
    return points * (-1, 1) + (1, 0)


def turned(points: Points, degrees: float) -> Points:
    """Turn points about the origin, clockwise."""
    cosine = np.cos(np.radians(degrees))
    sine = np.sin(np.radians(degrees))
    result: Points = points @ np.array([[cosine, sine], [-sine, cosine]])
    return result


def litter(rng: np.random.Generator, shades: Sequence[Shade], reach: float, width: float) -> list[Stroke]:
    """Draw short lines anywhere, one of each shade."""
    starts = rng.random((len(shades), 2))
    stops = starts + rng.uniform(-reach, reach, starts.shape)
    return [Stroke(ends, shade, width) for ends, shade in zip(np.stack((starts, stops), 1), shades, strict=True)]
