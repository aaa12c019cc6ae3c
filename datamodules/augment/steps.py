"""Base classes of the transforms of a whole batch, and how their arguments are read."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

Size = tuple[int, int]  # height, width
Interval = tuple[float, float]


class NotDoneError(Exception):
    """A value that albumentations knows and whole batches do not; its second argument says which are done."""


class Step:
    """A transform of a whole batch.

    Attributes:
        columns: Random numbers an image, of which the first decides whether the transform is applied.
        p: Probability that it is applied.
    """

    columns = 1

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p {p} is not in [0, 1]")
        self.p = p

    def applied(self, draws: Tensor) -> Tensor:
        """Images that the transform is applied to: bool `[B]`."""
        return draws[:, 0] < self.p


class Geometric(Step):
    """A step that moves pixels, described by a matrix from the pixels of its output to those of its input.

    Attributes:
        interpolates: The matrix leads between pixels.
        resizes: The output has another size, and outside of the input its border continues.
        fills: Outside of the input the output is black.
    """

    interpolates = False
    resizes = False
    fills = False

    def output_size(self, size: Size) -> Size:
        """Size of the output, for an input of `size`."""
        return size

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix `[B, 2, 3]`: (x, y) in an input of `size` = matrix @ (x, y, 1) in the output."""
        raise NotImplementedError


class Photometric(Step):
    """A step that changes values."""

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Transform float images `[B, C, H, W]` in [0, 1], which may be overwritten."""
        raise NotImplementedError


def floats(images: Tensor) -> Tensor:
    """Convert uint8 to float32 in [0, 1]; floats stay as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def uniform(draws: Tensor, interval: Interval) -> Tensor:
    """Map draws in [0, 1) to an interval."""
    return interval[0] + (interval[1] - interval[0]) * draws


def each(values: Tensor) -> Tensor:
    """View one value an image, `[B]`, so that it broadcasts over `[B, C, H, W]`."""
    return values[:, None, None, None]


def matrix_of(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """Stack elements `[B]`, row by row, to `[B, 2, 3]`."""
    return torch.stack([a, b, c, d, e, f], 1).view(-1, 2, 3)


def only(argument: str, value: Any, done: Any) -> None:
    """Refuse a value of an argument that is not done on whole batches."""
    if value != done:
        raise NotDoneError(f"{argument} {value}", f"{argument} {done} and all other arguments")


def always(p: float) -> float:
    """Refuse a `p` under which images would get different sizes."""
    if p != 1:
        raise NotDoneError(f"p {p}", "p 1, which leaves all images of one size, and all other arguments")
    return p


def interval(argument: str, value: Any, around: float | None = None, least: float = -math.inf) -> Interval:
    """Read the interval of a uniform number.

    Args:
        argument: Name of the argument, for messages.
        value: `[low, high]`, or one number: that number alone, or the distance to both sides of `around`.
        around: Centre of the interval that one number stands for; None takes the number alone.
        least: Smallest number allowed.
    """
    if isinstance(value, Real):
        number = float(value)
        value = (number, number) if around is None else (max(least, around - abs(number)), around + abs(number))
    if not isinstance(value, Sequence) or len(value) != 2 or not all(isinstance(end, Real) for end in value):
        raise ValueError(f"{argument} {value} is not a number or [low, high]")
    low, high = map(float, value)
    if not least <= low <= high:
        limit = f" from {least:g} on" if least > -math.inf else ""
        raise ValueError(f"{argument} {[low, high]} is not [low, high]{limit}")
    return low, high


def interval_xy(argument: str, value: Any, neutral: float) -> tuple[Interval, Interval]:
    """Read the intervals of x and y: one for both, or `{x: ..., y: ...}`, where an absent axis is `neutral`."""
    if isinstance(value, dict):
        return interval(argument, value.get("x", neutral)), interval(argument, value.get("y", neutral))
    return interval(argument, value), interval(argument, value)
