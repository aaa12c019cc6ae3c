"""What a transform of a whole batch is, and how its arguments are read."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

Size = tuple[int, int]  # height, width
Interval = tuple[float, float]


class NotDoneError(Exception):
    """A value that albumentations knows and whole batches do not; says which are done."""


class Step:
    """A transform: `columns` random numbers an image, of which the first decides whether it is applied."""

    columns = 1

    def __init__(self, p: float) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p {p} is not in [0, 1]")
        self.p = p

    def applied(self, draws: Tensor) -> Tensor:
        """Whether it applies `[B]`."""
        return draws[:, 0] < self.p


class Geometric(Step):
    """A step that moves pixels, described by a matrix from the pixels of its output to those of its input."""

    interpolates = False  # its matrix leads between pixels
    resizes = False  # and what lies outside of its input continues the border
    fills = False  # what lies outside of its input is black

    def output_size(self, size: Size) -> Size:
        """Of its output, for an input of `size`."""
        return size

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """`[B, 2, 3]`: (x, y) in an input of `size` = matrix @ (x, y, 1) in the output."""
        raise NotImplementedError


class Photometric(Step):
    """A step that changes values."""

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Of float images `[B, C, H, W]` in [0, 1], which it may overwrite."""
        raise NotImplementedError


def floats(images: Tensor) -> Tensor:
    """uint8 becomes float32 in [0, 1]; floats stay."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def uniform(draws: Tensor, interval: Interval) -> Tensor:
    """From draws in [0, 1) to an interval."""
    return interval[0] + (interval[1] - interval[0]) * draws


def each(values: Tensor) -> Tensor:
    """One value an image, `[B]`, to be broadcast over `[B, C, H, W]`."""
    return values[:, None, None, None]


def only(argument: str, value: Any, done: Any) -> None:
    """Refuse a value of an argument that whole batches do not have."""
    if value != done:
        raise NotDoneError(f"{argument} {value}", f"{argument} {done} and all other arguments")


def always(p: float) -> float:
    """Refuse a `p` under which images would get different sizes."""
    if p != 1:
        raise NotDoneError(f"p {p}", "p 1, which leaves all images of one size, and all other arguments")
    return p


def interval(argument: str, value: Any, around: float | None = None, least: float = -math.inf) -> Interval:
    """What a uniform number is drawn from: `[low, high]`, or one number, alone or to both sides of `around`."""
    if isinstance(value, Real):
        number = float(value)
        value = (number, number) if around is None else (max(least, around - abs(number)), around + abs(number))
    if not isinstance(value, Sequence) or len(value) != 2 or not all(isinstance(end, Real) for end in value):
        raise ValueError(f"{argument} {value} is not a number or [low, high]")
    low, high = float(value[0]), float(value[1])
    if not least <= low <= high:
        raise ValueError(
            f"{argument} {[low, high]} is not [low, high]" + (f" from {least:g} on" if least > -math.inf else "")
        )
    return low, high


def interval_xy(argument: str, value: Any, neutral: float) -> tuple[Interval, Interval]:
    """The same for both axes: one of them for each, or `{x: ..., y: ...}`."""
    if isinstance(value, dict):
        return interval(argument, value.get("x", neutral)), interval(argument, value.get("y", neutral))
    return interval(argument, value), interval(argument, value)
