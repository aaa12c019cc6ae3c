"""What learns in a phase, at which rate, and the mode of what is frozen."""

import pytest
import torch

from basics.errors import UserError
from transfer import Explicit, Frozen, Full, Partial, Phase, SlidingWindow, Surgical, TransferClassifier

NAMES = list("abc")


def make(strategy, **rest):
    return TransferClassifier(NAMES, strategy, backbone="test_resnet", weights="none", **rest)


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
    rates = make(Partial(lr_factor=0.1), lr=0.5).group_rates()
    assert {name: rate for name, rate in rates.items() if rate} == {
        "layer4": 0.05, "layer4.no_decay": 0.05, "head": 0.5, "head.no_decay": 0.5,
    }  # fmt: skip


def batch_norms(model):
    return {name: m for name, m in model.network.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}


@pytest.mark.parametrize(("policy", "moves", "learns"), [("eval", 0, 0), ("adapt", 1, 0), ("train", 1, 1)])
def test_batch_norm_of_frozen_stages_follows_its_policy(policy, moves, learns):
    model = make(Partial(), frozen_batch_norm=policy).train()
    norms = batch_norms(model)
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    model(torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8))
    for name, norm in norms.items():
        frozen = not name.startswith("layer4")
        assert torch.equal(norm.running_mean, before[name]) == (frozen and not moves), name
        assert norm.weight.requires_grad == (not frozen or bool(learns)), name
    assert not model.network.conv1[0].weight.requires_grad
    assert not any(norm.training for norm in batch_norms(model.eval()).values())


def test_trained_batch_norm_of_frozen_stages_learns_at_the_lowest_rate():
    groups = {
        g["name"]: g["lr"] for g in make(Partial(lr_factor=0.1), lr=1.0, frozen_batch_norm="train").parameter_groups()
    }
    assert (groups["layer1"], groups["layer1.no_decay"], groups["head"]) == (0.0, 0.1, 1.0)


def test_a_phase_may_have_a_batch_norm_policy_of_its_own():
    phases = [Phase({"head": 1.0}, until=1, batch_norm="adapt"), Phase({"head": 1.0})]
    model = make(Explicit(phases)).train()
    assert all(norm.training for norm in batch_norms(model).values())
    model.enter_phases([0, 1])
    assert not any(norm.training for norm in batch_norms(model).values())


def test_entering_a_phase_sets_flags_and_drops_gradients():
    model = make(SlidingWindow(1)).train()
    sum(p.sum() for p in model.network.parameters() if p.requires_grad).backward()
    assert model.network.conv1[0].weight.grad is not None
    model.enter_phases([0, 1])
    learning = {name.split(".")[0] for name, p in model.network.named_parameters() if p.requires_grad}
    assert learning == {"layer1", "fc"}
    assert model.network.layer1.training
    assert not model.network.conv1.training
    assert model.network.conv1[0].weight.grad is None


def test_l2_sp_draws_the_learning_backbone_to_its_pretrained_weights_in_place_of_decay():
    model = make(Partial(), l2_sp=0.5)
    model.on_fit_start()
    assert model.penalty() == 0
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 1.0
    size = sum(p.numel() for p in model.network.layer4.parameters())  # neither what is frozen nor the head
    torch.testing.assert_close(model.penalty(), torch.tensor(0.25 * size), rtol=1e-3, atol=0)
    decay = {group["name"]: group["weight_decay"] for group in model.parameter_groups()}
    assert (decay["layer4"], decay["head"]) == (0.0, 0.01)


def test_shares_of_the_cost_grow_with_what_learns():
    frozen, partial, full = (make(s).relative_costs()[0] for s in (Frozen(), Partial(), Full()))
    assert 1 / 3 < frozen < partial < full == 1
    # The gradient passes through what is frozen above the first learning stage.
    assert make(Surgical("stem")).relative_costs()[0] > 0.6


def test_grey_becomes_three_channels_with_the_backbones_own_statistics():
    model = make(Full())
    grey = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    expected = (1 - model.mean) / model.std
    torch.testing.assert_close(model.normalize(grey), expected.expand(1, 3, 8, 8))


@pytest.mark.parametrize("size", [32, 48, 57])
def test_any_input_size(size):
    assert make(Full()).eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_an_unknown_backbone_is_refused_with_a_proposal():
    with pytest.raises(UserError, match="did you mean resnet18"):
        TransferClassifier(NAMES, Full(), backbone="resnet19")


def test_an_unknown_stage_is_refused_before_anything_is_loaded():
    with pytest.raises(UserError, match="no stage 'layer9'"):
        TransferClassifier(NAMES, Partial(["layer9"]), backbone="test_resnet", weights="nowhere.pt")


def test_trained_batch_norm_of_frozen_stages_is_in_the_plan_and_in_its_cost():
    (frozen,) = make(Frozen(), frozen_batch_norm="eval").relative_costs()
    model = make(Frozen(), frozen_batch_norm="train", lr=0.5)
    assert model.relative_costs()[0] > 1.5 * frozen  # the gradient passes through everything
    assert model.shown_batch_norm(model.phase) == "train\n0.5"


def test_synchronised_batch_norm_of_a_frozen_stage_is_frozen_too():
    """`--trainer.sync_batchnorm` replaces the modules after the stages are known."""
    model = make(SlidingWindow(1))
    model.network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model.network)
    model.enter_phases([0, 1])
    norms = {name: m for name, m in model.network.named_modules() if isinstance(m, torch.nn.SyncBatchNorm)}
    assert {name.split(".")[0] for name, norm in norms.items() if norm.training} == {"layer1"}


def test_tokens_and_position_embeddings_are_not_decayed():
    model = TransferClassifier(NAMES, Full(), backbone="vit_tiny_patch16_224", weights="none")
    decayed = {id(p) for group in model.parameter_groups() if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in model.network.named_parameters() if p.ndim > 1 and id(p) not in decayed}
    assert names == {"cls_token", "pos_embed"}


def test_ratios_of_auto_rgn_end_with_their_phase():
    everything = Phase(["layer4", "head"], auto_rgn=True)
    model = make(Explicit([Phase(["layer4", "head"], until=1, auto_rgn=True), everything]), lr=1.0)
    model.rate_scales = {"layer4": 0.01, "head": 1.0}
    assert model.group_rates()["layer4"] == 0.01
    model.enter_phases([0, 1])
    assert model.group_rates()["layer4"] == 1.0
