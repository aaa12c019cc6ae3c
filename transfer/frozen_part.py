"""The stand-in for a network in training while its first stages are frozen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from classification import FrozenPart
from classification.cost import pass_flops
from transfer.features import Features, Part
from transfer.prefix import FrozenPrefix


@dataclass
class PrefixPart(FrozenPart):
    """The frozen prefix of one phase, and its features if they are cached.

    Attributes:
        prefix: The network in two parts.
        weights: Checksum of the frozen weights that the prefix was copied from.
        shape: Shape of an input of the network `[C, H, W]`.
        features: Cached features by split and augmented view; empty if nothing is cached.
        views: Number of augmented views of an image, taken in turns; 0 if images are not augmented.
        features_computed: Number of training images whose features this process has computed for the phase.
    """

    prefix: FrozenPrefix
    weights: str
    shape: Sequence[int]
    features: dict[Part, Features] = field(default_factory=dict)
    views: int = 0
    features_computed: int = 0

    @cached_property
    def operations_saved(self) -> int:
        """Operations of the frozen prefix for one image."""
        return pass_flops(self.prefix.frozen, self.shape)[0]

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of inputs of the network `[B, C, H, W]`."""
        return self.prefix.logits(self.prefix.features(inputs))

    def cached_logits(self, index: Tensor, split: str, epoch: int) -> Tensor:
        """Logits `[B, num_classes]` of images by their indices in a split `[B]`, from cached features."""
        view = None if (split, None) in self.features else epoch % self.views
        return self.prefix.logits(self.features[split, view][index])
