"""Optimizers, and their parameter groups by stage."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from basics.errors import UserError
from classification.schedules import NO_DECAY

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups, **rest: torch.optim.SGD(groups, momentum=0.9, nesterov=True, **rest),
}


def groups_by_stage(
    network: nn.Module, stages: Mapping[str, Sequence[nn.Parameter]], rates: Mapping[str, float], weight_decay: float
) -> Iterator[dict[str, Any]]:
    """Two named optimizer groups a stage, with and without weight decay.

    Args:
        network: Network that the stages are parts of.
        stages: Parameters of every stage, input to head.
        rates: Learning rate of every group by its name.
        weight_decay: Weight decay of matrices and kernels.

    Raises:
        UserError: A parameter is in no stage, or in more than one.
    """
    owners = Counter(id(parameter) for parameters in stages.values() for parameter in parameters)
    for name, parameter in network.named_parameters():
        if owners[id(parameter)] != 1:
            raise UserError(f"{name} is in {owners[id(parameter)]} stages, not in one: check stages()")
    # Parameters that timm never decays: tokens and position embeddings.
    listed: Collection[str] = getattr(network, "no_weight_decay", set)()
    undecayed = {id(p) for name, p in network.named_parameters() if p.ndim <= 1 or name in listed}
    for stage, parameters in stages.items():
        matrices = [p for p in parameters if id(p) not in undecayed]
        others = [p for p in parameters if id(p) in undecayed]
        for name, own, decay in (stage, matrices, weight_decay), (stage + NO_DECAY, others, 0.0):
            if own:
                yield {"params": own, "name": name, "lr": rates[name], "weight_decay": decay}
