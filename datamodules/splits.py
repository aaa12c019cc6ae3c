"""Splits of a data set: what one is, and how rows are split in proportion to the classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.images import Array, MappedImages

PARTS = ("train", "val", "test")


@dataclass
class Split:
    """A part of a data set: rows of `images`, their labels and names."""

    images: MappedImages
    rows: Array
    labels: Array
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, indices: Array) -> "Split":
        """Choose images of the split by their indices in it."""
        return Split(self.images, self.rows[indices], self.labels[indices], [self.names[index] for index in indices])


def stratified_split(labels: Array, sizes: Sequence[int], seed: int) -> list[Array]:
    """Cut rows into parts of given sizes, each with the classes in the proportion of the whole.

    Args:
        labels: Labels of all rows `[N]`.
        sizes: Rows of each part; they add up to N.
        seed: Seed of the choice.

    Returns:
        The rows of each part, ascending.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    # Rows of a class spread evenly over [0, 1): cutting that line anywhere keeps the proportions.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        position[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    order = np.argsort(position, kind="stable")
    return [np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])]


def stratified_part(split: Split, fraction: float, seed: int) -> Split:
    """Choose a fraction of a split, at least one image, with the classes in its proportions."""
    count = max(1, round(fraction * len(split)))
    chosen, _ = stratified_split(split.labels, [count, len(split) - count], seed)
    return split.part(chosen)
