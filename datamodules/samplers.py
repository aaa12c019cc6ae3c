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
        rank: Of this process.
        world: Number of processes; must divide `batch_size`.
        seed: Of the order; None keeps the order of the split (evaluation).
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1, seed: int | None = None) -> None:
        self.size, self.batch_size, self.rank, self.world, self.seed = size, batch_size, rank, world, seed
        self.epoch = 0
        self.start = 0  # the step at which it begins, after a checkpoint in the middle of the epoch

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is None:
            mine = len(range(self.rank, self.size, self.world))
            return -(-mine // (self.batch_size // self.world))
        whole, rest = divmod(self.size, self.batch_size)
        return max(1, whole + (rest >= 2 * self.world))

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
        done: Says, when the first batch is asked for, how many those are.
        with_images: Says, at the same time, whether the batches are to have their images.
        rest: As in `DataLoader`.
    """

    sampler: BatchSampler

    def __init__(
        self, *args: Any, done: Callable[[], int], with_images: Callable[[], bool] = lambda: True, **rest: Any
    ) -> None:
        super().__init__(*args, **rest)
        self.done, self.with_images = done, with_images

    def __iter__(self) -> Any:
        """Nothing is prepared before the first batch is asked for: until then Lightning may change the epoch."""
        self.sampler.start = self.done()
        if self.with_images():
            yield from super().__iter__()
        else:  # there is nothing that workers could prepare
            dataset: Any = self.dataset
            yield from map(dataset.without_images, self.sampler)

    def state_dict(self) -> dict[str, int]:
        """Nothing: the trainer's progress says it. That there is this method tells Lightning that it can resume."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing to do; Lightning leaves it out anyway once the number of steps was asked for."""
