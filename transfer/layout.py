"""Memory layout of a network on a CPU."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from transfer.stages import Stage, evaluating

# Pixels on a side. On 2 CPU cores channels_last takes, relative to the contiguous layout and for a forward and a
# backward pass of a stage of ResNet-18 or ResNet-50, 0.7 at 56 and 28 pixels, 0.9 at 14, 1.0 at 7, 1.2 at 4, 1.5 at 2.
SMALL = 4


def lay_out(network: nn.Module, stages: Sequence[Stage], images: Tensor) -> None:
    """Put a network on a CPU into channels_last, but its stages with small maps into the contiguous layout.

    Args:
        network: Network whose parameters are moved in place, so this comes before the optimizer; it computes the same.
        stages: All of its stages, input to head.
        images: Inputs `[B, 3, H, W]` of the size that it will be given.
    """
    network.to(memory_format=torch.channels_last)
    small = first_small(network, stages, images)
    for index, stage in enumerate(stages):
        for module in stage.modules:
            for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _contiguous]:
                del module._forward_pre_hooks[key]
            if index >= small:
                module.to(memory_format=torch.contiguous_format)
        if index >= small:
            stage.modules[0].register_forward_pre_hook(_contiguous)


def first_small(network: nn.Module, stages: Sequence[Stage], images: Tensor) -> int:
    """Index of the first stage whose output is at most SMALL x SMALL; the number of stages if there is none."""
    sides: dict[int, int] = {}

    def record(index: int, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            sides[index] = output.shape[-1]

    last = [stage.modules[-1] for stage in stages]
    handles = [module.register_forward_hook(partial(record, index)) for index, module in enumerate(last)]
    with evaluating(network):
        network(images)
    for handle in handles:
        handle.remove()
    return min((index for index, side in sides.items() if side <= SMALL), default=len(stages))


def _contiguous(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    first, *rest = inputs
    return (first.contiguous(), *rest)
