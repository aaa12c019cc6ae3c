"""What a training step costs, estimated before any is made."""

import copy
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from transfer.stages import Stage


def stage_flops(network: nn.Module, stages: Mapping[str, Stage]) -> dict[str, int]:
    """Floating-point operations of one forward pass of an image, by stage: convolutions and matrix products.

    Args:
        network: A model of timm; counted at the image size it was made for, on a copy without memory.
        stages: Its stages.
    """
    model = copy.deepcopy(network).to("meta").eval()
    images = torch.empty(1, *network.default_cfg["input_size"], device="meta")  # type: ignore[index, arg-type]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    counts = {name: sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
    root = type(network).__name__
    return {name: sum(counts.get(f"{root}.{path}", 0) for path in stage.paths) for name, stage in stages.items()}


def training_shares(
    network: nn.Module, stages: Mapping[str, Stage], cases: Sequence[tuple[Collection[str], str]]
) -> list[float]:
    """Operations of a training step, as a share of those of a step in which everything learns.

    A backward pass costs a stage as much as its forward pass for the gradient of its weights, if it learns, and again
    for that of its input, if anything before it learns.

    Args:
        network: A model of timm.
        stages: Its stages, input to head.
        cases: Of each, the stages that learn, and the lowest one in which anything needs a gradient.
    """
    flops = stage_flops(network, stages)
    names = list(stages)

    def step(chosen: Collection[str], lowest: str) -> int:
        first = names.index(lowest)
        backward = sum(flops[name] * ((name in chosen) + (names.index(name) > first)) for name in names[first:])
        return sum(flops.values()) + backward

    return [step(*case) / step(names, names[0]) for case in cases]
