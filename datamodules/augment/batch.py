"""Augmentation of a whole batch as tensors on its device, from the description that also drives albumentations.

Names, defaults and meaning of the transforms are those of albumentations 2.0.8. Four things differ:

- Values are floats from the first step to the last; albumentations rounds to uint8 after each one. Its brightness and
  colour steps round down, 0.5/255 darker a step, and its hue moves in whole steps of 2 degrees, rounded down.
- Geometric steps that follow one another are one matrix an image and one interpolation; albumentations interpolates at
  each of them, which blurs fine texture more.
- The half pixel around a `RandomResizedCrop` shows the image beside the crop; albumentations repeats the crop's border.
- `ColorJitter` has a fixed order, as its docstring says.
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
from datamodules.augment.geometry import Affine, Pad, RandomCrop, RandomResizedCrop
from datamodules.augment.steps import Geometric, NotDoneError, Step, floats
from datamodules.augment.symmetries import D4, HorizontalFlip, RandomRotate90, Symmetry, VerticalFlip
from datamodules.augment.warp import Warp
from datamodules.images import Array

FusedStep = Callable[[Tensor, Tensor], Tensor]  # images, draws -> images; one or several steps

# Pixels of a pass on the CPU: few enough that a step finds the result of the step before in the processor's cache,
# and that no step has to ask the system for memory.
PIXELS_A_PASS = 2**17


class BatchAugmentation:
    """A random pipeline over whole batches whose random numbers are a function of (seed, epoch, image).

    So two epochs differ, two runs agree, and neither workers, devices nor the composition of a batch change an image.

    Args:
        transforms: Transforms in order, as in the config; a `RandomResizedCrop` without a `size` gets `image_size`.
        seed: Seed of the training.
        image_size: Side of the square images that the network is given.

    Raises:
        UserError: A transform or an argument that is not done on whole batches.
    """

    def __init__(self, transforms: Sequence[Transform], seed: int, image_size: int) -> None:
        flat = [(name, arguments or {}) for step in transforms for name, arguments in step.items()]
        self.steps = [_build(name, arguments, image_size) for name, arguments in flat]
        ends = np.cumsum([0, *(step.columns for step in self.steps)]).tolist()
        self.columns = ends[-1]
        self.fused_steps = _fuse(self.steps, [slice(start, end) for start, end in pairwise(ends)])
        self.seed = seed
        self.image_size = image_size

    def draws(self, epoch: int, indices: Sequence[int] | Array) -> Tensor:
        """Draw the random numbers of some images in some epoch.

        Args:
            epoch: Number of the epoch, from 0.
            indices: Indices of the images in their split `[B]`.

        Returns:
            `[B, D]` float32, uniform in [0, 1).
        """
        key = np.zeros(1, np.uint64)
        for number in (self.seed, epoch):
            key = _mix(key + np.uint64(number % 2**64))
        rows = _mix(key + np.asarray(indices).astype(np.uint64))[:, None]
        bits = _mix(rows + np.arange(self.columns, dtype=np.uint64))
        # The upper 24 bits: every one of them is a float32, and none rounds up to 1.
        return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch; nothing waits for the device.

        Args:
            images: `[B, C, H, W]` uint8.
            draws: Random numbers `[B, D]` given by `draws`, on the same device.

        Returns:
            `[B, C, image_size, image_size]` float32 in [0, 1], in channels_last memory.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images are uint8, not {images.dtype}")
        side = self.image_size
        shape = (len(images), images.shape[1], side, side)
        result = torch.empty(shape, device=images.device, memory_format=torch.channels_last)
        images_a_pass = max(1, len(images))
        if images.device.type == "cpu":
            images_a_pass = max(1, PIXELS_A_PASS // max(side * side, images.shape[2] * images.shape[3]))
        for start in range(0, len(images), images_a_pass):
            part = slice(start, start + images_a_pass)
            result[part].copy_(self._augment(images[part], draws[part]))
        return result

    def _augment(self, images: Tensor, draws: Tensor) -> Tensor:
        for step in self.fused_steps:
            images = step(images, draws)
        size = (self.image_size, self.image_size)
        if images.shape[2:] != size:
            shrinks = self.image_size < images.shape[2]
            images = F.interpolate(floats(images), size, mode="bilinear", antialias=shrinks)
        return floats(images)


def _mix(keys: Array) -> Array:
    """Give one output of splitmix64 for each state: neighbouring states give unrelated numbers."""
    keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = keys ^ (keys >> np.uint64(31))
    return mixed


def _fuse(steps: Sequence[Step], columns: Sequence[slice]) -> list[FusedStep]:
    """Fuse geometric steps that follow one another; columns are the draws of each step."""
    fused: list[FusedStep] = []
    group: list[tuple[Geometric, slice]] = []
    for step, own in zip(steps, columns, strict=True):
        # A resize continues the border of its input, black or not, so that this border must be there.
        if group and (not isinstance(step, Geometric) or (step.resizes and any(earlier.fills for earlier, _ in group))):
            fused.append(_fuse_group(group))
            group = []
        if isinstance(step, Geometric):
            group.append((step, own))
        else:
            fused.append(partial(_paint, step, own))
    return [*fused, _fuse_group(group)] if group else fused


def _fuse_group(group: Sequence[tuple[Geometric, slice]]) -> FusedStep:
    symmetries = [(step, columns) for step, columns in group if isinstance(step, Symmetry)]
    return partial(_mirror, symmetries) if len(symmetries) == len(group) else Warp(group)


def _mirror(group: Sequence[tuple[Symmetry, slice]], images: Tensor, draws: Tensor) -> Tensor:
    for step, columns in group:
        images = step.move(images, draws[:, columns])
    return images


def _paint(step: Any, columns: slice, images: Tensor, draws: Tensor) -> Tensor:
    painted: Tensor = step(floats(images), draws[:, columns])
    return painted


_GEOMETRIC = (HorizontalFlip, VerticalFlip, D4, RandomRotate90, Affine, RandomResizedCrop, RandomCrop, Pad)
_PHOTOMETRIC = (RandomBrightnessContrast, ColorJitter, CoarseDropout)
_TRANSFORMS: dict[str, Callable[..., Step]] = {kind.__name__: kind for kind in (*_GEOMETRIC, *_PHOTOMETRIC)}


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
