"""Batches of a split, each made by one gather from mapped memory."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augment.albumentations import Augmentation
from datamodules.augment.batch import BatchAugmentation
from datamodules.images import Array, resize
from datamodules.samplers import Request
from datamodules.splits import Split


class BatchDataset(Dataset[dict[str, Any]]):
    """A split whose items are whole batches: one gather from mapped memory, not one Python call an image.

    Args:
        split: Images, labels and names.
        image_size: Side of the square images of a batch.
        augmentation: Augmentation of every image, before the resize; or of whole batches on the device, for which a
            batch carries the `draws`. None gathers the images as they are.

    Attributes:
        gpu: Device that keeps all images of the split from the first batch on, and on which batches are gathered.
    """

    def __init__(
        self, split: Split, image_size: int, augmentation: Augmentation | BatchAugmentation | None = None
    ) -> None:
        self.split = split
        self.image_size = image_size
        self.augmentation = augmentation
        self.gpu: torch.device | None = None

    @property
    def copies_only(self) -> bool:
        """True if making a batch is only a copy from memory; worker processes would then only slow it down."""
        if isinstance(self.augmentation, BatchAugmentation):
            return True
        return self.augmentation is None and self.split.images.shape[1] == self.image_size

    def __getitem__(self, request: Request) -> dict[str, Any]:
        epoch, indices, _ = request
        batch = self.without_images(request)
        if isinstance(self.augmentation, BatchAugmentation):
            batch["draws"] = self.augmentation.draws(epoch, indices)
        if self.gpu:
            images = self._on_gpu[batch["index"].to(self.gpu, non_blocking=True)]
        else:
            images = torch.from_numpy(self._gather(epoch, indices))
        # [B, H, W, C] in memory seen as [B, C, H, W]: already the channels_last layout.
        return {"image": images.permute(0, 3, 1, 2), **batch}

    def without_images(self, request: Request) -> dict[str, Any]:
        """Make a batch for whose images cached features stand in."""
        _, indices, rank_weight = request
        index = np.asarray(indices)
        label = torch.from_numpy(self.split.labels[index])
        return {"label": label, "index": torch.from_numpy(index), "rank_weight": rank_weight}

    @cached_property
    def _on_gpu(self) -> Tensor:
        return torch.from_numpy(self.split.images.array[self.split.rows]).to(self.gpu)

    def _gather(self, epoch: int, indices: Sequence[int]) -> Array:
        pixels: Array = self.split.images.array[self.split.rows[np.asarray(indices)]]
        if self.copies_only:
            return pixels
        return np.stack([self._prepare(image, epoch, index) for image, index in zip(pixels, indices, strict=True)])

    def _prepare(self, image: Array, epoch: int, index: int) -> Array:
        channels = image.shape[2]
        if isinstance(self.augmentation, Augmentation):
            image = self.augmentation(image, epoch, index)
        if image.shape[:2] != (self.image_size, self.image_size):
            image = resize(image, self.image_size, self.image_size)
        return image.reshape(self.image_size, self.image_size, channels)
