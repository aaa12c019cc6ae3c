"""Base of all data sets: batches, workers, exact samplers, augmentation, fingerprints."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from basics.errors import UserError
from datamodules.augment.albumentations import Augmentation, Transform
from datamodules.augment.batch import BatchAugmentation
from datamodules.batches import BatchDataset
from datamodules.cache import fingerprint
from datamodules.image_lists import read_folder
from datamodules.images import Array
from datamodules.leaks import same_pixels
from datamodules.samplers import BatchSampler, ResumableLoader
from datamodules.splits import PARTS, Split, stratified_part

AugmentWith = Literal["batch", "albumentations"]


class ImageDataModule(L.LightningDataModule):
    """Base of all data sets: it yields batches of uint8 images; the classifier normalises them on its device.

    A data set says its name, its classes, and how its splits come about: `prepare` runs once a machine, `load_splits`
    in every process.

    Args:
        root: Folder with one subfolder a data set.
        image_size: Side of the square images given to the network; None keeps that of the data.
        batch_size: Images of a step over all devices together, so that it stays the same when devices are added.
        num_workers: Processes that prepare batches, for each device; None takes 0 if making a batch is only a copy from
            memory, else as many as there are cores for the device, at most 4.
        augment: Transforms for training by their albumentations names, in order: `[{HorizontalFlip: {p: 0.5}}, ...]`.
        augment_with: `albumentations`, image by image in worker processes, which knows all of its transforms; or
            `batch`, whole batches on the device that trains, which knows flips, crops, affine and photometric ones.
        split_seed: Seed of splits that the publisher did not make; apart from the training's seed.
        train_fraction: Fraction of the training split to train on, with the classes in its proportions; chosen by
            `split_seed`.
        cache_dir: Folder of the decoded images, with the features in `.features` below it; None is `<root>/.decoded`,
            and `<root>/.features`.
        predict_folder: Folder whose images `predict` classifies instead of the test split.
    """

    study: ClassVar[str]
    class_names: Sequence[str]
    channels: int
    native_size: int
    leak_rule: ClassVar[str] = "test images that are a training image, byte for byte, left out"

    def __init__(
        self,
        root: str = "data",
        image_size: int | None = None,
        batch_size: int = 128,
        num_workers: int | None = None,
        augment: list[Transform] | None = None,
        augment_with: AugmentWith = "albumentations",
        split_seed: int = 0,
        train_fraction: float = 1.0,
        cache_dir: str | None = None,
        predict_folder: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < train_fraction <= 1:
            raise UserError(f"data.train_fraction is above 0 and at most 1, not {train_fraction}")
        self.save_hyperparameters(logger=False)
        self.root = Path(root)
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augment = augment or []
        self.augment_with = augment_with
        self.split_seed = split_seed
        self.train_fraction = train_fraction
        self.cache_dir = Path(cache_dir) if cache_dir else self.root / ".decoded"
        self.feature_dir = (Path(cache_dir) if cache_dir else self.root) / ".features"
        self.predict_folder = Path(predict_folder) if predict_folder else None
        self.fold = 0
        self.splits: dict[str, Split] = {}
        self.without_images: set[str] = set()  # splits for which cached features stand in
        self._augments: Augmentation | BatchAugmentation | None = None

    # A data set implements these.

    def prepare(self) -> None:
        """Download and decode; runs once a machine."""

    def load_splits(self) -> dict[str, Split]:
        """Give the splits train, val and test; runs in every process after `prepare`."""
        raise NotImplementedError

    # All data sets inherit the rest.

    def prepare_data(self) -> None:
        """Get the data set, unless only a folder of other images is to be classified."""
        if not self.predict_folder:
            self.prepare()

    def setup(self, stage: str) -> None:
        """Map the images and check the batch size against the devices."""
        world = self.trainer.world_size if self.trainer else 1
        if self.batch_size % world:
            raise UserError(
                f"data.batch_size {self.batch_size} is the whole step's and does not divide by {world} devices: "
                f"choose a multiple of {world}"
            )
        if self.predict_folder:
            images = read_folder(self.predict_folder, self.channels, self.image_size or self.native_size)
            self.splits = {"predict": images}
        elif not self.splits:
            self.splits = self.load_splits()
            self.whole_train = self.splits["train"]
            if self.train_fraction < 1:
                self.splits["train"] = stratified_part(self.whole_train, self.train_fraction, self.split_seed)

    def leaked(self) -> Array:
        """Test images that are known from training, as `leak_rule` says: bool `[N]`.

        A run that trains on a part of the training split is judged by the whole of it, so that runs stay comparable.
        """
        return same_pixels(self.whole_train, self.splits["test"])

    @property
    def class_counts(self) -> list[int]:
        """Training images of every class."""
        return [int(n) for n in np.bincount(self.splits["train"].labels, minlength=len(self.class_names))]

    @property
    def fingerprint(self) -> str:
        """Hash that changes when the index of an image, a label or the membership of a split does."""
        parts = [part for name in PARTS for part in (self.splits[name].rows, self.splits[name].labels)]
        return fingerprint(*parts, list(self.splits["test"].names), [self.images_fingerprint])

    @property
    def images_fingerprint(self) -> str:
        """Hash of the pixels themselves, taken when they were decoded."""
        return next(iter(self.splits.values())).images.fingerprint

    def split_fingerprint(self, name: str, view: int | None = None) -> str:
        """Hash that changes with anything that makes a pixel of a split, as `whole_split` gives it."""
        augmentation = "" if view is None else repr((self.augment, self.augment_with, self._seed(), view))
        return fingerprint(self.splits[name].rows, [self.images_fingerprint, str(self.image_shape), augmentation])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images given to the network."""
        size = self.image_size or next(iter(self.splits.values())).images.shape[1]
        return self.channels, size, size

    def whole_split(self, name: str, view: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield every image of a split once and in order, in batches, alike in every process.

        Args:
            name: train, val or test.
            view: Epoch of the training as in which the images are augmented; None gives the images as they are.
        """
        split = self.splits[name]
        dataset = BatchDataset(split, self.image_shape[1], None if view is None else self._augmentation())
        sampler = BatchSampler(len(split), self.batch_size)
        sampler.set_epoch(view or 0)
        yield from DataLoader(dataset, None, sampler=sampler, num_workers=self._workers(dataset, 1))

    def images_of(self, name: str, indices: Sequence[int]) -> Tensor:
        """Images of a split as the network is given them, not augmented: uint8 `[B, C, H, W]`."""
        images: Tensor = BatchDataset(self.splits[name], self.image_shape[1])[0, list(indices), 1.0]["image"]
        return images

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Augment the batch on the device that it was moved to."""
        if "draws" in batch:
            augmentation = self._augmentation()
            assert isinstance(augmentation, BatchAugmentation)
            batch = {**batch, "image": augmentation(batch["image"], batch["draws"])}
            del batch["draws"]
        return batch

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Shuffled and augmented."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Every image once, over all ranks."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Every image once, over all ranks."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The images of `predict_folder`, or the test split."""
        return self._loader("predict" if "predict" in self.splits else "test")

    def _loader(self, name: str) -> DataLoader[dict[str, Any]]:
        split = self.splits[name]
        training = name == "train"
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(split) < world:
            raise UserError(f"the {name} split has {len(split)} images for {world} devices: use fewer devices")
        sampler = BatchSampler(len(split), self.batch_size, rank, world, self._seed() if training else None)
        dataset = BatchDataset(split, self.image_shape[1], self._augmentation() if training else None)
        workers = self._workers(dataset, world)
        if dataset.copies_only and not workers:
            dataset.gpu = self._gpu_for(split)
        return ResumableLoader(
            dataset,
            batch_size=None,  # the sampler asks for whole batches
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available() and not dataset.gpu,
            done=self._batches_done if training else lambda: 0,
            with_images=lambda: name not in self.without_images,
            generator=torch.Generator(),  # else making an iterator would draw from the generator that dropout uses
        )

    def _workers(self, dataset: BatchDataset, world: int) -> int:
        if self.num_workers is not None:
            return self.num_workers
        return 0 if dataset.copies_only else min(4, max(1, (os.cpu_count() or 1) // world))

    def _gpu_for(self, split: Split) -> torch.device | None:
        """The GPU that trains, if the images of a split take no more than a quarter of its free memory."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type != "cuda":
            return None
        size = len(split) * math.prod(split.images.shape[1:])
        return device if size < torch.cuda.mem_get_info(device)[0] / 4 else None

    def _augmentation(self) -> Augmentation | BatchAugmentation | None:
        if not self.augment:
            return None
        if self._augments is None:
            kind = BatchAugmentation if self.augment_with == "batch" else Augmentation
            self._augments = kind(self.augment, self._seed(), self.image_shape[1])
        return self._augments

    @staticmethod
    def _seed() -> int:
        return int(os.environ.get("PL_GLOBAL_SEED", "0"))  # as seed_everything leaves it, the same on all ranks

    def _batches_done(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer else 0
