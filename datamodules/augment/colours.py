"""Transforms of a whole batch that change values: brightness, colours, holes."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from basics.errors import UserError
from datamodules.augment.steps import Interval, NotDoneError, Photometric, each, interval, only, uniform


class RandomBrightnessContrast(Photometric):
    """Apply one linear map to the values, and clip."""

    columns = 3

    def __init__(
        self,
        brightness_limit: Any = (-0.2, 0.2),
        contrast_limit: Any = (-0.2, 0.2),
        brightness_by_max: bool = True,
        ensure_safe_range: bool = False,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        only("brightness_by_max", brightness_by_max, True)
        only("ensure_safe_range", ensure_safe_range, False)
        self.brightness = interval("brightness_limit", brightness_limit, around=0)
        self.contrast = interval("contrast_limit", contrast_limit, around=0)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Brighten float images `[B, C, H, W]`, in place."""
        applied = self.applied(draws)
        factor = torch.where(applied, 1 + uniform(draws[:, 1], self.contrast), 1)
        offset = torch.where(applied, uniform(draws[:, 2], self.brightness), 0)
        return images.mul_(each(factor)).add_(each(offset)).clamp_(0, 1)


class ColorJitter(Photometric):
    """Change brightness, contrast and saturation by one linear map, clip, then turn the hue.

    albumentations draws the order of the four for each image. Unless values are clipped in between, the order of the
    first three does not matter, and hue commutes with brightness.
    """

    columns = 5

    def __init__(
        self,
        brightness: Any = (0.8, 1.2),
        contrast: Any = (0.8, 1.2),
        saturation: Any = (0.8, 1.2),
        hue: Any = (-0.5, 0.5),
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        self.brightness = interval("brightness", brightness, around=1, least=0)
        self.contrast = interval("contrast", contrast, around=1, least=0)
        self.saturation = interval("saturation", saturation, around=1, least=0)
        self.hue = interval("hue", hue, around=0)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change the colours of float images `[B, 1 or 3, H, W]`, in place."""
        if images.shape[1] not in (1, 3):
            raise UserError(f"data.augment: ColorJitter is for images of 1 or 3 channels, not {images.shape[1]}")
        applied = self.applied(draws)
        brightness = torch.where(applied, uniform(draws[:, 1], self.brightness), 1)
        contrast = torch.where(applied, uniform(draws[:, 2], self.contrast), 1)
        grey = _grey(images)
        offset = brightness * (1 - contrast) * grey.mean((1, 2, 3))
        factor = brightness * contrast
        if images.shape[1] == 1:
            return images.mul_(each(factor)).add_(each(offset)).clamp_(0, 1)
        saturation = torch.where(applied, uniform(draws[:, 3], self.saturation), 1)
        shared = grey.mul_(each(factor * (1 - saturation))).add_(each(offset))
        images = images.mul_(each(factor * saturation)).add_(shared).clamp_(0, 1)
        if self.hue == (0, 0):
            return images
        return _turn_hue(images, torch.where(applied, uniform(draws[:, 4], self.hue), 0))


class CoarseDropout(Photometric):
    """Cover rectangles with one value."""

    def __init__(
        self,
        num_holes_range: Sequence[int] = (1, 2),
        hole_height_range: Any = (0.1, 0.2),
        hole_width_range: Any = (0.1, 0.2),
        fill: Any = 0,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        if not isinstance(fill, Real):
            raise NotDoneError(f"fill {fill}", "fill with a number")
        self.fewest = int(num_holes_range[0])
        self.most = int(num_holes_range[1])
        self.columns = 2 + 4 * self.most
        self.heights = interval("hole_height_range", hole_height_range)
        self.widths = interval("hole_width_range", hole_width_range)
        self.fill = float(fill)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cover holes of float images `[B, C, H, W]`, in place."""
        number = self.fewest + (draws[:, 1] * (self.most - self.fewest + 1)).floor()
        height, width, top, left = draws[:, 2:].reshape(-1, 4, self.most).unbind(1)  # [B, holes]
        in_pixels = self.heights[1] >= 1
        rows = _cover(images.shape[2], self.heights, in_pixels, height, top)
        columns = _cover(images.shape[3], self.widths, in_pixels, width, left)
        is_hole = torch.arange(self.most, device=draws.device) < torch.where(self.applied(draws), number, 0)[:, None]
        holes = (rows[..., :, None] & columns[..., None, :] & is_hole[..., None, None]).any(1)
        return images.masked_fill_(holes[:, None], self.fill / 255)


def _cover(side: int, interval: Interval, in_pixels: bool, draws: Tensor, starts: Tensor) -> Tensor:
    """Mark the pixels of an axis that holes cover: bool `[B, holes, side]`.

    Args:
        side: Pixels of the axis.
        interval: Lengths of the holes, in pixels or as fractions of the side.
        in_pixels: Unit of the lengths.
        draws: Draws of the lengths `[B, holes]`.
        starts: Draws of the first pixels `[B, holes]`.
    """
    if in_pixels:
        low = int(interval[0])
        high = int(min(interval[1], side))
        length = low + (draws * (high - low + 1)).floor()
    else:
        length = (side * uniform(draws, interval)).floor()
    start = (starts * (side + 1 - length)).floor()[..., None]
    pixel = torch.arange(side, device=draws.device)
    return (pixel >= start) & (pixel < start + length[..., None])


def _grey(images: Tensor) -> Tensor:
    """Luma `[B, 1, H, W]` in memory of its own."""
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV by a fraction of the circle `[B]`, keeping value and saturation; overwrites the images.

    With s = green - blue and r = max - red, both in units of the chroma, the hue in sixths of the circle from red is
    |s| next to red (r = 0), 1 + r beyond (|s| = 1) and 3 - |s| opposite (r = 1): in one formula |s| + r (3 - 2 |s|),
    with the sign of s. This costs a third of the time of the textbook's six cases.
    """
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    # In place throughout: touching fresh memory takes longer than the arithmetic.
    r = torch.maximum(red, green)
    torch.maximum(r, blue, out=r)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    chroma = r - low
    hue = chroma.clamp(min=1e-8).reciprocal_()
    s = (green - blue).mul_(hue)
    r.sub_(red).mul_(hue)
    distance = s.abs()
    torch.addcmul(distance, r, distance, value=-2, out=hue).add_(r, alpha=3).copysign_(s)
    hue.add_(each(turns * 6)).remainder_(6)
    torch.addcmul(low, torch.sub(hue, 3, out=s).abs_().sub_(1).clamp_(0, 1), chroma, out=red)
    torch.addcmul(low, torch.sub(hue, 2, out=s).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=green)
    torch.addcmul(low, torch.sub(hue, 4, out=s).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=blue)
    return images
