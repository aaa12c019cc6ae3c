"""Outputs of test and prediction steps, joined over batches and ranks."""

from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class GatheringCallback(Callback):
    """Keeps the outputs of the steps of `test` or `predict`; its subclasses write them at the end."""

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the outputs of an earlier test or prediction."""
        self._outputs: list[dict[str, Tensor]] = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the outputs of a batch; `index` among them holds the indices of its images in the split."""
        self._outputs.append({name: value.cpu() for name, value in outputs.items()})

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the outputs of an earlier test or prediction."""
        self.on_test_start(trainer, pl_module)

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *rest: Any) -> None:
        """Keep the outputs of a batch."""
        self.on_test_batch_end(trainer, pl_module, outputs, *rest)

    def gathered(self, trainer: L.Trainer) -> dict[str, Tensor] | None:
        """All outputs of all ranks, joined in the order of the split.

        Returns:
            One tensor `[N, ...]` a name, on rank 0; None on the others.
        """
        mine = {name: torch.cat([output[name] for output in self._outputs]) for name in self._outputs[0]}
        parts: list[Any] = [mine]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        if not trainer.is_global_zero:
            return None
        order = torch.cat([part["index"] for part in parts]).argsort()
        return {name: torch.cat([part[name] for part in parts])[order] for name in mine}
