from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

# What a dataset is asked for: the epoch, the places in the split of the images of one batch, and how many they are
# relative to the mean over the ranks (1.0 but in an uneven last step).
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
        self.start = 0  # the step at which the next epoch begins, after a checkpoint in its middle

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
        first, self.start = self.start, 0
        for step in range(first, len(self)):
            end = self.size if step == len(self) - 1 else (step + 1) * self.batch_size
            images = order[step * self.batch_size : end]
            mine = np.array_split(images, self.world)[self.rank]
            yield self.epoch, mine.tolist(), len(mine) * self.world / len(images)


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A loader over a `BatchSampler` that goes on where a checkpoint left it, whatever its workers had prepared.

    Lightning keeps its state in the checkpoint, and gives it back after it has told the sampler the epoch.
    """

    sampler: BatchSampler
    given = 0

    def __iter__(self) -> Any:
        """Count what is given away, not what is prepared."""
        self.given = self.sampler.start
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place of the next batch."""
        return {"epoch": self.sampler.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on in the middle of the epoch; at the end of one, the next begins as always."""
        if state["epoch"] == self.sampler.epoch:
            self.sampler.start = state["given"]
