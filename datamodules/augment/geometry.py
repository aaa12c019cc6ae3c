"""Transforms of a whole batch that move pixels: those in a row are one matrix an image and one interpolation."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.errors import UserError
from datamodules.augment.steps import (
    Geometric,
    Interval,
    Size,
    always,
    each,
    floats,
    interval,
    interval_xy,
    only,
    uniform,
)

CROP_ATTEMPTS = 10  # of albumentations' RandomResizedCrop, before it takes a centred crop


class Symmetry(Geometric):
    """One of the eight symmetries of a square."""

    transposes = False

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three `[B]` bool: whether x and y of the output are swapped; whether the input's x, y are mirrored."""
        raise NotImplementedError

    def output_size(self, size: Size) -> Size:
        if self.transposes and size[0] != size[1]:
            raise UserError(f"data.augment: {type(self).__name__} needs square images, not {size}")
        return size

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        swap, mirror_x, mirror_y = (flag.float() for flag in self.symmetry(draws))
        sign_x, sign_y = 1 - 2 * mirror_x, 1 - 2 * mirror_y
        x = (sign_x * (1 - swap), sign_x * swap, mirror_x * (size[1] - 1))
        y = (sign_y * swap, sign_y * (1 - swap), mirror_y * (size[0] - 1))
        return _matrix(*x, *y)

    def move(self, images: Tensor, draws: Tensor) -> Tensor:
        """The same by choosing among mirrored images `[B, C, H, W]`, which is exact and needs no floats."""
        self.output_size((images.shape[2], images.shape[3]))
        swap, mirror_x, mirror_y = (flag[:, None, None, None] for flag in self.symmetry(draws))
        images = torch.where(mirror_x, images.flip(3), images)
        images = torch.where(mirror_y, images.flip(2), images)
        return torch.where(swap, images.mT, images) if self.transposes else images


class HorizontalFlip(Symmetry):
    """Mirrors left and right."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        applied = self.applied(draws)
        never = torch.zeros_like(applied)
        return never, applied, never


class VerticalFlip(HorizontalFlip):
    """Mirrors top and bottom."""

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        never, applied, _ = super().symmetry(draws)
        return never, never, applied


class D4(Symmetry):
    """One of all eight symmetries."""

    columns = 2
    transposes = True

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p)

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        element = (draws[:, 1] * 8).long() * self.applied(draws)
        return (element & 1).bool(), (element & 2).bool(), (element & 4).bool()


class RandomRotate90(D4):
    """0 to 3 quarter turns."""

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quarters = (draws[:, 1] * 4).long() * self.applied(draws)
        return (quarters & 1).bool(), (quarters == 1) | (quarters == 2), quarters >= 2


class RandomCrop(Geometric):
    """A part of the given size."""

    columns = 3

    def __init__(self, height: int, width: int, p: float = 1.0) -> None:
        super().__init__(always(p))
        self.height, self.width = height, width

    def output_size(self, size: Size) -> Size:
        if self.height > size[0] or self.width > size[1]:
            raise UserError(
                f"data.augment: RandomCrop of {self.height} x {self.width} from images of {size[0]} x {size[1]}"
            )
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        left = (draws[:, 1] * (size[1] - self.width + 1)).floor()
        top = (draws[:, 2] * (size[0] - self.height + 1)).floor()
        one, zero = torch.ones_like(left), torch.zeros_like(left)
        return _matrix(one, zero, left, zero, one, top)


class Pad(Geometric):
    """Black beside the image."""

    fills = True

    def __init__(self, padding: int | Sequence[int] = 0, fill: float = 0, p: float = 1.0) -> None:
        super().__init__(always(p))
        only("fill", fill, 0)
        pads = [padding] * 4 if isinstance(padding, int) else list(padding)
        if len(pads) not in (2, 4):
            raise ValueError(f"padding {padding} is not a number, [x, y] or [left, top, right, bottom]")
        self.left, self.top, self.right, self.bottom = pads * (4 // len(pads))

    def output_size(self, size: Size) -> Size:
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        zero = torch.zeros_like(draws[:, 0])
        return _matrix(zero + 1, zero, zero - self.left, zero, zero + 1, zero - self.top)


class RandomResizedCrop(Geometric):
    """A part of random area and shape, resized."""

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
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        height, width = size
        first = 3 + CROP_ATTEMPTS
        area = uniform(draws[:, 3:first], self.scale) * (height * width)
        ratio = uniform(draws[:, first:], (math.log(self.ratio[0]), math.log(self.ratio[1]))).exp()
        widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        any_fits, attempt = fits.any(1), fits.int().argmax(1, keepdim=True)  # the first that does
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
        left, top = torch.where(applied, left, 0), torch.where(applied, top, 0)
        zero = torch.zeros_like(x)
        return _matrix(x, zero, left + x / 2 - 0.5, zero, y, top + y / 2 - 0.5)


class Affine(Geometric):
    """Scale, shear, rotation about the centre and a shift by whole pixels."""

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
        cos, sin = angle.cos(), angle.sin()
        # From input to output, about the centre: shear @ rotation @ scale, then the shift.
        a, b = (cos - shear_x * sin) * scale_x, (sin + shear_x * cos) * scale_y
        c, d = (shear_y * cos - sin) * scale_x, (shear_y * sin + cos) * scale_y
        determinant = a * d - b * c
        a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
        x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
        return _matrix(a, b, x - a * (x + shift_x) - b * (y + shift_y), c, d, y - c * (x + shift_x) - d * (y + shift_y))


class Warp:
    """Geometric steps in a row."""

    def __init__(self, row: Sequence[tuple[Geometric, slice]]) -> None:
        self.row = row
        interpolating = [step for step, _ in row if step.interpolates]
        self.mode = "bilinear" if interpolating else "nearest"
        self.may_leave = bool(interpolating) and all(step.p < 1 for step in interpolating)
        first = next((place for place, (step, _) in enumerate(row) if step.fills), None)
        # Does the black begin where the images end? Then the interpolation itself puts it there.
        self.black_around = first is not None and all(isinstance(step, Symmetry) for step, _ in row[:first])

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        sizes = [(images.shape[2], images.shape[3])]
        for step, _ in self.row:
            sizes.append(step.output_size(sizes[-1]))
        matrix: Tensor | None = None  # from the output of the last step to the input of `step`
        black_outside = []
        for (step, columns), size in reversed(list(zip(self.row, sizes, strict=False))):
            own = step.matrix(draws[:, columns], size)
            matrix = own if matrix is None else _compose(own, matrix)
            if step.fills:
                black_outside.append((matrix, size))
        assert matrix is not None
        if self.black_around:
            black_outside.pop()
        images = floats(images)
        padding = "zeros" if self.black_around else "border"
        grid = _grid(matrix, sizes[0], sizes[-1])
        result = F.grid_sample(images, grid, self.mode, padding, align_corners=False)
        if self.may_leave and sizes[0] == sizes[-1]:  # unmoved is to be exact, and grid_sample rounds places by 1e-5
            unmoved = (matrix == torch.eye(2, 3, device=matrix.device)).all(2).all(1)
            result = torch.where(each(unmoved), images, result)
        for frame, size in black_outside:
            result.mul_(_inside(frame, size, sizes[-1])[:, None])
        return result


def _places(matrix: Tensor, size: Size) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Where pixels of an output of `size` come from: for x and for y, a part `[B, H, 1]` and one `[B, 1, W]` to add."""
    column = matrix[:, :, :1] * torch.arange(size[1], device=matrix.device)
    row = matrix[:, :, 1:2] * torch.arange(size[0], device=matrix.device) + matrix[:, :, 2:]
    return (row[:, 0, :, None], column[:, 0, None]), (row[:, 1, :, None], column[:, 1, None])


def _grid(matrix: Tensor, input_size: Size, output_size: Size) -> Tensor:
    """The grid `[B, H, W, 2]` of grid_sample: as affine_grid gives it, in a tenth of the time and never in TF32."""
    grid = matrix.new_empty(len(matrix), *output_size, 2)
    for axis, (row, column) in enumerate(_places(matrix, output_size)):
        side = input_size[1 - axis]
        torch.add((2 * row + 1) / side - 1, column * (2 / side), out=grid[..., axis])
    return grid


def _inside(matrix: Tensor, frame: Size, output_size: Size) -> Tensor:
    """How much of each pixel of the output lies within a frame of its history `[B, H, W]`.

    It is the interpolation of an image that is 1 in the frame and 0 outside: 1 up to the last pixels' centres, from
    there down to 0 at a pixel's distance.
    """
    parts = []
    for axis, (row, column) in enumerate(_places(matrix, output_size)):
        side = frame[1 - axis]
        parts.append(((row - (side - 1) / 2) + column).abs_().neg_().add_((side + 1) / 2).clamp_(0, 1))
    return parts[0].mul_(parts[1])


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    return torch.stack([a, b, c, d, e, f], 1).view(-1, 2, 3)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """`outer` after `inner`, both `[B, 2, 3]`.

    Not by a matrix product: on GPUs that may run in TF32, whose 11 bits are an error of 0.1 pixels in 224.
    """
    product = (outer[:, :, :2, None] * inner[:, None]).sum(2)
    product[:, :, 2] += outer[:, :, 2]
    return product
