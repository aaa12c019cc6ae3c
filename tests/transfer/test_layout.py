"""The memory layout follows the size of the maps, and changes no output."""

import pytest
import timm
import torch

from transfer.layout import first_small, lay_out
from transfer.stages import split_into_stages


def resnet():
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=3).eval()


def layouts(network):
    """Of every convolution with more than one tap, by stage."""
    found = {}
    for name, weight in network.named_parameters():
        if weight.ndim == 4 and weight.shape[-1] > 1:
            stage = name.split(".")[0]
            found.setdefault(stage, set()).add(weight.is_contiguous(memory_format=torch.channels_last))
    return found


@pytest.mark.parametrize(("side", "first"), [(32, "layer2"), (48, "layer3"), (96, "layer4"), (160, None)])
def test_stages_with_maps_of_4_pixels_or_less_are_contiguous(side, first):
    network = resnet()
    stages = split_into_stages(network)
    images = torch.rand(2, 3, side, side)
    lay_out(network, list(stages.values()), images)
    names = list(stages)
    small = names.index(first) if first else len(names)
    assert first_small(network, list(stages.values()), images) == small
    found = layouts(network)
    assert {name: found[name] == {True} for name in names[1:-1]} == {
        name: index < small for index, name in enumerate(names) if 0 < index < len(names) - 1
    }


def test_the_layout_changes_neither_output_nor_mode_and_follows_the_size_of_the_images():
    network, images = resnet(), torch.rand(2, 3, 48, 48)
    network.layer1.train()
    before = network.eval()(images)
    network.layer1.train()
    stages = list(split_into_stages(network).values())
    for side in (48, 160, 48):
        lay_out(network, stages, torch.rand(1, 3, side, side))
    assert network.layer1.training
    assert not network.layer2.training
    assert [len(stage.modules[0]._forward_pre_hooks) for stage in stages] == [0, 0, 0, 1, 1, 1]
    assert torch.allclose(network.eval()(images.to(memory_format=torch.channels_last)), before, atol=1e-5)


def test_the_input_of_a_contiguous_stage_is_contiguous():
    network, seen = resnet(), []
    lay_out(network, list(split_into_stages(network).values()), torch.rand(1, 3, 48, 48))
    network.layer4[0].conv2.register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0].is_contiguous(), output.is_contiguous()))
    )
    network(torch.rand(2, 3, 48, 48).to(memory_format=torch.channels_last))
    assert seen == [(True, True)]
