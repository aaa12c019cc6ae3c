"""The layers of the small CNN."""

import pytest
import torch
from torch import nn

from fashion_cnn import FashionCNN


def test_the_plain_arm_is_three_conv_relu_pool_blocks_and_a_classifier_with_dropout():
    network = FashionCNN()
    kinds = [type(layer).__name__ for block in network.children() for layer in block]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 3 + ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert sum(p.numel() for p in network.parameters()) == 390_410


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (8, 1)])
def test_any_input_size(size, channels):
    network = FashionCNN(5, channels, size, width=4, batch_norm=True)
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 5)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 3
