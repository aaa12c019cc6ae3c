"""The operations counted before a step are those that torch counts in it."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classification.cost import pass_flops
from fashion_cnn.network import FashionCNN
from transfer import Frozen, Full, Partial, Surgical, TransferClassifier


def counted(network, shape, learning):
    """Operations of a real training step, an image."""
    for parameter in network.parameters():
        parameter.requires_grad_(parameter in learning)
    with FlopCounterMode(display=False) as counter:
        network.train()(torch.rand(2, *shape)).sum().backward()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("backbone", ["test_resnet", "resnet18"])
@pytest.mark.parametrize("strategy", [Frozen(), Partial(), Full(), Surgical("layer2")])
@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_a_step_takes_what_was_counted(backbone, strategy, batch_norm):
    model = TransferClassifier(list("abc"), strategy, backbone, weights="none", frozen_batch_norm=batch_norm)
    learning = set(model.learning_parameters(model.phase))
    passes = pass_flops(model.network, (3, 48, 48), learning)
    assert sum(passes) == pytest.approx(counted(model.network, (3, 48, 48), learning), rel=0.02)


def test_a_network_that_learns_as_a_whole():
    network = FashionCNN(width=8)
    passes = pass_flops(network, (1, 28, 28), set(network.parameters()))
    assert sum(passes) == pytest.approx(counted(network, (1, 28, 28), set(network.parameters())), rel=0.02)
    assert passes[0] < passes[1] < 2 * passes[0]  # the first layer's input needs no gradient


def test_attention_and_grouped_convolutions():
    options = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, **options)
    learning = set(network.parameters())
    assert sum(pass_flops(network, (3, 32, 32), learning)) == pytest.approx(
        counted(network, (3, 32, 32), learning), rel=0.02
    )
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4))
    forward, backward = pass_flops(grouped, (4, 8, 8), set(grouped.parameters()))
    assert (forward, backward) == (2 * 64 * (16 + 36), 2 * 64 * (16 + 2 * 36))


def test_the_network_itself_is_neither_moved_nor_frozen():
    network = FashionCNN(width=8).train()
    pass_flops(network, (1, 28, 28))
    assert network.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in network.parameters())
