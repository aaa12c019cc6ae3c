"""Crops, borders and affine transforms of a whole batch, each described by one matrix an image."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from basics.errors import UserError
from datamodules.augment.steps import Geometric, Interval, Size, always, interval, interval_xy, matrix_of, only, uniform

CROP_ATTEMPTS = 10  # after as many, albumentations takes a centred crop


class RandomCrop(Geometric):
    """Cut out a random part of the given size."""

    columns = 3

    def __init__(self, height: int, width: int, p: float = 1.0) -> None:
        super().__init__(always(p))
        self.height = height
        self.width = width

    def output_size(self, size: Size) -> Size:
        """Size of the part, which must not exceed the image."""
        height, width = size
        if self.height > height or self.width > width:
            raise UserError(
                f"data.augment: RandomCrop of {self.height} x {self.width} from images of {height} x {width}"
            )
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix of a shift by the random corner."""
        left = (draws[:, 1] * (size[1] - self.width + 1)).floor()
        top = (draws[:, 2] * (size[0] - self.height + 1)).floor()
        zero = torch.zeros_like(left)
        return matrix_of(zero + 1, zero, left, zero, zero + 1, top)


class Pad(Geometric):
    """Add black borders."""

    fills = True

    def __init__(self, padding: int | Sequence[int] = 0, fill: float = 0, p: float = 1.0) -> None:
        super().__init__(always(p))
        only("fill", fill, 0)
        pads = [padding] * 4 if isinstance(padding, int) else list(padding)
        if len(pads) not in (2, 4):
            raise ValueError(f"padding {padding} is not a number, [x, y] or [left, top, right, bottom]")
        self.left, self.top, self.right, self.bottom = pads * (4 // len(pads))

    def output_size(self, size: Size) -> Size:
        """Size with the borders."""
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix of a shift by the left and the top border."""
        zero = torch.zeros_like(draws[:, 0])
        return matrix_of(zero + 1, zero, zero - self.left, zero, zero + 1, zero - self.top)


class RandomResizedCrop(Geometric):
    """Cut out a part of random area and shape, and resize it."""

    columns = 3 + 2 * CROP_ATTEMPTS
    interpolates = True
    resizes = True

    def __init__(
        self, size: Sequence[int], scale: Any = (0.08, 1.0), ratio: Any = (0.75, 4 / 3), p: float = 1.0
    ) -> None:
        super().__init__(p)
        self.height, self.width = size
        self.scale = interval("scale", scale, least=0)
        self.ratio = interval("ratio", ratio, least=1e-3)

    def output_size(self, size: Size) -> Size:
        """Size that all parts are resized to."""
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix of the first of the drawn parts that fits into the image."""
        height, width = size
        first = 3 + CROP_ATTEMPTS
        area = uniform(draws[:, 3:first], self.scale) * (height * width)
        ratio = uniform(draws[:, first:], (math.log(self.ratio[0]), math.log(self.ratio[1]))).exp()
        widths = (area * ratio).sqrt().round()
        heights = (area / ratio).sqrt().round()
        fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        any_fits = fits.any(1)
        attempt = fits.int().argmax(1, keepdim=True)  # the first that fits
        # If none fits: the largest centred crop whose ratio is allowed.
        centred_width = round(min(width, height * self.ratio[1]))
        centred_height = round(min(height, width / self.ratio[0]))
        w = torch.where(any_fits, widths.gather(1, attempt)[:, 0], centred_width)
        h = torch.where(any_fits, heights.gather(1, attempt)[:, 0], centred_height)
        left = torch.where(any_fits, ((width + 1 - w) * draws[:, 1]).floor(), (width - centred_width) // 2)
        top = torch.where(any_fits, ((height + 1 - h) * draws[:, 2]).floor(), (height - centred_height) // 2)
        applied = self.applied(draws)
        x = torch.where(applied, w, width) / self.width
        y = torch.where(applied, h, height) / self.height
        left = torch.where(applied, left, 0)
        top = torch.where(applied, top, 0)
        zero = torch.zeros_like(x)
        return matrix_of(x, zero, left + x / 2 - 0.5, zero, y, top + y / 2 - 0.5)


class Affine(Geometric):
    """Scale, shear and rotate about the centre, and shift by whole pixels."""

    columns = 8
    interpolates = True
    fills = True

    def __init__(
        self,
        scale: Any = 1.0,
        translate_percent: Any = 0.0,
        rotate: Any = 0.0,
        shear: Any = 0.0,
        keep_ratio: bool = False,
        fill: float = 0,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        only("fill", fill, 0)
        self.scale = interval_xy("scale", scale, 1.0)
        self.translate = interval_xy("translate_percent", translate_percent or 0.0, 0.0)
        self.shear = interval_xy("shear", shear, 1.0)  # 1 degree on an axis left out is what albumentations has
        self.rotate = interval("rotate", rotate)
        self.keep_ratio = keep_ratio

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix from the output to the input: the inverse of the transform."""
        applied = self.applied(draws)

        def draw(column: int, interval: Interval, neutral: float) -> Tensor:
            return torch.where(applied, uniform(draws[:, column], interval), neutral)

        # By whole pixels towards zero, so that of -2.4 to 2.4 pixels two fifths stay where they are.
        shift_x = (draw(1, self.translate[0], 0) * size[1]).trunc()
        shift_y = (draw(2, self.translate[1], 0) * size[0]).trunc()
        shear_x = -draw(3, self.shear[0], 0).deg2rad().tan()
        shear_y = -draw(4, self.shear[1], 0).deg2rad().tan()
        scale_x = draw(5, self.scale[0], 1)
        scale_y = scale_x if self.keep_ratio else draw(6, self.scale[1], 1)
        angle = draw(7, self.rotate, 0).deg2rad()
        cos = angle.cos()
        sin = angle.sin()
        # From input to output, about the centre: shear @ rotation @ scale, then the shift.
        a = (cos - shear_x * sin) * scale_x
        b = (sin + shear_x * cos) * scale_y
        c = (shear_y * cos - sin) * scale_x
        d = (shear_y * sin + cos) * scale_y
        determinant = a * d - b * c
        a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
        x = (size[1] - 1) / 2
        y = (size[0] - 1) / 2
        return matrix_of(
            a, b, x - a * (x + shift_x) - b * (y + shift_y), c, d, y - c * (x + shift_x) - d * (y + shift_y)
        )
