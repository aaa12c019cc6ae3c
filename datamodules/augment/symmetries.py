"""Flips and quarter turns of a whole batch, which move pixels without interpolating them."""

import torch
from torch import Tensor

from basics.errors import UserError
from datamodules.augment.steps import Geometric, Size, each, matrix_of


class Symmetry(Geometric):
    """One of the eight symmetries of a square."""

    transposes = False

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three bool `[B]`: swap x and y of the output, mirror x of the input, mirror y of the input."""
        raise NotImplementedError

    def output_size(self, size: Size) -> Size:
        """Size of the input, which must be square if x and y may be swapped."""
        if self.transposes and size[0] != size[1]:
            raise UserError(f"data.augment: {type(self).__name__} needs square images, not {size}")
        return size

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Matrix of the swap and the mirrors."""
        swap, mirror_x, mirror_y = (flag.float() for flag in self.symmetry(draws))
        sign_x = 1 - 2 * mirror_x
        sign_y = 1 - 2 * mirror_y
        x = (sign_x * (1 - swap), sign_x * swap, mirror_x * (size[1] - 1))
        y = (sign_y * swap, sign_y * (1 - swap), mirror_y * (size[0] - 1))
        return matrix_of(*x, *y)

    def move(self, images: Tensor, draws: Tensor) -> Tensor:
        """Swap and mirror images `[B, C, H, W]` by choosing among copies, which is exact and needs no floats."""
        self.output_size((images.shape[2], images.shape[3]))
        swap, mirror_x, mirror_y = (each(flag) for flag in self.symmetry(draws))
        images = torch.where(mirror_x, images.flip(3), images)
        images = torch.where(mirror_y, images.flip(2), images)
        return torch.where(swap, images.mT, images) if self.transposes else images


class HorizontalFlip(Symmetry):
    """Mirror left and right."""

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mirror x."""
        applied = self.applied(draws)
        never = torch.zeros_like(applied)
        return never, applied, never


class VerticalFlip(HorizontalFlip):
    """Mirror top and bottom."""

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mirror y."""
        never, applied, _ = super().symmetry(draws)
        return never, never, applied


class D4(Symmetry):
    """Apply one of all eight symmetries."""

    columns = 2
    transposes = True

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p)

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one of eight numbers, whose three bits are the swap and the mirrors."""
        element = (draws[:, 1] * 8).long() * self.applied(draws)
        return (element & 1).bool(), (element & 2).bool(), (element & 4).bool()


class RandomRotate90(D4):
    """Turn by 0 to 3 quarters of the circle."""

    def symmetry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Express the quarter turns by a swap and mirrors."""
        quarters = (draws[:, 1] * 4).long() * self.applied(draws)
        return (quarters & 1).bool(), (quarters == 1) | (quarters == 2), quarters >= 2
