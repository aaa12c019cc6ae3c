"""Bytes of tensors, for checksums."""

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The values of a tensor in row-major order; they are copied only if they are not on the CPU in that order."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
