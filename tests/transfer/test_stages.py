import pytest
import timm
import torch

from transfer import split_into_stages

RESNET = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
BACKBONES = {
    "resnet18": RESNET,
    "test_resnet": RESNET,
    "convnext_atto": ["stem", *(f"stages.{i}" for i in range(4)), "head"],
    "mobilenetv3_small_050": ["stem", *(f"blocks.{i}" for i in range(6)), "head"],
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


def test_every_buffer_is_below_a_module_of_a_stage():
    network = timm.create_model("test_resnet")
    owned = {id(b) for stage in split_into_stages(network).values() for m in stage.modules for b in m.buffers()}
    assert owned == {id(b) for b in network.buffers()}


def test_a_frozen_stage_has_no_gradient_and_is_in_evaluation_mode():
    network = timm.create_model("test_resnet").train()
    stages = split_into_stages(network)
    stages["layer2"].learn(False)
    assert not any(p.requires_grad for p in network.layer2.parameters())
    assert not any(module.training for module in network.layer2.modules())
    assert network.layer3.training
    stages["layer2"].learn(True)
    assert all(p.requires_grad for p in network.layer2.parameters())
    assert network.layer2.training


def test_stages_are_in_the_order_of_the_forward_pass():
    network = timm.create_model("test_resnet", num_classes=3).eval()
    seen = []
    for name, stage in split_into_stages(network).items():
        stage.modules[0].register_forward_hook(lambda *_, name=name: seen.append(name))
    network(torch.zeros(1, 3, 32, 32))
    assert seen == RESNET
