"""Batches as a function of (seed, epoch, step), and loaders that resume in the middle of an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

# One batch as a dataset is asked for it: the epoch, the indices of its images in the split, and its rank weight: the
# number of these images over the mean of all ranks, 1.0 unless the last step is uneven.
Request = tuple[int, list[int], float]


class BatchSampler(Sampler[Request]):
    """Batches as a function of (seed, epoch, step), the same images a step whatever the number of devices.

    Training: the epoch's order is cut into global batches, and each rank takes its equal part of every one, so that 2
    devices with 16 images take the steps of 1 device with 32. Every image is seen once an epoch; a last batch too
    small to give each rank two images (batch norm needs them) is joined to the one before.

    Evaluation: no shuffling and no padding. Lightning's default sampler repeats images until the ranks are even, and
    so counts them twice (101 images on 2 ranks: accuracy 0.0196 instead of 0.0099).

    Args:
        size: Number of images of the split.
        batch_size: Images of a global batch, over all ranks.
        rank: Rank of this process.
        world: Number of processes; must divide `batch_size`.
        seed: Seed of the order; None keeps the order of the split (evaluation).
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1, seed: int | None = None) -> None:
        self.size = size
        self.batch_size = batch_size
        self.rank = rank
        self.world = world
        self.seed = seed
        self.epoch = 0
        self.start = 0  # first step, after a checkpoint in the middle of the epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is None:
            mine = len(range(self.rank, self.size, self.world))
            return -(-mine // (self.batch_size // self.world))
        steps, rest = divmod(self.size, self.batch_size)
        if rest >= 2 * self.world:
            steps += 1
        return max(1, steps)

    def __iter__(self) -> Iterator[Request]:
        if self.seed is None:
            mine = np.arange(self.rank, self.size, self.world)
            for start in range(0, len(mine), self.batch_size // self.world):
                yield self.epoch, mine[start : start + self.batch_size // self.world].tolist(), 1.0
            return
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for step in range(self.start, len(self)):
            end = self.size if step == len(self) - 1 else (step + 1) * self.batch_size
            images = order[step * self.batch_size : end]
            mine = np.array_split(images, self.world)[self.rank]
            yield self.epoch, mine.tolist(), len(mine) * self.world / len(images)


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A loader over a `BatchSampler` that leaves out the batches of its epoch that were trained before a checkpoint.

    Args:
        args: Arguments of `DataLoader`.
        done: Function that gives the number of batches to leave out; it is called when the first batch is asked for.
        with_images: Function that says, at the same time, if the batches have their images.
        rest: Further arguments of `DataLoader`.
    """

    sampler: BatchSampler

    def __init__(
        self, *args: Any, done: Callable[[], int], with_images: Callable[[], bool] = lambda: True, **rest: Any
    ) -> None:
        super().__init__(*args, **rest)
        self.done = done
        self.with_images = with_images

    def __iter__(self) -> Any:
        """Prepare nothing before the first batch is asked for: until then Lightning may change the epoch."""
        self.sampler.start = self.done()
        if self.with_images():
            yield from super().__iter__()
        else:  # there is nothing that workers could prepare
            dataset: Any = self.dataset
            yield from map(dataset.without_images, self.sampler)

    def state_dict(self) -> dict[str, int]:
        """Give nothing: the trainer's progress says it. Lightning resumes only loaders that have this method."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Do nothing; Lightning leaves this call out anyway once the number of steps was asked for."""
