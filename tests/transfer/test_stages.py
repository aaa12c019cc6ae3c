"""Every parameter of every family of networks is in one stage."""

import pytest
import timm
import torch

from classification import check_phases, phase_ends
from transfer import (
    LPFT,
    AutoRGN,
    BottomUp,
    Frozen,
    Full,
    Gradual,
    GradualOnPlateau,
    LayerDecay,
    Partial,
    SlidingWindow,
    Surgical,
    split_into_stages,
)

RESNET = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
BACKBONES = {
    "resnet18": RESNET,
    "test_resnet": RESNET,
    "convnext_atto": ["stem", *(f"stages.{i}" for i in range(4)), "head"],
    "mobilenetv3_small_050": ["stem", *(f"blocks.{i}" for i in range(6)), "head"],
    "efficientnet_lite0": ["stem", *(f"blocks.{i}" for i in range(7)), "head"],
    "regnetx_002": ["stem", *(f"s{i}" for i in range(1, 5)), "head"],
    "swin_tiny_patch4_window7_224": ["stem", *(f"layers.{i}" for i in range(4)), "head"],
    "vit_tiny_patch16_224": ["stem", *(f"blocks.{i}" for i in range(12)), "head"],
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_is_in_exactly_one_stage(name):
    network = timm.create_model(name, num_classes=3)
    stages = split_into_stages(network)
    assert list(stages) == BACKBONES[name]
    ids = [id(p) for stage in stages.values() for p in stage.parameters]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert {id(p) for p in stages["head"].parameters} == {id(p) for p in network.get_classifier().parameters()}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_strategy_fits_every_backbone(name):
    stages = BACKBONES[name]
    for strategy in (Frozen(), Partial(), Full(), Gradual(), GradualOnPlateau(), LPFT(), LayerDecay(), AutoRGN(),
                     Surgical(stages[1]), BottomUp(), SlidingWindow()):  # fmt: skip
        phases = strategy.phases(stages)
        check_phases(phases, stages, strategy.name)
        assert phase_ends(phases, 20)[-1] == 20


def test_every_buffer_is_below_a_module_of_a_stage():
    network = timm.create_model("test_resnet")
    owned = {id(b) for stage in split_into_stages(network).values() for m in stage.modules for b in m.buffers()}
    assert owned == {id(b) for b in network.buffers()}


def test_stages_are_in_the_order_of_the_forward_pass():
    network = timm.create_model("test_resnet", num_classes=3).eval()
    seen = []
    for name, stage in split_into_stages(network).items():
        stage.modules[0].register_forward_hook(lambda *_, name=name: seen.append(name))
    network(torch.zeros(1, 3, 32, 32))
    assert seen == RESNET
