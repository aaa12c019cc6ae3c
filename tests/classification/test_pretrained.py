"""Distances from the values before training."""

import pytest
import torch
from torch import nn

from classification.pretrained import Pretrained


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))


def test_distances_are_relative_and_by_stage(network):
    nn.init.ones_(network[0].weight)
    pretrained = Pretrained()
    pretrained.remember([("0.weight", network[0].weight)])
    with torch.no_grad():
        network[0].weight *= 1.5
        network[1].weight += 1.0  # was not pretrained
    stages = {"body": [network[0].weight, network[0].bias], "head": list(network[1].parameters())}
    assert {name: value.item() for name, value in pretrained.distances(network, stages).items()} == {"body": 0.5}
    assert pretrained.squared_distance(network).item() == pytest.approx(4 * 0.25)


def test_what_is_frozen_now_has_no_penalty(network):
    pretrained = Pretrained()
    pretrained.remember(network.named_parameters())
    with torch.no_grad():
        network[0].weight += 1.0
    network[0].requires_grad_(False)
    assert pretrained.squared_distance(network).item() == 0


def test_values_of_a_checkpoint_are_not_replaced(network):
    pretrained = Pretrained()
    pretrained.values = {"0.bias": torch.full((2,), 7.0)}
    pretrained.remember(network.named_parameters())
    assert pretrained.values["0.bias"].tolist() == [7, 7]
    assert torch.equal(pretrained.values["0.weight"], network[0].weight)
