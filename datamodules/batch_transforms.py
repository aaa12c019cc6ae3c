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
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from datamodules.images import Array
from datamodules.transforms import Transform

Size = tuple[int, int]  # height, width
Interval = tuple[float, float]
Stage = Callable[[Tensor, Tensor], Tensor]  # images, draws -> images

# Pixels of a pass on the CPU: steps read what the one before left in the cache, and no step asks for fresh pages.
PIXELS_A_PASS = 2**17
CROP_ATTEMPTS = 10  # of albumentations' RandomResizedCrop, before it takes a centred crop


class BatchAugmentation:
    """A random pipeline over whole batches whose random numbers are a function of (seed, epoch, image).

    So two epochs differ, two runs agree, and neither workers, devices nor the composition of a batch change an image.

    Args:
        transforms: In order, as in the config; a `RandomResizedCrop` without a `size` gets `image_size`.
        seed: Of the training.
        image_size: Side of the square images that the network is given.

    Raises:
        MisconfigurationException: A transform or an argument that is not done on whole batches.
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
            images = F.interpolate(_floats(images), size, mode="bilinear", antialias=shrinks)
        return _floats(images)


def _mix(keys: Array) -> Array:
    """One output of splitmix64 for each state: neighbouring states give unrelated numbers."""
    keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = keys ^ (keys >> np.uint64(31))
    return mixed


def _floats(images: Tensor) -> Tensor:
    return images.float().div_(255) if images.dtype == torch.uint8 else images


# Steps: what each transform draws, and what it does.


class _Step:
    """A transform: `columns` random numbers an image, of which the first decides whether it is applied."""

    columns = 1

    def __init__(self, p: float) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p {p} is not in [0, 1]")
        self.p = p

    def applied(self, draws: Tensor) -> Tensor:
        """Whether it applies `[B]`."""
        return draws[:, 0] < self.p


class _Geometric(_Step):
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


class _Photometric(_Step):
    """A step that changes values."""

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Of float images `[B, C, H, W]` in [0, 1], which it may overwrite."""
        raise NotImplementedError


class _Symmetry(_Geometric):
    """One of the eight symmetries of a square."""

    transposes = False

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three `[B]` bool: whether x and y of the output are swapped; whether the input's x, y are mirrored."""
        raise NotImplementedError

    def output_size(self, size: Size) -> Size:
        if self.transposes and size[0] != size[1]:
            raise MisconfigurationException(f"data.augment: {type(self).__name__} needs square images, not {size}")
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


class _HorizontalFlip(_Symmetry):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        applied = self.applied(draws)
        never = torch.zeros_like(applied)
        return never, applied, never


class _VerticalFlip(_HorizontalFlip):
    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        never, applied, _ = super().symmetry(draws)
        return never, never, applied


class _D4(_Symmetry):
    columns = 2
    transposes = True

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p)

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        element = (draws[:, 1] * 8).long() * self.applied(draws)
        return (element & 1).bool(), (element & 2).bool(), (element & 4).bool()


class _RandomRotate90(_D4):
    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quarters = (draws[:, 1] * 4).long() * self.applied(draws)
        return (quarters & 1).bool(), (quarters == 1) | (quarters == 2), quarters >= 2


class _RandomCrop(_Geometric):
    columns = 3

    def __init__(self, height: int, width: int, p: float = 1.0) -> None:
        super().__init__(_always(p))
        self.height, self.width = height, width

    def output_size(self, size: Size) -> Size:
        if self.height > size[0] or self.width > size[1]:
            raise MisconfigurationException(
                f"data.augment: RandomCrop of {self.height} x {self.width} from images of {size[0]} x {size[1]}"
            )
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        left = (draws[:, 1] * (size[1] - self.width + 1)).floor()
        top = (draws[:, 2] * (size[0] - self.height + 1)).floor()
        one, zero = torch.ones_like(left), torch.zeros_like(left)
        return _matrix(one, zero, left, zero, one, top)


class _Pad(_Geometric):
    fills = True

    def __init__(self, padding: int | Sequence[int] = 0, fill: float = 0, p: float = 1.0) -> None:
        super().__init__(_always(p))
        _only("fill", fill, 0)
        pads = [padding] * 4 if isinstance(padding, int) else list(padding)
        if len(pads) not in (2, 4):
            raise ValueError(f"padding {padding} is not a number, [x, y] or [left, top, right, bottom]")
        self.left, self.top, self.right, self.bottom = pads * (4 // len(pads))

    def output_size(self, size: Size) -> Size:
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        zero = torch.zeros_like(draws[:, 0])
        return _matrix(zero + 1, zero, zero - self.left, zero, zero + 1, zero - self.top)


class _RandomResizedCrop(_Geometric):
    columns = 3 + 2 * CROP_ATTEMPTS
    interpolates = True
    resizes = True

    def __init__(
        self, size: Sequence[int], scale: Any = (0.08, 1.0), ratio: Any = (0.75, 4 / 3), p: float = 1.0
    ) -> None:
        super().__init__(p)
        self.height, self.width = size
        self.scale = _interval("scale", scale, least=0)
        self.ratio = _interval("ratio", ratio, least=1e-3)

    def output_size(self, size: Size) -> Size:
        return self.height, self.width

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        height, width = size
        first = 3 + CROP_ATTEMPTS
        area = _uniform(draws[:, 3:first], self.scale) * (height * width)
        ratio = _uniform(draws[:, first:], (math.log(self.ratio[0]), math.log(self.ratio[1]))).exp()
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


class _Affine(_Geometric):
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
        _only("fill", fill, 0)
        self.scale = _interval_xy("scale", scale, 1.0)
        self.translate = _interval_xy("translate_percent", translate_percent or 0.0, 0.0)
        self.shear = _interval_xy("shear", shear, 1.0)  # 1 degree on an axis left out is what albumentations has
        self.rotate = _interval("rotate", rotate)
        self.keep_ratio = keep_ratio

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        applied = self.applied(draws)

        def draw(column: int, interval: Interval, neutral: float) -> Tensor:
            return torch.where(applied, _uniform(draws[:, column], interval), neutral)

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


class _RandomBrightnessContrast(_Photometric):
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
        _only("brightness_by_max", brightness_by_max, True)
        _only("ensure_safe_range", ensure_safe_range, False)
        self.brightness = _interval("brightness_limit", brightness_limit, around=0)
        self.contrast = _interval("contrast_limit", contrast_limit, around=0)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        applied = self.applied(draws)
        factor = torch.where(applied, 1 + _uniform(draws[:, 1], self.contrast), 1)
        offset = torch.where(applied, _uniform(draws[:, 2], self.brightness), 0)
        return images.mul_(_each(factor)).add_(_each(offset)).clamp_(0, 1)


class _ColorJitter(_Photometric):
    """Brightness, contrast and saturation as one linear map, clipped at its end; then hue.

    albumentations draws their order for each image. Unless values are clipped in between, the first three give the
    same in any order, and hue commutes with brightness.
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
        self.brightness = _interval("brightness", brightness, around=1, least=0)
        self.contrast = _interval("contrast", contrast, around=1, least=0)
        self.saturation = _interval("saturation", saturation, around=1, least=0)
        self.hue = _interval("hue", hue, around=0)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise MisconfigurationException(
                f"data.augment: ColorJitter is for images of 1 or 3 channels, not {images.shape[1]}"
            )
        applied = self.applied(draws)
        brightness = torch.where(applied, _uniform(draws[:, 1], self.brightness), 1)
        contrast = torch.where(applied, _uniform(draws[:, 2], self.contrast), 1)
        grey = _grey(images)
        offset = brightness * (1 - contrast) * grey.mean((1, 2, 3))
        factor = brightness * contrast
        if images.shape[1] == 1:
            return images.mul_(_each(factor)).add_(_each(offset)).clamp_(0, 1)
        saturation = torch.where(applied, _uniform(draws[:, 3], self.saturation), 1)
        shared = grey.mul_(_each(factor * (1 - saturation))).add_(_each(offset))
        images = images.mul_(_each(factor * saturation)).add_(shared).clamp_(0, 1)
        if self.hue == (0, 0):
            return images
        return _turn_hue(images, torch.where(applied, _uniform(draws[:, 4], self.hue), 0))


class _CoarseDropout(_Photometric):
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
            raise _NotDoneError(f"fill {fill}", "fill with a number")
        self.fewest, self.most = int(num_holes_range[0]), int(num_holes_range[1])
        self.columns = 2 + 4 * self.most
        self.heights = _interval("hole_height_range", hole_height_range)
        self.widths = _interval("hole_width_range", hole_width_range)
        self.fill = float(fill)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        number = self.fewest + (draws[:, 1] * (self.most - self.fewest + 1)).floor()
        height, width, top, left = draws[:, 2:].reshape(-1, 4, self.most).unbind(1)  # [B, holes]
        in_pixels = self.heights[1] >= 1
        rows = _cover(images.shape[2], self.heights, in_pixels, height, top)
        columns = _cover(images.shape[3], self.widths, in_pixels, width, left)
        is_hole = torch.arange(self.most, device=draws.device) < torch.where(self.applied(draws), number, 0)[:, None]
        holes = (rows[..., :, None] & columns[..., None, :] & is_hole[..., None, None]).any(1)
        return images.masked_fill_(holes[:, None], self.fill / 255)


# What they share.


def _uniform(draws: Tensor, interval: Interval) -> Tensor:
    return interval[0] + (interval[1] - interval[0]) * draws


def _each(values: Tensor) -> Tensor:
    """One value an image, `[B]`, to be broadcast over `[B, C, H, W]`."""
    return values[:, None, None, None]


def _cover(side: int, interval: Interval, in_pixels: bool, draws: Tensor, places: Tensor) -> Tensor:
    """Which of the `side` places on an axis holes cover `[B, holes, side]`."""
    if in_pixels:
        low, high = int(interval[0]), int(min(interval[1], side))
        length = low + (draws * (high - low + 1)).floor()
    else:
        length = (side * _uniform(draws, interval)).floor()
    start = (places * (side + 1 - length)).floor()[..., None]
    pixel = torch.arange(side, device=draws.device)
    return (pixel >= start) & (pixel < start + length[..., None])


def _grey(images: Tensor) -> Tensor:
    """Luma `[B, 1, H, W]` in floats of their own."""
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV by a part of the circle `[B]`, keeping value and saturation; overwrites the images.

    With s = green - blue and r = max - red, both in units of the chroma, the hue in sixths of the circle from red is
    |s| next to red (r = 0), 1 + r beyond (|s| = 1) and 3 - |s| opposite (r = 1): in one formula |s| + r (3 - 2 |s|),
    with the sign of s. That costs a third of the textbook's cases.
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
    hue.add_(_each(turns * 6)).remainder_(6)
    torch.addcmul(low, torch.sub(hue, 3, out=s).abs_().sub_(1).clamp_(0, 1), chroma, out=red)
    torch.addcmul(low, torch.sub(hue, 2, out=s).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=green)
    torch.addcmul(low, torch.sub(hue, 4, out=s).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=blue)
    return images


# Geometric steps in a row: one matrix, one interpolation.


class _Warp:
    """Geometric steps in a row."""

    def __init__(self, row: Sequence[tuple[_Geometric, slice]]) -> None:
        self.row = row
        interpolating = [step for step, _ in row if step.interpolates]
        self.mode = "bilinear" if interpolating else "nearest"
        self.may_leave = bool(interpolating) and all(step.p < 1 for step in interpolating)
        first = next((place for place, (step, _) in enumerate(row) if step.fills), None)
        # Does the black begin where the images end? Then the interpolation itself puts it there.
        self.black_around = first is not None and all(isinstance(step, _Symmetry) for step, _ in row[:first])

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
        images = _floats(images)
        padding = "zeros" if self.black_around else "border"
        grid = _grid(matrix, sizes[0], sizes[-1])
        result = F.grid_sample(images, grid, self.mode, padding, align_corners=False)
        if self.may_leave and sizes[0] == sizes[-1]:  # unmoved is to be exact, and grid_sample rounds places by 1e-5
            unmoved = (matrix == torch.eye(2, 3, device=matrix.device)).all(2).all(1)
            result = torch.where(_each(unmoved), images, result)
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


def _stages(steps: Sequence[_Step], columns: Sequence[slice]) -> list[Stage]:
    stages: list[Stage] = []
    row: list[tuple[_Geometric, slice]] = []
    for step, own in zip(steps, columns, strict=True):
        if isinstance(step, _Geometric):
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


def _stage(row: Sequence[tuple[_Geometric, slice]]) -> Stage:
    symmetries = [(step, columns) for step, columns in row if isinstance(step, _Symmetry)]
    return partial(_mirror, symmetries) if len(symmetries) == len(row) else _Warp(row)


def _mirror(row: Sequence[tuple[_Symmetry, slice]], images: Tensor, draws: Tensor) -> Tensor:
    for step, columns in row:
        images = step.move(images, draws[:, columns])
    return images


def _paint(step: Any, columns: slice, images: Tensor, draws: Tensor) -> Tensor:
    painted: Tensor = step(_floats(images), draws[:, columns])
    return painted


# From the config.

_KINDS = (
    _HorizontalFlip,
    _VerticalFlip,
    _D4,
    _RandomRotate90,
    _Affine,
    _RandomResizedCrop,
    _RandomCrop,
    _Pad,
    _RandomBrightnessContrast,
    _ColorJitter,
    _CoarseDropout,
)
_TRANSFORMS: dict[str, Callable[..., _Step]] = {kind.__name__[1:]: kind for kind in _KINDS}


class _NotDoneError(Exception):
    """A value that albumentations knows and whole batches do not; says which are done."""


def _build(name: str, arguments: dict[str, Any], image_size: int) -> _Step:
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
    except _NotDoneError as error:
        raise _not_done(f"{name} with {error.args[0]}", error.args[1]) from None
    except (TypeError, ValueError) as error:
        raise MisconfigurationException(f"data.augment: {name}: {error}") from error


def _not_done(what: str, done: str) -> MisconfigurationException:
    return MisconfigurationException(
        f"data.augment: {what} is not done on whole batches ({done} are): pass --data.augment_with albumentations"
    )


def _only(argument: str, value: Any, done: Any) -> None:
    if value != done:
        raise _NotDoneError(f"{argument} {value}", f"{argument} {done} and all other arguments")


def _always(p: float) -> float:
    if p != 1:
        raise _NotDoneError(f"p {p}", "p 1, which leaves all images of one size, and all other arguments")
    return p


def _interval(argument: str, value: Any, around: float | None = None, least: float = -math.inf) -> Interval:
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


def _interval_xy(argument: str, value: Any, neutral: float) -> tuple[Interval, Interval]:
    """The same for both axes: one of them for each, or `{x: ..., y: ...}`."""
    if isinstance(value, dict):
        return _interval(argument, value.get("x", neutral)), _interval(argument, value.get("y", neutral))
    return _interval(argument, value), _interval(argument, value)
