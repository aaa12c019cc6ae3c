"""Augmentation of a whole batch as tensors on its device, from the description that also drives albumentations.

Names, defaults and meaning of the transforms are those of albumentations 2.0.8. What differs:

- Floats from the first step to the last, where albumentations rounds to uint8 after each one: its brightness and
  colour steps round down, 0.5/255 darker a step, and its hue moves in whole steps of 2 degrees, rounded down.
- Geometric steps in a row are one matrix an image and one interpolation, where albumentations interpolates at each:
  fine texture is blurred less.
- The half pixel around a `RandomResizedCrop` shows what lies beside the crop, where albumentations repeats its border.
- `ColorJitter` has a fixed order, see there.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basics.errors import UserError
from datamodules.augment.albumentations import Transform
from datamodules.augment.colours import CoarseDropout, ColorJitter, RandomBrightnessContrast
from datamodules.augment.geometry import (
    D4,
    Affine,
    HorizontalFlip,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    Symmetry,
    VerticalFlip,
    Warp,
)
from datamodules.augment.steps import Geometric, NotDoneError, Step, floats
from datamodules.images import Array

Stage = Callable[[Tensor, Tensor], Tensor]  # images, draws -> images

# Pixels of a pass on the CPU: steps read what the one before left in the cache, and no step asks for fresh pages.
PIXELS_A_PASS = 2**17


class BatchAugmentation:
    """A random pipeline over whole batches whose random numbers are a function of (seed, epoch, image).

    So two epochs differ, two runs agree, and neither workers, devices nor the composition of a batch change an image.

    Args:
        transforms: In order, as in the config; a `RandomResizedCrop` without a `size` gets `image_size`.
        seed: Of the training.
        image_size: Side of the square images that the network is given.

    Raises:
        UserError: A transform or an argument that is not done on whole batches.
    """

    def __init__(self, transforms: Sequence[Transform], seed: int, image_size: int) -> None:
        flat = [(name, arguments or {}) for step in transforms for name, arguments in step.items()]
        self.steps = [_build(name, arguments, image_size) for name, arguments in flat]
        ends = np.cumsum([0, *(step.columns for step in self.steps)]).tolist()
        self.columns = ends[-1]
        self.stages = _stages(self.steps, [slice(*ends) for ends in pairwise(ends)])
        self.seed, self.image_size = seed, image_size

    def draws(self, epoch: int, places: Sequence[int] | Array) -> Tensor:
        """The random numbers of some images in some epoch.

        Args:
            epoch: From 0.
            places: Of the images in their split `[B]`.

        Returns:
            `[B, D]` float32, uniform in [0, 1).
        """
        key = np.zeros(1, np.uint64)
        for number in (self.seed, epoch):
            key = _mix(key + np.uint64(number % 2**64))
        rows = _mix(key + np.asarray(places).astype(np.uint64))[:, None]
        bits = _mix(rows + np.arange(self.columns, dtype=np.uint64))
        # The upper 24 bits: every one of them is a float32, and none rounds up to 1.
        return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch; nothing waits for the device.

        Args:
            images: `[B, C, H, W]` uint8.
            draws: `[B, D]`, of `draws`, on the same device.

        Returns:
            `[B, C, image_size, image_size]` float32 in [0, 1], in channels_last memory.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images are uint8, not {images.dtype}")
        number, channels, side = len(images), images.shape[1], self.image_size
        shape = (number, channels, side, side)
        result = torch.empty(shape, device=images.device, memory_format=torch.channels_last)
        largest = max(side * side, images.shape[2] * images.shape[3])
        share = max(1, PIXELS_A_PASS // largest) if images.device.type == "cpu" else max(1, number)
        for start in range(0, number, share):
            part = slice(start, start + share)
            result[part].copy_(self._augment(images[part], draws[part]))
        return result

    def _augment(self, images: Tensor, draws: Tensor) -> Tensor:
        for stage in self.stages:
            images = stage(images, draws)
        if images.shape[2:] != (self.image_size, self.image_size):
            shrinks = self.image_size < images.shape[2]
            size = (self.image_size, self.image_size)
            images = F.interpolate(floats(images), size, mode="bilinear", antialias=shrinks)
        return floats(images)


def _mix(keys: Array) -> Array:
    """One output of splitmix64 for each state: neighbouring states give unrelated numbers."""
    keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = keys ^ (keys >> np.uint64(31))
    return mixed


def _stages(steps: Sequence[Step], columns: Sequence[slice]) -> list[Stage]:
    stages: list[Stage] = []
    row: list[tuple[Geometric, slice]] = []
    for step, own in zip(steps, columns, strict=True):
        if isinstance(step, Geometric):
            # A resize continues the border of its input, black there or not: that must be there to be seen.
            if step.resizes and any(earlier.fills for earlier, _ in row):
                stages.append(_stage(row))
                row = []
            row.append((step, own))
            continue
        if row:
            stages.append(_stage(row))
            row = []
        stages.append(partial(_paint, step, own))
    return [*stages, _stage(row)] if row else stages


def _stage(row: Sequence[tuple[Geometric, slice]]) -> Stage:
    symmetries = [(step, columns) for step, columns in row if isinstance(step, Symmetry)]
    return partial(_mirror, symmetries) if len(symmetries) == len(row) else Warp(row)


def _mirror(row: Sequence[tuple[Symmetry, slice]], images: Tensor, draws: Tensor) -> Tensor:
    for step, columns in row:
        images = step.move(images, draws[:, columns])
    return images


def _paint(step: Any, columns: slice, images: Tensor, draws: Tensor) -> Tensor:
    painted: Tensor = step(floats(images), draws[:, columns])
    return painted


_KINDS = (
    HorizontalFlip,
    VerticalFlip,
    D4,
    RandomRotate90,
    Affine,
    RandomResizedCrop,
    RandomCrop,
    Pad,
    RandomBrightnessContrast,
    ColorJitter,
    CoarseDropout,
)
_TRANSFORMS: dict[str, Callable[..., Step]] = {kind.__name__: kind for kind in _KINDS}


def _build(name: str, arguments: dict[str, Any], image_size: int) -> Step:
    if name not in _TRANSFORMS:
        raise _not_done(name, ", ".join(_TRANSFORMS))
    kind = _TRANSFORMS[name]
    signature = inspect.signature(kind)
    for argument in arguments:
        if argument not in signature.parameters:
            raise _not_done(f"{name} with {argument}", ", ".join(signature.parameters))
    if "size" in signature.parameters:
        arguments = {"size": (image_size, image_size), **arguments}
    try:
        signature.bind(**arguments)  # says what is missing in fewer words than the class would
        return kind(**arguments)
    except NotDoneError as error:
        raise _not_done(f"{name} with {error.args[0]}", error.args[1]) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"data.augment: {name}: {error}") from error


def _not_done(what: str, done: str) -> UserError:
    return UserError(
        f"data.augment: {what} is not done on whole batches ({done} are): pass --data.augment_with albumentations"
    )
