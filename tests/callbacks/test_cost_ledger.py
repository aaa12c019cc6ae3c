"""cost.json says what was computed, whether the run was in one piece or not."""

import json
import shutil

import lightning.pytorch as L
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from callbacks import CostLedger, StepCheckpoint, cost_ledger
from datamodules import FER2013, FashionMNIST
from fashion_cnn import FashionClassifier
from transfer import Frozen, Full, Gradual, Partial, TransferClassifier

MEASURED = {"seconds", "train_seconds", "images_per_second", "peak_memory_mb"}
FLIP = [{"HorizontalFlip": {"p": 0.5}}]
IMAGES, STEPS_PER_EPOCH, EPOCHS = 140, 5, 3


class Killed(Exception):
    pass


class KillAt(L.Callback):
    """Ends a run before a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Killed


class Counted(L.Callback):
    """Counts the operations of all training steps, as torch does."""

    flops = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.counter = FlopCounterMode(display=False)
        self.counter.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.counter.__exit__(None, None, None)
        self.flops += self.counter.get_total_flops()


@pytest.fixture
def fit(sample_root, tmp_path, monkeypatch):
    """Train a tiny network on pictures of 32 px; gives the content of cost.json."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    shutil.copytree(sample_root / "fer2013", tmp_path / "fer2013")

    def run(strategy, augment=None, callbacks=(), every=0, resume=False, fresh=True, **trainer):
        model = TransferClassifier(list(FER2013.class_names), strategy, "test_resnet", weights="none")
        data = FER2013(32, IMAGES // STEPS_PER_EPOCH, root=str(tmp_path), augment=augment, num_workers=0)
        path = tmp_path / "run/cost.json"
        if fresh and not resume:
            for folder in (path.parent, tmp_path / ".features"):
                shutil.rmtree(folder, ignore_errors=True)
        saving = [StepCheckpoint(path.parent, every)] if every else []
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        quiet |= {"num_sanity_val_steps": 0, "use_distributed_sampler": False, "max_epochs": EPOCHS}
        whole = L.Trainer(**quiet | trainer, callbacks=[*callbacks, CostLedger(path), *saving])
        whole.fit(model, data, ckpt_path=path.with_name("last.ckpt") if resume else None, weights_only=False)
        return json.loads(path.read_text()) if path.exists() else None

    return run


def counts(record):
    """The entries that do not depend on the machine."""
    return [
        {key: value for key, value in sums.items() if key not in MEASURED}
        for sums in [*record["phases"], record["total"]]
    ]


@pytest.mark.parametrize("strategy", [Frozen(), Partial(), Full()])
def test_operations_are_those_that_torch_counts_in_the_steps(strategy, fit):
    steps = Counted()
    record = fit(strategy, FLIP, [steps])["total"]
    assert (record["images"], record["epochs"]) == (EPOCHS * IMAGES, EPOCHS)
    assert record["computed_flops"] == record["forward_flops"] + record["backward_flops"]
    assert record["computed_flops"] == pytest.approx(steps.flops, rel=0.02)


@pytest.mark.parametrize("strategy", [Frozen(), Partial()])
def test_with_cached_features_what_is_frozen_is_computed_once(strategy, fit):
    steps = Counted()
    record = fit(strategy, None, [steps])["total"]
    uncached = fit(strategy, FLIP)["total"]
    assert record["forward_flops"] == uncached["forward_flops"]
    assert record["backward_flops"] == uncached["backward_flops"]
    stood_in = uncached["computed_flops"] - steps.flops
    assert record["computed_flops"] == pytest.approx(steps.flops + stood_in / EPOCHS, rel=0.02)
    assert record["computed_flops"] < 0.5 * uncached["computed_flops"]


def test_features_that_another_run_has_computed_cost_nothing(fit):
    first, again = fit(Frozen())["total"], fit(Frozen(), fresh=False)["total"]
    # One pass over what is frozen, which is nearly the whole network.
    assert first["computed_flops"] - again["computed_flops"] == pytest.approx(first["forward_flops"] / EPOCHS, rel=0.02)


def test_phases_add_up_to_the_total(fit):
    record = fit(Gradual(at=[1, 2]), FLIP)
    phases, total = record["phases"], record["total"]
    assert [phase["stages"] for phase in phases] == [
        ["head"],
        ["layer4", "head"],
        ["stem", "layer1", "layer2", "layer3", "layer4", "head"],
    ]
    for name in cost_ledger.SUMS:
        assert sum(phase[name] for phase in phases) == pytest.approx(total[name])
    assert phases[0]["backward_flops"] < phases[1]["backward_flops"] < phases[2]["backward_flops"]
    assert total["trainable"] == phases[2]["trainable"] == max(phase["trainable"] for phase in phases)
    assert all(phase["epochs"] == 1 and phase["images"] == IMAGES for phase in phases)
    assert all(0 < phase["train_seconds"] < phase["seconds"] for phase in phases)
    assert {phase["energy_joules"] for phase in phases} == {None}  # on a CPU


@pytest.mark.parametrize(("step", "augment"), [(3, FLIP), (7, None), (13, None)])
def test_a_resumed_run_has_the_costs_of_an_unbroken_one(step, augment, fit, tmp_path):
    whole = fit(Gradual(at=[1, 2]), augment, every=2)
    with pytest.raises(Killed):
        fit(Gradual(at=[1, 2]), augment, [KillAt(step)], every=2)
    saved = torch.load(tmp_path / "run/last.ckpt", weights_only=False)["callbacks"]["CostLedger"]["phases"]
    resumed = fit(Gradual(at=[1, 2]), augment, every=2, resume=True)
    assert counts(resumed) == counts(whole)
    for before, after in zip(saved, resumed["phases"], strict=False):
        assert 0 < before["train_seconds"] <= before["seconds"] <= after["seconds"]


def test_a_try_leaves_no_file(fit):
    assert fit(Full(), fast_dev_run=True) is None


def test_a_network_that_learns_as_a_whole(sample_root, tmp_path):
    model = FashionClassifier(list(FashionMNIST.class_names), width=8)
    data = FashionMNIST(batch_size=32, root=str(sample_root), num_workers=0)
    steps = Counted()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    options = {"max_epochs": 1, "use_distributed_sampler": False, "callbacks": [steps, CostLedger(tmp_path / "c.json")]}
    L.Trainer(**quiet, **options, num_sanity_val_steps=0).fit(model, data)
    total = json.loads((tmp_path / "c.json").read_text())["total"]
    assert total["computed_flops"] == pytest.approx(steps.flops, rel=0.02)
