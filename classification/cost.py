"""Operations of a training step, counted before any step is made."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Passes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of convolutions and matrix products, and those that their gradients will take."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.forward = 0
        self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            flops = flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
            operands = [part for part in args if isinstance(part, Tensor) and part.ndim > 1]  # not the bias
            self.forward += flops
            self.backward += flops * min(2, sum(operand.requires_grad for operand in operands))
        return result


def pass_flops(network: nn.Module, shape: Sequence[int], learning: Iterable[nn.Parameter] = ()) -> tuple[int, int]:
    """Floating-point operations of the forward and of the backward pass of one image, two a multiply-add.

    The gradient of the weights of a convolution or a matrix product costs as much as its forward pass, if the weights
    learn. The gradient of its input costs as much again, if anything below it learns. No real backward pass is counted,
    because FlopCounterMode of torch 2.13 takes the backward pass of a grouped convolution for that of a dense one: it
    counts 7.7 instead of 2 forward passes for ConvNeXt-T.

    Args:
        network: Network to count; it is counted on a copy without memory, in evaluation mode.
        shape: Shape of its input for one image `[C, H, W]`.
        learning: Parameters of the network that learn.
    """
    chosen = set(map(id, learning))
    twins: dict[int, Any] = {id(value): value.detach().to("meta") for value in network.buffers()}
    for value in network.parameters():
        twins[id(value)] = nn.Parameter(value.detach().to("meta"), requires_grad=id(value) in chosen)
    model = copy.deepcopy(network, twins).eval()  # the twins take the place of its tensors, so that none is copied
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    with torch.enable_grad(), _Passes() as passes:
        model(torch.empty(1, *shape, dtype=dtype, device="meta"))
    return passes.forward, passes.backward
