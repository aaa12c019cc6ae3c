from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


def gather(trainer: L.Trainer, outputs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """Join what the steps of all ranks gave, in the order of the split.

    Args:
        trainer: Knows the other ranks.
        outputs: Of each batch of this rank, tensors `[B, ...]` on the CPU; `index` holds the places in the split.

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
    """Keeps what the steps of `test` or `predict` give, for its subclasses to write at the end."""

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start anew."""
        self._outputs: list[dict[str, Tensor]] = []

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the network said of a batch."""
        self._outputs.append({name: value.cpu() for name, value in outputs.items()})

    on_test_start, on_test_batch_end = on_predict_start, on_predict_batch_end

    def gathered(self, trainer: L.Trainer) -> dict[str, Tensor] | None:
        """All of it, of all ranks and in the order of the split, on rank 0; None on the others."""
        return gather(trainer, self._outputs)
