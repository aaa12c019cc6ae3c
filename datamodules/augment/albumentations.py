"""Augmentation image by image; no other module knows albumentations.

Releases of albumentations after 2.0.8 are not under a permissive licence: it may have to be replaced some day.
"""

import difflib
import inspect
import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from basics.errors import UserError
from datamodules.images import Array

Transform = dict[str, dict[str, Any]]  # as in a config: name -> arguments, `HorizontalFlip: {p: 0.5}`


class Augmentation:
    """A random pipeline whose draws are a function of (seed, epoch, image).

    So two epochs differ, two runs agree, and neither the number of workers nor that of devices changes an image.

    Args:
        transforms: Transforms in order, as in the config; one that takes a `size` and is given none gets `image_size`.
        seed: Seed of the training.
        image_size: Side of the square images that the network is given.

    Raises:
        UserError: A name or an argument that albumentations does not know.
    """

    def __init__(self, transforms: Sequence[Transform], seed: int, image_size: int) -> None:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for newer versions on import
        import albumentations

        flat = [(name, arguments or {}) for step in transforms for name, arguments in step.items()]
        steps = [_build(albumentations, name, arguments, image_size) for name, arguments in flat]
        self.pipeline = albumentations.Compose(steps)
        self.seed = seed

    def __call__(self, image: Array, epoch: int, index: int) -> Array:
        """Augment one image `[H, W, C]` uint8."""
        # `set_random_seed` would give every step a generator of its own with one seed, so that an image is flipped
        # exactly when it is brightened. Here the steps draw one after the other from one pair of generators.
        key = [self.seed, epoch, index]
        self.pipeline.set_random_state(np.random.default_rng(key), random.Random(str(key)))
        result: Array = self.pipeline(image=image)["image"]
        return result


def _build(albumentations: Any, name: str, arguments: dict[str, Any], image_size: int) -> Any:
    classes = inspect.getmembers(albumentations, inspect.isclass)
    kinds = {key: kind for key, kind in classes if issubclass(kind, albumentations.BasicTransform)}
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else "see albumentations' list of transforms"
        raise UserError(f"data.augment: albumentations 2.0.8 has no transform {name!r}: {hint}")
    kind = kinds[name]
    known = inspect.signature(kind).parameters
    for argument in arguments:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, n=1) or [", ".join(known)]
            raise UserError(f"data.augment: {name} has no argument {argument!r}: did you mean {near[0]}?")
    if "size" in known:
        arguments = {"size": (image_size, image_size), **arguments}
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        return kind(**arguments)
    except (ValueError, TypeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise UserError(f"data.augment: {name}: {reason}") from error
