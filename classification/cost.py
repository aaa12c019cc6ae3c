"""What a training step costs, counted before any is made."""

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Passes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of convolutions and matrix products, and those that their gradients will take."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.forward = self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            flops = flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
            operands = [part for part in args if isinstance(part, Tensor) and part.ndim > 1]  # not the bias
            self.forward += flops
            self.backward += flops * min(2, sum(operand.requires_grad for operand in operands))
        return result


def pass_flops(network: nn.Module, shape: Sequence[int], learning: Collection[nn.Parameter] = ()) -> tuple[int, int]:
    """Floating-point operations of the forward and of the backward pass of one image, two a multiply-add.

    A backward pass costs a convolution or a matrix product as much as its forward pass for the gradient of its
    weights, if they learn, and again for that of its input, if anything below it learns. (The operations of a backward
    pass itself are not counted, because torch 2.13's FlopCounterMode takes a grouped convolution's for a dense one's:
    7.7 instead of 2 forward passes of ConvNeXt-T.)

    Args:
        network: Any; counted on a copy without memory, in evaluation mode.
        shape: Of its input for one image `[C, H, W]`.
        learning: Those of its parameters that learn.
    """
    chosen = set(map(id, learning))
    twins: dict[int, Any] = {id(value): value.detach().to("meta") for value in network.buffers()}
    for value in network.parameters():
        twins[id(value)] = nn.Parameter(value.detach().to("meta"), requires_grad=id(value) in chosen)
    model = copy.deepcopy(network, twins).eval()  # with these in place of its tensors, so that none is ever copied
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    with torch.enable_grad(), _Passes() as passes:
        model(torch.empty(1, *shape, dtype=dtype, device="meta"))
    return passes.forward, passes.backward
