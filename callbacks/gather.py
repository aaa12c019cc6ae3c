from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
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
