"""Frozen means frozen: bit-equal after a phase, buffers too, and the same in training and evaluation mode."""

import json

import pytest

from datamodules import sample_data
from transfer import Frozen, Partial, SlidingWindow

STAGES = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
STRATEGIES = {"Frozen": Frozen(), "Partial": Partial(), "SlidingWindow": SlidingWindow()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("frozen")
    sample_data.write_fer2013(root, train=41, val=7, test=7)
    return root


@pytest.fixture
def epochs(launch, tiny_args, data, tmp_path):
    """The records of every epoch's end."""

    def run(strategy, *options):
        args = [*tiny_args(tmp_path, data), "--data.batch_size", 8, "--trainer.max_epochs", 4, "--model.lr", 0.1]
        record = ["--trainer.callbacks+=tests.proofs.records.Record", "--trainer.callbacks.folder", tmp_path / "seen"]
        launch("fit", *args, "--model.strategy", f"transfer.{strategy}", *options, *record)
        lines = map(json.loads, (tmp_path / "seen/rank0.jsonl").open())
        return [line for line in lines if "moved" in line]

    return run


def learning_by_epoch(strategy):
    """In 4 epochs: one phase of four, or four of one."""
    phases = STRATEGIES[strategy].phases(STAGES)
    for epoch in range(4):
        factors = phases[epoch if len(phases) > 1 else 0].factors(STAGES)
        yield [name for name in STAGES if factors[name]]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_does_not_learn_stays_bit_equal(strategy, epochs):
    lines = epochs(strategy)
    for line, learning in zip(lines, learning_by_epoch(strategy), strict=True):
        assert line["moved"] == learning
        below = STAGES[: STAGES.index(learning[0])]
        assert line["same_in_both_modes"][: len(below)] == below


def test_the_proof_fails_where_frozen_batch_norm_is_in_training_mode(epochs):
    fault = ["--trainer.callbacks+=tests.proofs.records.FrozenBatchNormInTrainingMode"]
    (line, *_) = epochs("Partial", *fault)
    assert line["moved"] == STAGES


@pytest.mark.parametrize("policy", ["adapt", "train"])
def test_batch_norm_moves_where_that_is_asked_for(policy, epochs):
    (line, *_) = epochs("Frozen", "--model.frozen_batch_norm", policy)
    assert line["moved"] == STAGES
    assert line["same_in_both_modes"] == []
