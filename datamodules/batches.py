from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augment.albumentations import Augmentation
from datamodules.augment.batch import BatchAugmentation
from datamodules.images import Array, Split, resize
from datamodules.samplers import Request


class BatchDataset(Dataset[dict[str, Any]]):
    """A split whose items are whole batches: one gather from mapped memory, not one Python call an image.

    Args:
        split: Images, labels and names.
        image_size: Side of the square images it gives.
        augmentation: Applied to every image, before the resize, or to whole batches on the device, for which a batch
            carries the `draws`; None gathers the images as they are.
        gpu: Keeps all images of the split from the first batch on, which are gathered there.
    """

    def __init__(
        self,
        split: Split,
        image_size: int,
        augmentation: Augmentation | BatchAugmentation | None = None,
        gpu: torch.device | None = None,
    ) -> None:
        self.split, self.image_size, self.augmentation, self.gpu = split, image_size, augmentation, gpu

    @property
    def copies_only(self) -> bool:
        """Whether a batch is a mere copy: the processes that do it otherwise would only be in the way."""
        if isinstance(self.augmentation, BatchAugmentation):
            return True
        return self.augmentation is None and self.split.images.shape[1] == self.image_size

    def __getitem__(self, request: Request) -> dict[str, Any]:
        epoch, places, _ = request
        batch = self.without_images(request)
        if isinstance(self.augmentation, BatchAugmentation):
            batch["draws"] = self.augmentation.draws(epoch, places)
        if self.gpu:
            images = self._on_gpu[batch["index"].to(self.gpu, non_blocking=True)]
        else:
            images = torch.from_numpy(self._gather(batch["index"].numpy(), epoch, places))
        # [B, H, W, C] in memory seen as [B, C, H, W]: already the channels_last layout.
        return {"image": images.permute(0, 3, 1, 2), **batch}

    @cached_property
    def _on_gpu(self) -> Tensor:
        return torch.from_numpy(self.split.images.array[self.split.rows]).to(self.gpu)

    def _gather(self, index: Array, epoch: int, places: Sequence[int]) -> Array:
        pixels: Array = self.split.images.array[self.split.rows[index]]
        if self.copies_only:
            return pixels
        return np.stack([self._prepare(image, epoch, place) for image, place in zip(pixels, places, strict=True)])

    def without_images(self, request: Request) -> dict[str, Any]:
        """The rest of a batch, where features stand in for the images."""
        _, places, rank_weight = request
        index = np.asarray(places)
        return {
            "label": torch.from_numpy(self.split.labels[index]),
            "index": torch.from_numpy(index),
            "rank_weight": rank_weight,
        }

    def _prepare(self, image: Array, epoch: int, place: int) -> Array:
        channels = image.shape[2]
        if isinstance(self.augmentation, Augmentation):
            image = self.augmentation(image, epoch, place)
        if image.shape[:2] != (self.image_size, self.image_size):
            image = resize(image, self.image_size, self.image_size)
        return image.reshape(self.image_size, self.image_size, channels)
