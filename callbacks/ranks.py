"""Keeps the processes of a DDP run equal when the set of learning parameters changes."""

import gc
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.strategies import DDPStrategy

from basics.files import checksum
from classification import PhasedModule
from classification.tensors import tensor_bytes


def wrap_again(trainer: L.Trainer) -> None:
    """Make a new DDP wrapper, which reduces exactly the parameters that need a gradient now.

    A wrapper registers those once, when it is made. A parameter that is unfrozen later is never averaged, and every
    rank trains its own copy of it (Lightning issue #20340). With a new wrapper no `find_unused_parameters` is needed.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = strategy.lightning_module
        gc.collect()  # the old wrapper's hooks on the parameters go with it, and it is part of a reference cycle
        strategy.configure_ddp()


def check_ranks_equal(trainer: L.Trainer, module: PhasedModule) -> None:
    """Compare the parameters of all processes, bit by bit.

    Raises:
        RuntimeError: The parameters differ; the message names the stages.
    """
    if trainer.world_size == 1:
        return
    mine = {name: checksum(map(tensor_bytes, parameters)) for name, parameters in module.stages().items()}
    all_of_them: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(all_of_them, mine)
    different = [name for name in mine if len({theirs[name] for theirs in all_of_them}) > 1]
    if different:
        raise RuntimeError(
            f"the processes hold different parameters in {', '.join(different)} at the end of phase "
            f"{module.phase_number}: their gradients were not averaged"
        )
