"""Outputs of test and prediction steps, joined over batches and ranks."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


def gather(trainer: L.Trainer, outputs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """Join the outputs of the steps of all ranks, in the order of the split.

    Args:
        trainer: Trainer that knows the other ranks.
        outputs: Outputs of each batch of this rank, tensors `[B, ...]` on the CPU; `index` holds the indices of the
            images in the split.

    Returns:
        One tensor `[N, ...]` a name, on rank 0; None on the others.
    """
    mine = {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
    parts: list[Any] = [mine]
    if trainer.world_size > 1:
        parts = [None] * trainer.world_size
        torch.distributed.all_gather_object(parts, mine)
    if not trainer.is_global_zero:
        return None
    order = torch.cat([part["index"] for part in parts]).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in mine}


class GatheringCallback(Callback):
    """Keeps the outputs of the steps of `test` or `predict`; its subclasses write them at the end."""

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the outputs of an earlier test."""
        self._outputs: list[dict[str, Tensor]] = []

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the outputs of an earlier prediction."""
        self._outputs = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the outputs of a batch."""
        self._keep(outputs)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the outputs of a batch."""
        self._keep(outputs)

    def gathered(self, trainer: L.Trainer) -> dict[str, Tensor] | None:
        """All outputs of all ranks, in the order of the split, on rank 0; None on the others."""
        return gather(trainer, self._outputs)

    def _keep(self, outputs: dict[str, Tensor]) -> None:
        self._outputs.append({name: value.cpu() for name, value in outputs.items()})
