"""A run killed anywhere and resumed ends in the bits of one that was never killed."""

import csv
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch

from datamodules import sample_data

EPOCHS = 6
STEPS_PER_EPOCH = 5
STEPS = EPOCHS * STEPS_PER_EPOCH
# 41 = 5 * 8 + 1, where the last image joins the fifth step; three phases of two epochs, each with random dropout.
SIZES = {"train": 41, "val": 19, "test": 19}
GRADUAL = '{"class_path": "transfer.Gradual", "init_args": {"at": [2, 4]}}'
RUN = ["--data.batch_size", 8, "--trainer.max_epochs", EPOCHS, "--model.strategy", GRADUAL, "--model.dropout", 0.2]
SCHEDULES = {
    "onecycle": ["--model.schedule", "onecycle", "--model.warmup_epochs", 0],
    "warmup": ["--model.schedule", "cosine", "--model.warmup_epochs", 0.5],
    "plateau": ["--model.schedule", "plateau", "--model.warmup_epochs", 0],
}
MEASURED = {"train_seconds", "epoch_seconds", "images_per_second", "peak_memory_mb"}


@dataclass(frozen=True)
class Combination:
    """One way to train: number of processes, optimizer, schedule, and steps between two checkpoints."""

    world: int
    optimizer: str
    schedule: str
    every: int = 1
    workers: int = 0
    accumulate: int = 1

    @property
    def args(self):
        options = ["--model.optimizer", self.optimizer, "--data.num_workers", self.workers]
        options += ["--trainer.accumulate_grad_batches", self.accumulate]
        return [*RUN, *SCHEDULES[self.schedule], *options]

    def __str__(self):
        return f"{self.world}-{self.optimizer}-{self.schedule}"


COMBINATIONS = [
    Combination(1, "adamw", "onecycle"),
    Combination(2, "adamw", "warmup"),
    Combination(1, "sgd", "warmup", every=2, workers=2),
    Combination(2, "sgd", "plateau", every=2),
    Combination(1, "adamw", "plateau"),
    Combination(2, "sgd", "onecycle"),
]
# Dealt in turn, so that each combination is killed in all three phases; the first checkpoint may be that of step 2.
RANDOM_STEPS = sorted(random.Random(0).sample(range(3, STEPS + 1), 20))
KILLS = [(COMBINATIONS[number % len(COMBINATIONS)], step) for number, step in enumerate(RANDOM_STEPS)]
FAST = {KILLS[0], KILLS[12], KILLS[7]}  # the first combination in two phases, the second in one


def case(*values, fast=False):
    return pytest.param(*values, id="-".join(map(str, values)), marks=() if fast else pytest.mark.slow)


def feed(digest, value):
    """Feed a nested value to a hash: every bit of the tensors, and where in the nest they are."""
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{list(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in sorted(items, key=lambda pair: repr(pair[0])):
            digest.update(f"{key!r}:".encode())
            feed(digest, item)
        digest.update(b";")
    else:
        digest.update(f"{value!r},".encode())


def outcome(folder):
    """SHA-256 of each part of a run's state, and each value in the table of its epochs."""
    last, best = (torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("last", "best"))
    parts = {name: last[name] for name in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers")}
    parts |= {"phases": last["callbacks"]["PhaseCallback"], "best weights": best["state_dict"]}
    values = {}
    for name, value in parts.items():
        digest = hashlib.sha256()
        feed(digest, value)
        values[name] = digest.hexdigest()
    for number, row in enumerate(csv.DictReader((folder / "metrics.csv").open())):
        values |= {f"{name} of epoch {number}": value for name, value in row.items() if name not in MEASURED}
    return values


def assert_same(resumed, reference):
    """Each difference in full; the first epoch that differs is that of the kill which is to blame."""
    names = resumed.keys() | reference.keys()
    different = {name: (resumed.get(name), reference.get(name)) for name in names}
    different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    assert not different, f"{len(different)} of {len(names)}: {sorted(different)}"


@pytest.fixture(scope="module")
def small_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    sample_data.write_fer2013(root, **SIZES)
    return root


@pytest.fixture(scope="module")
def reference(launch, tmp_path_factory, tiny_args, small_root):
    """The outcome of a combination that nobody kills."""
    known = {}

    def give(combination, *options):
        if (combination, options) not in known:
            root = tmp_path_factory.mktemp("reference")
            launch("fit", *tiny_args(root, small_root), *combination.args, *options, world=combination.world)
            (last,) = root.rglob("last.ckpt")
            known[combination, options] = outcome(last.parents[1])
        return known[combination, options]

    return give


@pytest.fixture
def killed(launch, tmp_path, tiny_args, small_root):
    """The outcome of a combination that is killed and resumed as often as `steps` has entries."""

    def give(combination, where, steps, *options):
        args = ["fit", *tiny_args(tmp_path, small_root), *combination.args, *options]
        args.append("--trainer.callbacks+=tests.proofs.callbacks.KillAt")
        for step in steps:
            kill = {"KILL_AT": f"{step} {where}"}
            done = launch(*args, world=combination.world, env=kill, check=False)
            assert f"killed at step {step}\n" in done.output, done.output
            if "--ckpt_path" not in args:
                args = [*args, "--ckpt_path", "last"]
        launch(*args, world=combination.world)
        (last,) = tmp_path.rglob("last.ckpt")
        return outcome(last.parents[1])

    return give


BOUNDARIES = range(STEPS_PER_EPOCH, STEPS + 1, STEPS_PER_EPOCH)


@pytest.mark.parametrize(
    ("combination", "steps"),
    [case(COMBINATIONS[0], [10], fast=True)] + [case(combination, [*BOUNDARIES]) for combination in COMBINATIONS],
)
def test_killed_between_epochs(combination, steps, killed, reference):
    """From the epoch's own checkpoint; a run that is killed after every epoch is resumed six times."""
    assert_same(killed(combination, "epoch_end", steps), reference(combination))


@pytest.mark.parametrize(("combination", "step"), [case(*kill, fast=kill in FAST) for kill in KILLS])
def test_killed_at_a_step(combination, step, killed, reference):
    every = ["--run.every_n_train_steps", combination.every]
    assert_same(killed(combination, "batch_end", [step], *every), reference(combination))


@pytest.mark.parametrize(
    ("combination", "step"), [case(COMBINATIONS[0], 7, fast=True), case(COMBINATIONS[0], 12), case(COMBINATIONS[1], 13)]
)
def test_killed_in_an_epoch_that_trains_on_cached_features(combination, step, killed, reference, small_root):
    options = ["--data.augment", "[]", "--data.cache_dir", small_root / "features"]
    every = ["--run.every_n_train_steps", combination.every]
    assert_same(killed(combination, "batch_end", [step], *options, *every), reference(combination, *options))
    assert len([*small_root.glob("features/.features/*/features.bin")]) >= 4  # of two phases


@pytest.mark.parametrize("combination", [case(combination) for combination in COMBINATIONS[:2]])
def test_killed_in_a_validation(combination, killed, reference):
    every = ["--run.every_n_train_steps", combination.every]
    assert_same(killed(combination, "validation", [3 * STEPS_PER_EPOCH], *every), reference(combination))


@pytest.mark.parametrize("step", [case(step) for step in (5, 8, 14)])
def test_killed_while_gradients_are_accumulated(step, killed, reference):
    """Five batches an epoch are three steps, of two, two and one; checkpoints lie between steps only."""
    combination = Combination(1, "sgd", "warmup", accumulate=2)
    assert_same(killed(combination, "batch_end", [step], "--run.every_n_train_steps", 1), reference(combination))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "combination"),
    [
        ("StepsNotSeeded", COMBINATIONS[0]),
        ("LoaderStartsOver", COMBINATIONS[0]),
        ("PhaseForgotten", COMBINATIONS[0]),
        ("SumsForgotten", COMBINATIONS[1]),
    ],
)
def test_the_proof_fails_where_a_known_fault_is_put_back(fault, combination, killed, reference):
    faulty = [f"--trainer.callbacks+=tests.proofs.records.{fault}"]
    with pytest.raises(AssertionError, match=r"^\d+ of \d+: "):
        assert_same(
            killed(combination, "batch_end", [13], "--run.every_n_train_steps", 1, *faulty),
            reference(combination, *faulty),
        )
