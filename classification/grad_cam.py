"""Grad-CAM (arXiv 1610.02391): the regions of an image that speak for a class."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 6  # least side of a map that shows where something is: at 48 px the map of layer4 has 2, that of layer2 has 6


def grad_cam(
    network: nn.Module, stages: Mapping[str, nn.Module], inputs: Tensor, classes: Tensor
) -> tuple[str, Tensor] | None:
    """Maps of the deepest stage whose output is at least SIDE x SIDE, or of the stage with the largest output.

    Args:
        network: Network from inputs to logits; its mode and the gradients of its parameters are left alone.
        stages: Last module of every stage, input to head.
        inputs: Inputs of the network `[B, C, H, W]`.
        classes: Classes to explain, one an image `[B]`.

    Returns:
        The name of the stage, and for every image a map in [0, 1] `[B, H, W]`; None if no stage gives a map.
    """
    outputs: dict[str, Tensor] = {}
    channel = 3 if getattr(network, "output_fmt", "") == "NHWC" else 1  # timm says so of Swin

    def keep(name: str, module: nn.Module, given: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim != 4:
            return None
        # The gradient of the map needs a leaf if nothing below it learns.
        outputs[name] = output if output.requires_grad else output.clone().requires_grad_()
        return outputs[name].clone()  # the next module may work in place

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in stages.items()]
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            logits = network(inputs.clone())
            if not outputs:
                return None
            sides = {name: min(output.movedim(channel, 1).shape[2:]) for name, output in outputs.items()}
            large = [name for name, side in sides.items() if side >= SIDE]
            name = large[-1] if large else max(sides, key=lambda key: sides[key])
            score = logits.gather(1, classes.clone()[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, [outputs[name]])
            weights = gradient.movedim(channel, 1).mean((2, 3), keepdim=True)
            maps = functional.relu((weights * outputs[name].movedim(channel, 1)).sum(1, keepdim=True))
            maps = functional.interpolate(maps, inputs.shape[2:], mode="bilinear")[:, 0].detach()
    finally:
        for handle in handles:
            handle.remove()
    return name, maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)
