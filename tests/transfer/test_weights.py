"""Pretrained weights are loaded whole, or refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from basics.errors import UserError
from transfer.weights import load_weights

NAME = "test_resnet"


@pytest.fixture
def pretrained():
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=20)


def check_loaded(network, pretrained):
    head = network.get_classifier().weight.clone()
    state, wanted = network.state_dict(), pretrained.state_dict()
    assert all(torch.equal(state[name], wanted[name]) for name in state if not name.startswith("fc."))
    assert head.shape == (3, 96)


@pytest.mark.parametrize("kind", ["safetensors", "state dict", "checkpoint"])
def test_all_but_the_head_comes_from_the_file(tmp_path, pretrained, kind):
    network, path = timm.create_model(NAME, num_classes=3), tmp_path / "weights.pt"
    state = pretrained.state_dict()
    if kind == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif kind == "state dict":
        torch.save(state, path)
    else:
        torch.save({"state_dict": {f"network.{name}": value for name, value in state.items()}}, path)
    load_weights(network, NAME, str(path))
    check_loaded(network, pretrained)


def test_none_leaves_the_network_alone():
    network = timm.create_model(NAME)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_weights(network, NAME, "none")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_missing_file_a_wrong_file_and_no_network_are_one_line(tmp_path, pretrained):
    network = timm.create_model(NAME)
    with pytest.raises(UserError, match=r"no weights file nowhere\.pt"):
        load_weights(network, NAME, "nowhere.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="neither a safetensors file nor"):
        load_weights(network, NAME, str(tmp_path / "text.pt"))
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"(another shape|lacks).* does not fit test_resnet"):
        load_weights(network, NAME, str(tmp_path / "other.pt"))


def test_a_file_that_runs_code_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError):
        load_weights(timm.create_model(NAME), NAME, str(tmp_path / "evil.pt"))


def test_a_hub_that_cannot_be_reached_names_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("timm.create_model", lambda *a, **k: (_ for _ in ()).throw(ConnectionError("offline")))
    with pytest.raises(UserError, match=r"cannot get weights.*--model.weights FILE.*--model.weights none"):
        load_weights(torch.nn.Linear(1, 1), "resnet18.tv_in1k", "hub")
