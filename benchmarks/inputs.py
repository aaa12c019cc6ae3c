"""Inputs of both sides of a row: data sets for the peers, batches of DeepWeeds, the reading of FER2013."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import ConcatDataset

from benchmarks import peers
from benchmarks.sides import our_data, prepared, transferred
from datamodules import FER2013, DeepWeeds


def faces(root: Path, part: str, augmented: bool) -> Any:
    """Hold a part of FER2013 in memory, for the peer.

    Args:
        root: Data folder.
        part: `train` or `val`.
        augmented: Whether its images are augmented.
    """
    split = prepared(FER2013(root=str(root))).splits[part]
    return peers.Faces((split.images.array[split.rows][..., 0], split.labels), peers.face_transform(augmented))


def many_val_faces(root: Path) -> Any:
    """Repeat the validation split, so that no validation ends while it is measured."""
    return ConcatDataset([faces(root, "val", False)] * 10)


def our_batches(root: Path, more: list[str]) -> Iterator[Any]:
    """Make our batches of DeepWeeds from decoded images: float, augmented, normalised."""
    arguments = ["--model.backbone", "resnet18", "--data.image_size", "112", "--data.download", "false", *more]
    model, data = our_data("deepweeds_frozen", root, arguments)
    batches = data.train_dataloader()
    for epoch in range(1000):
        batches.sampler.set_epoch(epoch)
        with torch.no_grad():
            for batch in batches:
                yield model.normalize(transferred(data, model, batch, "cpu")["image"])


def peer_batches(root: Path) -> Iterator[Any]:
    """Make the peer's batches of DeepWeeds from the JPEG files: float, augmented, normalised."""
    split = prepared(DeepWeeds(root=str(root), download=False)).splits["train"]
    files = [root / "deepweeds" / "images" / name for name in split.names]
    batches = peers.loader(peers.Photos(files, split.labels.tolist(), peers.photo_transform(112)), batch_size=64)
    for _ in range(1000):
        yield from batches


def timed(read: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    read()
    return time.perf_counter() - start


def read_cold(root: Path) -> float:
    """Time our reading of the CSV file."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: prepared(FER2013(root=str(root), cache_dir=folder)))


def read_warm(root: Path) -> float:
    """Time our reading of what an earlier start has decoded."""
    return timed(lambda: prepared(FER2013(root=str(root))))


def read_pandas(root: Path) -> float:
    """Time the peer's reading of the CSV file, which every start repeats."""
    return timed(lambda: peers.read_fer2013(root / "fer2013" / "fer2013.csv"))
