"""The peer of the measurements: pandas, torchvision transforms for one image at a time, DataLoader, LightningModule.

This is the code that a user would write without this project, and it has no handicap: no logger, no progress bar, no
checkpoints, metrics updated without waiting for the device, FER2013 as an array in memory. BackboneFinetuning runs with
`train_bn=False`. By default it trains the batch norm of the frozen backbone, and the gradients for that make it far
slower.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import timm
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchvision import transforms as T
from torchvision.datasets import FashionMNIST
from torchvision.datasets.folder import default_loader

from fashion_cnn import FashionCNN

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of R, G, B
LOWER = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")  # frozen in the partial arm
OFF = ("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary")
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_fer2013(csv: Path) -> dict[str, Arrays]:
    """Read images `[N, 48, 48]` and labels of every split, in the way of the tutorials."""
    import pandas as pd  # type: ignore[import-not-found, import-untyped, unused-ignore]

    table = pd.read_csv(csv)
    splits = {}
    for usage in ("Training", "PublicTest", "PrivateTest"):
        part = table[table["Usage"] == usage]
        images = np.stack([np.fromstring(text, np.uint8, sep=" ").reshape(48, 48) for text in part["pixels"]])
        splits[usage] = images, part["emotion"].to_numpy(np.int64)
    return splits


class Faces(Dataset[tuple[Tensor, int]]):
    """Grey images in memory; an image becomes a tensor when it is asked for."""

    def __init__(self, arrays: Arrays, transform: Any) -> None:
        self.images, self.labels = arrays
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class Photos(Dataset[tuple[Tensor, int]]):
    """Image files, read in the way of torchvision's ImageFolder."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], transform: Any) -> None:
        self.files = [str(file) for file in files]
        self.labels = list(labels)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(default_loader(self.files[index])), self.labels[index]


def face_transform(augmented: bool) -> Any:
    """Transform a face: the augmentation of configs/data/fer.yaml if asked, then the three channels of the network."""
    augmentation = [
        T.RandomHorizontalFlip(),
        T.RandomApply([T.RandomAffine(10, translate=(0.05, 0.05), scale=(0.9, 1.1))], 0.8),
        T.RandomApply([T.ColorJitter(0.2, 0.2)], 0.5),
    ]
    network = [T.Grayscale(3), T.ToTensor(), T.Normalize(*IMAGENET)]
    return T.Compose(augmentation + network if augmented else network)


def photo_transform(size: int) -> Any:
    """Augment as configs/data/deepweeds.yaml does, without the quarter turns of its D4, which cost the peer more."""
    augmentation = [
        T.RandomResizedCrop(size, (0.5, 1.0), (0.9, 1.1)),
        T.RandomHorizontalFlip(),
        T.RandomVerticalFlip(),
        T.RandomApply([T.RandomAffine(30, shear=10)], 0.5),
        T.RandomApply([T.ColorJitter(0.25, 0.2, 0.2, 0.03)], 0.8),
    ]
    return T.Compose([*augmentation, T.ToTensor(), T.Normalize(*IMAGENET)])


def fashion_dataset(root: Path) -> Dataset[tuple[Tensor, int]]:
    """Take 55,000 of the training images."""
    transform = T.Compose([T.ToTensor(), T.Normalize((0.2860,), (0.3530,))])
    whole = FashionMNIST(root, train=True, transform=transform)
    return random_split(whole, [55_000, len(whole) - 55_000])[0]


def loader(dataset: Dataset[Any], shuffle: bool = True, batch_size: int = 128) -> Any:
    """Make a loader with two workers that live on, and with pinned memory if there is a GPU."""
    options: Any = {"num_workers": 2, "persistent_workers": True, "pin_memory": torch.cuda.is_available()}
    return DataLoader(dataset, batch_size, shuffle, drop_last=shuffle, **options)


class Peer(L.LightningModule):
    """A network in two parts: `backbone`, which BackboneFinetuning may freeze, and `head`."""

    def __init__(self, backbone: nn.Module, head: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        accuracy = MulticlassAccuracy(classes, average="micro")
        f1_macro = MulticlassF1Score(classes, average="macro")
        self.train_scores = MetricCollection({"accuracy": accuracy, "f1_macro": f1_macro}, prefix="train/")
        self.val_scores = self.train_scores.clone(prefix="val/")

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, classes]` of images `[B, 3, H, W]`."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def _step(self, batch: tuple[Tensor, Tensor], scores: MetricCollection, name: str) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = cross_entropy(logits, labels)
        scores.update(logits, labels)
        self.log(name, loss, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of a batch."""
        return self._step(batch, self.train_scores, "train/loss")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update the validation scores."""
        self._step(batch, self.val_scores, "val/loss")

    def on_train_epoch_end(self) -> None:
        """Log the training scores."""
        self.log_dict(self.train_scores.compute())
        self.train_scores.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation scores."""
        self.log_dict(self.val_scores.compute())
        self.val_scores.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on the parameters that learn at the start."""
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-3)


def module(arm: str, backbone: str = "resnet18", classes: int = 7) -> Peer:
    """Build the network of an arm: frozen, partial, full, or fashion."""
    if arm == "fashion":
        return Peer(nn.Identity(), FashionCNN(), 10)
    if arm != "partial":
        network = timm.create_model(backbone, num_classes=0)
        return Peer(network, nn.Linear(network.num_features, classes), classes)
    network = timm.create_model(backbone, num_classes=classes)
    lower = nn.Sequential(*(getattr(network, name) for name in LOWER))
    return Peer(lower, nn.Sequential(network.layer4, network.global_pool, network.fc), classes)


def trainer(arm: str, device: str, callbacks: Sequence[Callback], **more: Any) -> L.Trainer:
    """Make the trainer of an arm. The backbone of frozen and partial never learns."""
    if arm in ("frozen", "partial"):
        callbacks = [*callbacks, BackboneFinetuning(unfreeze_backbone_at_epoch=10**6, train_bn=False)]
    options: dict[str, Any] = dict.fromkeys(OFF, False)
    options |= {"limit_val_batches": 0, "num_sanity_val_steps": 0, "max_epochs": 1000, **more}
    return L.Trainer(accelerator=device, devices=1, callbacks=list(callbacks), **options)
