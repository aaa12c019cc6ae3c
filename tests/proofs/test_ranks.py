"""Ranks are equal: two processes hold the same bits after every phase, and take the steps of one."""

import json

import pytest
import torch

from datamodules import sample_data

GRADUAL = '{"class_path": "transfer.Gradual", "init_args": {"at": [1, 2]}}'
FAULTS = "--trainer.callbacks+=tests.proofs.records."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranks")
    sample_data.write_fer2013(root, train=77, val=7, test=7)  # 2 x 32 and an uneven rest of 13
    return root


@pytest.fixture
def fit(launch, tiny_args, data, tmp_path):
    """Three phases of an epoch each."""

    def run(world, *options, **how):
        args = [*tiny_args(tmp_path / f"runs{world}", data), "--data.batch_size", 32, "--trainer.max_epochs", 3]
        record = ["--trainer.callbacks+=tests.proofs.records.Record", "--trainer.callbacks.folder", tmp_path / "seen"]
        return launch("fit", *args, "--model.strategy", GRADUAL, *options, *record, world=world, **how)

    return run


def ranks_by_epoch(folder):
    """Digests of the stages of both ranks, epoch by epoch."""
    ranks = []
    for rank in range(2):
        lines = map(json.loads, (folder / f"rank{rank}.jsonl").open())
        ranks.append([line["parameters"] for line in lines if "parameters" in line])
    return list(zip(*ranks, strict=True))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_ranks_hold_the_same_bits_after_every_phase(accumulate, fit, tmp_path):
    options = ["--model.check_ranks", "false", "--trainer.accumulate_grad_batches", accumulate]
    fit(2, *options, "--trainer.gradient_clip_val", 1.0)
    epochs = ranks_by_epoch(tmp_path / "seen")
    assert len(epochs) == 3
    for first, second in epochs:
        assert first == second


def test_ranks_that_share_cached_features_end_where_those_do_that_compute_them(launch, tiny_args, data, tmp_path):
    weights = []
    for cache in ("auto", "off"):
        args = [*tiny_args(tmp_path / cache, data), "--data.batch_size", 32, "--trainer.max_epochs", 3]
        args += ["--model.strategy", GRADUAL, "--model.optimizer", "sgd", "--data.augment", "[]"]
        launch("fit", *args, "--model.cache", cache, world=2)
        (last,) = (tmp_path / cache).rglob("last.ckpt")
        weights.append(torch.load(last, weights_only=True)["state_dict"])
        assert len([*data.glob(".features/*/features.bin")]) == 4  # train and val of the two phases that freeze
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=1e-6)


def test_the_proof_fails_where_ddp_is_not_wrapped_again(fit, tmp_path):
    fit(2, "--model.check_ranks", "false", FAULTS + "NeverWrappedAgain")
    first, *rest = ranks_by_epoch(tmp_path / "seen")
    assert first[0] == first[1]
    for one, other in rest:
        assert one != other


def test_ranks_that_drift_apart_stop_the_run(fit):
    done = fit(2, FAULTS + "NeverWrappedAgain", check=False)
    assert 1 in done.codes
    assert "the processes hold different parameters in layer4 at the end of phase 2" in done.output


def parameters(folder):
    (path,) = folder.rglob("last.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("fault", [[], [FAULTS + "RankWeightForgotten"]], ids=["right", "rank weight forgotten"])
def test_two_times_16_follows_one_times_32(fault, fit, tmp_path):
    """With layer norm, which sees one image at a time; batch norm would see 16 or 32."""
    options = ["--model.backbone", "test_convnext", "--model.optimizer", "sgd", "--model.lr", 0.1]
    fit(1, *options, "--model.warmup_epochs", 0)
    fit(2, *options, "--model.warmup_epochs", 0, *fault)
    alone, together = (parameters(tmp_path / f"runs{world}") for world in (1, 2))
    difference = max((alone[name] - together[name]).abs().max().item() for name in alone)
    assert (difference < 1e-5) == (not fault), difference
