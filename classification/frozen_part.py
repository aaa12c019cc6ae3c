"""The seam between a classifier and whoever computes its frozen stages for it."""

from typing import Protocol

from torch import Tensor


class FrozenPart(Protocol):
    """Stands in for a network during one phase, in which the first stages of the network are frozen.

    Attributes:
        features_computed: Number of training images whose features this process has computed for the phase. The
            features of the other images were in files.
    """

    features_computed: int

    @property
    def operations_saved(self) -> int:
        """Floating-point operations of an image that cached features save in a step."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of inputs of the network `[B, C, H, W]`."""

    def cached_logits(self, index: Tensor, split: str, epoch: int) -> Tensor:
        """Logits `[B, num_classes]` from cached features.

        Args:
            index: Indices of the images in their split `[B]`.
            split: Name of the split.
            epoch: Present epoch, which chooses among several augmented views of an image.
        """
