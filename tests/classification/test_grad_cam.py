"""Grad-CAM shows the region that speaks for a class, and leaves the network as it was."""

import pytest
import torch
from torch import nn

from classification.grad_cam import grad_cam


class Corners(nn.Module):
    """Class 0 is brightness on the left, class 1 on the right, both by the first of two channels.

    The other channel is bright where the first is dark; the second stage is too small to explain.
    """

    def __init__(self, side=12):
        super().__init__()
        self.body = nn.Conv2d(1, 2, 1)
        self.pool = nn.AvgPool2d(side // 2)
        self.relu = nn.ReLU(inplace=True)
        self.body.requires_grad_(False)
        self.body.weight[:], self.body.bias[:] = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1), torch.tensor([0.0, 1.0])

    def forward(self, images):
        pooled = self.pool(self.relu(self.body(images)))
        left, right = pooled[:, 0, :, 0].mean(1), pooled[:, 0, :, 1].mean(1)
        return torch.stack([left, right], 1)


@pytest.fixture
def images():
    images = torch.zeros(2, 1, 12, 12)
    images[0, :, 4:8, 1:4] = 1
    images[1, :, 4:8, 8:11] = 1
    return images


@pytest.mark.parametrize("inference", [False, True])
def test_the_map_is_bright_where_the_class_is(inference, images):
    network = Corners().train()
    with torch.inference_mode(inference):
        stages = {"body": network.body, "pool": network.pool}
        name, maps = grad_cam(network, stages, images.clone(), torch.tensor([0, 1]))
    assert name == "body"
    assert maps.shape == (2, 12, 12)
    for shown, image in zip(maps, images[:, 0], strict=True):
        assert shown[image == 1].min() == shown.max() == 1
        assert shown[image == 0].max() == 0
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


class ChannelsLast(Corners):
    """The network with its channels last, as Swin has them."""

    output_fmt = "NHWC"

    def __init__(self):
        super().__init__()
        self.last = nn.Identity()

    def forward(self, images):
        maps = self.last(self.body(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        pooled = self.pool(self.relu(maps))
        return torch.stack([pooled[:, 0, :, 0].mean(1), pooled[:, 0, :, 1].mean(1)], 1)


def test_maps_with_the_channels_last_give_the_same(images):
    plain, last = Corners(), ChannelsLast()
    _, expected = grad_cam(plain, {"body": plain.body}, images, torch.tensor([0, 1]))
    name, maps = grad_cam(last, {"last": last.last}, images, torch.tensor([0, 1]))
    assert name == "last"
    torch.testing.assert_close(maps, expected)


def test_the_largest_map_where_all_are_small(images):
    network = Corners(4)
    small = torch.nn.functional.avg_pool2d(images, 3)
    name, maps = grad_cam(network, {"body": network.body, "pool": network.pool}, small, torch.tensor([0, 1]))
    assert name == "body"
    assert maps.shape == (2, 4, 4)


def test_no_map_no_explanation(images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    assert grad_cam(network, {"head": network[1]}, images, torch.tensor([0, 1])) is None
