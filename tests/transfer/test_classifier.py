import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from transfer import Frozen, Full, Partial, TransferClassifier

NAMES = list("abc")


def make(strategy, **rest):
    model = TransferClassifier(NAMES, strategy, backbone="test_resnet", weights="none", **rest)
    model.enter(model.phases[0])
    return model


def test_train_keeps_frozen_stages_in_evaluation_mode():
    model = make(Partial()).train()
    assert model.network.layer4.training
    assert model.network.fc.training
    assert not any(m.training for m in [*model.network.layer1.modules(), *model.network.conv1.modules()])


def test_a_frozen_network_gives_the_same_features_in_train_and_eval():
    model = make(Frozen())
    images = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(model.train()(images), model.eval()(images), rtol=0, atol=0)


def test_frozen_stages_have_rate_zero_and_the_others_theirs():
    assert make(Partial(lr_factor=0.1), lr=0.5).learning_rates() == {
        "stem": 0, "layer1": 0, "layer2": 0, "layer3": 0, "layer4": 0.05, "head": 0.5,
    }  # fmt: skip


def test_grey_becomes_three_channels_with_the_backbones_own_statistics():
    model = make(Full())
    grey = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    expected = (1 - model.mean) / model.std
    torch.testing.assert_close(model.normalize(grey), expected.expand(1, 3, 8, 8))


@pytest.mark.parametrize("size", [32, 48, 57])
def test_any_input_size(size):
    assert make(Full()).eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_an_unknown_backbone_is_refused_with_a_proposal():
    with pytest.raises(MisconfigurationException, match="did you mean resnet18"):
        TransferClassifier(NAMES, Full(), backbone="resnet19")


def test_an_unknown_stage_is_refused_before_anything_is_loaded():
    with pytest.raises(MisconfigurationException, match="no stage 'layer9'"):
        TransferClassifier(NAMES, Partial(["layer9"]), backbone="test_resnet", weights="nowhere.pt")
