"""Files of features that all runs and all processes of a machine share."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from filelock import FileLock
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor
from tqdm import tqdm

from basics.errors import UserError
from basics.files import checksum
from datamodules import ImageDataModule
from datamodules.cache import cached

GB = 10**9
Part = tuple[str, int | None]  # name of a split; epoch whose augmentation is used, None without augmentation


@dataclass(frozen=True)
class Features:
    """Features of one split, by the indices of its images.

    Attributes:
        values: Features with their dimensions in the order of memory, as the network computes them: `[N, H, W, C]`
            after convolutions in channels_last.
        order: Dimensions of the network's features in the order of `values`.
    """

    values: Tensor
    order: tuple[int, ...]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Features `[B, ...]` of images by their indices `[B]`, as the network would give them, on that device."""
        rows = self.values[index.to(self.values.device)].to(index.device, non_blocking=True)
        return rows.permute([self.order.index(dimension) for dimension in range(len(self.order))])


class FeatureFiles:
    """Computes features of whole splits once, in `data.feature_dir`; the first run that asks computes them.

    Attributes:
        computed: Number of images by split that this object has computed features of; the others were in files.

    Args:
        trainer: Trainer that says on which device and with which precision, and who the other processes are.
        data: Data module that gives the images.
        limit: Bytes of all files in the folder together.
    """

    def __init__(self, trainer: L.Trainer, data: ImageDataModule, limit: int) -> None:
        self.trainer = trainer
        self.data = data
        self.folder = data.feature_dir
        self.limit = limit
        self.computed: Counter[str] = Counter()

    def size(self, parts: Sequence[Part], example: Tensor) -> int:
        """Bytes of the features of some splits; one batch of features `[B, ...]` is the example."""
        return sum(len(self.data.splits[name]) for name, _ in parts) * example[0].numel() * example.element_size()

    def room(self) -> int:
        """Bytes that all files may have: the limit, or less if the disk has less."""
        existing = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        used = sum(path.stat().st_size for path in self.folder.glob("*/features.bin"))
        return min(self.limit, shutil.disk_usage(existing).free + used)

    def get(
        self, parts: Sequence[Part], compute: Callable[[Tensor], Tensor], example: Tensor, made_by: object
    ) -> dict[Part, Features]:
        """Read features of some splits, and compute those that no file has; all processes of a run call this together.

        Args:
            parts: Splits, and the epoch whose augmentation is used.
            compute: Function from images `[B, C, H, W]` to features `[B, ...]`.
            example: Output of this function for any batch.
            made_by: Everything that decides what the function computes; its `repr` is part of the key.

        Raises:
            UserError: The folder cannot be written, or the disk is full.
        """
        folders = {part: self.folder / self._key(part, example, made_by) for part in parts}
        # One process of a machine computes; the lock keeps other runs from removing files before all have mapped them.
        first = self.trainer.local_rank == 0
        with _locked(self.folder) if first else nullcontext():
            if first:
                for part, folder in folders.items():
                    self._build(part, folder, compute, example)
            self.trainer.strategy.barrier("features")
            features = {part: self._open(folder) for part, folder in folders.items()}
            self.trainer.strategy.barrier("features are mapped")
        return features

    def _key(self, part: Part, example: Tensor, made_by: object) -> str:
        shape = (example.dtype, example.shape[1:], example.dim_order())
        machine = (self.trainer.precision, self.trainer.strategy.root_device.type, torch.__version__)
        key = (made_by, self.data.split_fingerprint(*part), shape, machine)
        return checksum([repr(key).encode()])[:16]

    def _build(self, part: Part, folder: Path, compute: Callable[[Tensor], Tensor], example: Tensor) -> None:
        name, view = part
        order = example.dim_order()
        shape = (len(self.data.splits[name]), *(example.shape[dimension] for dimension in order[1:]))

        def build(work: Path) -> None:
            size = self.size([part], example)
            make_room(self.folder, self.limit - size)
            try:
                with (work / "features.bin").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a signal later
            except OSError as error:
                raise _cannot_write(self.folder, error) from error
            values = _map(work / "features.bin", example.dtype, shape, shared=True)
            title = f"features of {name}" + ("" if view is None else f", view {view}")
            batches = self.data.whole_split(name, view)
            shown = self.trainer.progress_bar_callback is not None
            for batch in tqdm(batches, title, -(-shape[0] // self.data.batch_size), leave=False, disable=not shown):
                moved: Any = move_data_to_device(batch, self.trainer.strategy.root_device)
                images = self.data.on_after_batch_transfer(moved, 0)["image"]
                with self.trainer.precision_plugin.forward_context(), torch.no_grad():
                    values[batch["index"]] = compute(images).permute(order).cpu()
            meta = {"shape": shape, "order": order, "dtype": str(example.dtype).removeprefix("torch.")}
            (work / "meta.json").write_text(json.dumps(meta))
            self.computed[name] += shape[0]

        cached(folder, folder.name, build)
        os.utime(folder / "meta.json")  # its time says when the features were used last

    def _open(self, folder: Path) -> Features:
        meta = json.loads((folder / "meta.json").read_text())
        values = _map(folder / "features.bin", getattr(torch, meta["dtype"]), meta["shape"], shared=False)
        device = self.trainer.strategy.root_device
        if device.type == "cuda" and values.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
            values = values.to(device)
        return Features(values, tuple(meta["order"]))


def make_room(folder: Path, limit: int) -> None:
    """Remove the least recently used feature files, until all files together have at most `limit` bytes."""
    total = 0
    for meta in sorted(folder.glob("*/meta.json"), key=lambda meta: meta.stat().st_mtime, reverse=True):
        total += (meta.parent / "features.bin").stat().st_size
        if total > limit:
            shutil.rmtree(meta.parent)  # a process that has mapped it keeps it until its end


def _map(path: Path, dtype: torch.dtype, shape: Sequence[int], shared: bool) -> Tensor:
    return torch.from_file(str(path), shared, torch.Size(shape).numel(), dtype=dtype).view(*shape)


def _locked(folder: Path) -> AbstractContextManager[Any]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / ".lock").acquire()
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write features into {folder} ({error.strerror}): pass --data.cache_dir, or --model.cache off"
    )
