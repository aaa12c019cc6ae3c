"""A network in two parts gives what it gives as a whole."""

import pytest
import timm
import torch
from torch import nn

from transfer.prefix import digest, reproduces, split_prefix
from transfer.stages import split_into_stages

NETWORKS = ["test_resnet", "test_convnext", "test_efficientnet", "test_nfnet", "vit_tiny_patch16_224"]


def make(name, **options):
    torch.manual_seed(0)
    if name.startswith("vit"):
        options |= {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
    network = timm.create_model(name, num_classes=5, **options)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after a training: folding a fresh one would change nothing
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
    return network, list(split_into_stages(network).values())


def split_at(network, stages, first):
    return split_prefix(network, stages, [stage.name for stage in stages[first:]])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_two_parts_give_what_the_network_gives_wherever_it_is_split(name):
    network, stages = make(name)
    images = torch.rand(2, 3, 32, 32)
    whole = network.eval()(images)
    for first in range(1, len(stages)):
        parts = split_at(network, stages, first)
        features = parts.features(images)
        torch.testing.assert_close(parts.logits(features), whole, rtol=1e-5, atol=1e-5 * whole.abs().max().item())
        assert reproduces(network, parts, images)
        assert not features.requires_grad


def test_batch_norm_of_the_frozen_part_is_folded_and_the_networks_stays():
    network, stages = make("test_resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    parts = split_at(network, stages, len(stages) - 1)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in parts.frozen.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_what_comes_before_the_first_that_changes_is_frozen():
    network, stages = make("test_resnet")
    parts = split_prefix(network, stages, ["layer2", "head"])  # layer3 and layer4 are frozen too, and behind it
    assert [name.split(".")[0] for name in parts.sources if "layer" in name] == ["layer1"]
    learning = set(map(id, parts.rest.parameters()))
    assert all(id(p) in learning for stage in stages if stage.name in ("layer2", "layer4") for p in stage.parameters)


def test_nothing_is_frozen_before_the_first_stage():
    network, stages = make("test_resnet")
    assert split_at(network, stages, 0) is None


def test_dropout_before_the_head_is_drawn_anew_in_training_and_absent_in_evaluation():
    network, stages = make("test_resnet", drop_rate=0.5)
    parts = split_at(network, stages, len(stages) - 1)
    images = torch.rand(2, 3, 32, 32)
    features = parts.features(images)
    network.train()
    torch.manual_seed(1)
    first = parts.logits(features)
    assert not torch.equal(parts.logits(features), first)
    for stage in stages[:-1]:
        for module in stage.modules:
            module.eval()
    torch.manual_seed(1)
    torch.testing.assert_close(network(images), first, rtol=1e-5, atol=1e-5)
    network.eval()
    torch.testing.assert_close(parts.logits(features), network(images), rtol=1e-5, atol=1e-5)


def test_the_digest_is_that_of_the_frozen_weights_alone():
    network, stages = make("test_resnet")
    parts = split_at(network, stages, len(stages) - 1)
    before = digest(network, parts)
    nn.init.zeros_(network.fc.weight)
    assert digest(network, parts) == before
    with torch.no_grad():
        network.layer1[0].bn1.running_mean[0] += 1e-3
    assert digest(network, parts) != before


def test_a_network_whose_computation_depends_on_its_input_is_not_split():
    network, stages = make("test_vit")  # fits its position embedding to the size of the images
    assert split_at(network, stages, len(stages) - 1) is None


def test_parts_that_do_not_reproduce_the_network_are_recognised():
    network, stages = make("test_resnet")
    parts = split_at(network, stages, 3)
    with torch.no_grad():
        network.layer1[0].conv1.weight[0] += 1.0
    assert not reproduces(network, parts, torch.rand(2, 3, 32, 32))
