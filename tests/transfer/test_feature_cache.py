"""A run on cached features is the run without a cache."""

import errno
import os
import shutil

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from basics.errors import UserError
from datamodules import FER2013
from transfer import (
    LPFT,
    Explicit,
    Frozen,
    Full,
    Gradual,
    Partial,
    Phase,
    SlidingWindow,
    TransferClassifier,
    classifier,
)
from transfer.feature_cache import FeatureCache
from transfer.features import make_room

FLIP = [{"HorizontalFlip": {"p": 0.5}}]


class Losses(Callback):
    """Keeps the losses of steps and validations, and a flag for every batch: it came without images."""

    def __init__(self):
        self.values = []
        self.replaced = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())
        self.replaced.append("image" not in batch)

    def on_train_epoch_end(self, trainer, pl_module):
        self.values.append(trainer.callback_metrics["val/loss"].item())


@pytest.fixture
def root(sample_root, tmp_path):
    shutil.copytree(sample_root / "fer2013", tmp_path / "data" / "fer2013")
    return tmp_path / "data"


@pytest.fixture
def train(root, monkeypatch):
    """Three epochs of a tiny network whose batch norm has statistics; gives its losses, weights and what was cached."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")

    def run(strategy, cache, augment=None, callbacks=(), trainer=(), augment_with="batch", **model):
        torch.manual_seed(0)
        classifier = TransferClassifier(
            list(FER2013.class_names), strategy, "test_resnet", weights="none", cache=cache, lr=1e-2, **model
        )
        for layer in classifier.network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 2)
        data = FER2013(32, 28, root=str(root), augment=augment, augment_with=augment_with, num_workers=0)
        losses = Losses()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu", "max_epochs": 3}
        L.Trainer(**quiet | dict(trainer), callbacks=[losses, *callbacks]).fit(classifier, data)
        assert classifier.frozen_part is None  # left as it was
        assert not data.without_images
        weights = torch.cat([p.detach().flatten() for p in classifier.network.state_dict().values()])
        return losses, weights

    return run


def entries(root):
    return sorted((root / ".features").glob("*/meta.json"))


def same(one, other, tolerance=1e-6):  # the bound that is promised; here they are equal
    torch.testing.assert_close(one[0].values, other[0].values, rtol=0, atol=tolerance)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=tolerance)


STRATEGIES = {
    "frozen": (Frozen, {}, 1),
    "partial": (lambda: Partial(stages=["layer4"], lr_factor=0.1), {}, 1),
    "gradual": (lambda: Gradual(at=[1, 2]), {}, 2),  # the last phase learns everything
    "sliding window": (lambda: SlidingWindow(width=3), {}, 2),  # what it leaves behind has learnt
    "with dropout": (Frozen, {"dropout": 0.5}, 1),
    "l2_sp": (Partial, {"l2_sp": 0.1}, 1),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_cached_arm_gives_the_losses_and_weights_of_the_uncached_one(name, train, root):
    strategy, options, phases = STRATEGIES[name]
    uncached = train(strategy(), "off", **options)
    assert not any(uncached[0].replaced)
    assert not entries(root)
    cached = train(strategy(), "auto", **options)
    assert any(cached[0].replaced)
    assert len(entries(root)) == 2 * phases  # train and val
    same(cached, uncached)


@pytest.mark.parametrize("augment", [None, FLIP])
def test_the_folded_prefix_gives_the_losses_of_the_plain_network(augment, train, monkeypatch):
    folded = train(Partial(), "off", augment)
    monkeypatch.setattr(classifier, "split_prefix", lambda *_: None)
    plain = train(Partial(), "off", augment)
    torch.testing.assert_close(folded[0].values, plain[0].values, rtol=0, atol=1e-5)
    assert folded[0].values != plain[0].values  # it was folded


INVALID = {
    "everything learns": {"strategy": Full()},
    "batch norm adapts": {"strategy": Frozen(), "frozen_batch_norm": "adapt"},
    "batch norm learns": {"strategy": Frozen(), "frozen_batch_norm": "train"},
    "the first stage learns": {"strategy": Explicit([Phase(["stem", "head"])])},
    "augmented": {"strategy": Frozen(), "augment": FLIP},
    "augmented by albumentations": {"strategy": Frozen(), "augment": FLIP, "augment_with": "albumentations"},
}


@pytest.mark.parametrize("why", INVALID)
def test_where_a_feature_may_change_nothing_is_cached(why, train, root):
    run = train(cache="auto", **INVALID[why])
    assert not any(run[0].replaced)
    assert not entries(root)
    same(run, train(cache="off", **INVALID[why]))


def test_only_the_phase_that_is_frozen_is_cached(train):
    run = train(LPFT(probe=1, lr_factor=0.1), "auto")
    steps = len(run[0].replaced) // 3
    assert run[0].replaced == [True] * steps + [False] * 2 * steps


@pytest.mark.parametrize("augment_with", ["batch", "albumentations"])
def test_as_many_views_as_epochs_are_the_uncached_run_with_augmentation(augment_with, train, root):
    options = {"augment": FLIP, "augment_with": augment_with}
    uncached, cached = train(Frozen(), "off", **options), train(Frozen(), 3, **options)
    assert len(entries(root)) == 3 + 1
    same(cached, uncached)


def test_fewer_views_are_taken_in_turns(train, root):
    run = train(Frozen(), 2, augment=FLIP, trainer={"max_epochs": 4})
    assert all(run[0].replaced)
    assert len(entries(root)) == 2 + 1


def test_another_run_finds_the_features_and_gives_the_same_bits(train, root, monkeypatch):
    first = train(Frozen(), "auto")
    monkeypatch.setattr(FER2013, "whole_split", None)  # computing again would fail
    same(first, train(Frozen(), "auto"), tolerance=0)
    assert any(train(LPFT(probe=1), "auto")[0].replaced)  # a probe is a frozen arm


@pytest.mark.parametrize("change", ["weights", "image_size", "seed"])
def test_other_features_are_not_taken_for_these(change, train, root, monkeypatch):
    options = {"augment": FLIP, "trainer": {"max_epochs": 1}}
    train(Frozen(), 1, **options)
    before = set(entries(root))
    if change == "seed":
        monkeypatch.setenv("PL_GLOBAL_SEED", "1")
        train(Frozen(), 1, **options)
        assert len(set(entries(root)) - before) == 1  # val is not augmented
    elif change == "weights":
        train(Partial(), 1, **options)
        assert len(set(entries(root)) - before) == 2
    else:
        train(Frozen(), 1, augment=[*FLIP, {"VerticalFlip": {"p": 0.5}}], trainer={"max_epochs": 1})
        assert len(set(entries(root)) - before) == 1


@pytest.mark.parametrize("limit", [{"limit_train_batches": 1, "max_epochs": 2}, {"fast_dev_run": True}])
def test_a_try_of_a_few_batches_does_not_compute_all_features(limit, train, root):
    run = train(Frozen(), "auto", trainer=limit)
    assert not any(run[0].replaced)
    assert not entries(root)


class Meddler(Callback):
    """Changes a frozen weight."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with torch.no_grad():
            pl_module.network.conv1[0].weight += 1e-3


def test_a_frozen_weight_that_changes_stops_the_run(train):
    with pytest.raises(RuntimeError, match="frozen stages have changed during phase 1"):
        train(Frozen(), "auto", callbacks=[Meddler()])


def test_what_needs_more_than_the_bound_runs_uncached_and_says_so(train, root, capsys, caplog):
    caplog.set_level("INFO")
    run = train(Frozen(), "auto", cache_gb=1e-6)
    assert not any(run[0].replaced)
    assert "need more than 1e-06 GB, --model.cache_gb" in caplog.text + capsys.readouterr().err
    assert not entries(root)


def test_least_recently_used_features_make_room(tmp_path):
    for number, used in enumerate([300, 100, 200]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "features.bin").write_bytes(bytes(10))
        (folder / "meta.json").write_text("{}")
        os.utime(folder / "meta.json", (used, used))
    make_room(tmp_path, 20)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "2"}


def test_a_full_disk_leaves_nothing_half_written(train, root, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"No space left.*--model\.cache off"):
        train(Frozen(), "auto")
    assert [path.name for path in (root / ".features").iterdir() if not path.name.endswith(".lock")] == []


def test_it_is_part_of_every_transfer_classifier():
    model = TransferClassifier(["a", "b"], Frozen(), "test_resnet", weights="none", cache=3, cache_gb=2)
    (cache,) = (callback for callback in model.configure_callbacks() if isinstance(callback, FeatureCache))
    assert (cache.cache, cache.limit) == (3, 2 * 10**9)


@pytest.mark.parametrize("cache", [0, -1])
def test_a_number_of_views_is_at_least_one(cache):
    with pytest.raises(UserError, match=r"model\.cache"):
        TransferClassifier(["a", "b"], Frozen(), "test_resnet", weights="none", cache=cache)
