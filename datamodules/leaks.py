"""Test images that a network has as good as seen in training: duplicates, and shots seconds apart."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np

from datamodules.images import Array
from datamodules.splits import Split


def same_pixels(train: Split, test: Split) -> Array:
    """Find test images that are a training image, byte for byte: bool `[len(test)]` (0.4 s for FER2013)."""
    known = set(_digests(train))
    return np.array([digest in known for digest in _digests(test)], bool)


def shots_within(seconds: float, train: Sequence[str], test: Sequence[str]) -> Array:
    """Find test images that were taken shortly before or after a training image by the same camera.

    Args:
        seconds: Longest time between the two shots.
        train: Names of the training images, such as `20170714-110407-3.jpg`: date, time, camera.
        test: Names of the test images.

    Returns:
        bool `[len(test)]`; an image of another name counts as taken by a camera of its own.
    """
    shots: dict[str, list[float]] = {}
    for name in train:
        camera, moment = _shot(name)
        shots.setdefault(camera, []).append(moment)
    moments = {camera: np.sort(np.array(times)) for camera, times in shots.items()}
    near = np.zeros(len(test), bool)
    for index, name in enumerate(test):
        camera, moment = _shot(name)
        times = moments.get(camera, np.empty(0))
        after = int(np.searchsorted(times, moment))
        near[index] = any(abs(times[i] - moment) <= seconds for i in (after - 1, after) if 0 <= i < len(times))
    return near


def _digests(split: Split) -> list[bytes]:
    """Hash every image; keeping the images would take the memory of the whole training split."""
    return [blake2b(split.images.array[row], digest_size=16).digest() for row in split.rows]


def _shot(name: str) -> tuple[str, float]:
    """Camera and time in seconds of a photo."""
    day, _, rest = name.rpartition(".")[0].partition("-")
    time, _, camera = rest.partition("-")
    try:
        # As if in UTC: in the zone of the machine, shots seconds apart are an hour apart when its clocks change.
        return camera, datetime.strptime(day + time, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return name, 0.0
