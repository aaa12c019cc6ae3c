"""Phases together with other options that users switch on."""

import csv
import json
from math import cos, pi

import pytest
import torch

from datamodules import sample_data

GRADUAL = '{"class_path": "transfer.Gradual", "init_args": {"at": [1, 2]}}'
KILLED = "--trainer.callbacks+=tests.proofs.callbacks.KillAt"
EMA = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", 0.9]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("works_with")
    sample_data.write_fer2013(root, train=40, val=14, test=7)
    return root


@pytest.fixture
def fit(launch, tiny_args, data, tmp_path):
    """Three phases of an epoch each; gives what was printed, and last.ckpt."""

    def run(*options, runs="runs", **how):
        args = [*tiny_args(tmp_path / runs, data), "--data.batch_size", 8, "--trainer.max_epochs", 3]
        output = launch("fit", *args, "--model.strategy", GRADUAL, *options, **how).output
        (last,) = (tmp_path / runs).rglob("last.ckpt")
        return output, torch.load(last, weights_only=True)

    return run


def scheduler(name, **arguments):
    whole = {"class_path": f"torch.optim.lr_scheduler.{name}", "init_args": arguments}
    return ["--model.schedule", json.dumps(whole), "--model.warmup_epochs", 0]


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.precision", "bf16-mixed"],
        ["--trainer.accumulate_grad_batches", 2, "--trainer.gradient_clip_val", 0.5],
        ["--model.l2_sp", 0.01],
        ["--model.schedule", "onecycle", "--model.warmup_epochs", 0, "--model.optimizer", "sgd"],
        scheduler("StepLR", step_size=1),
        scheduler("CosineAnnealingWarmRestarts", T_0=2),
        scheduler("ReduceLROnPlateau", mode="max", patience=0),
        ["--trainer.check_val_every_n_epoch", 2],
        ["--trainer.limit_val_batches", 0],
        ["--trainer.max_steps", 13],
    ],
    ids=lambda options: "-".join(map(str, options[:2])),
)
def test_three_phases_are_carried_out(options, fit):
    output, last = fit(*options)
    assert "phase 2/3 at epoch 1: layer4 joins, " in output
    assert "phase 3/3 at epoch 2: stem, layer1, layer2, layer3 join, " in output
    assert last["callbacks"]["PhaseCallback"]["started"] == [0, 1, 2]
    assert last["epoch"] == 2


@pytest.mark.parametrize("continues", [False, True])
def test_a_schedule_is_the_phases_own_unless_it_continues_the_one_before(continues, fit, tmp_path):
    phases = [{"learn": {"head": 1.0}, "until": 1}, {"learn": ["layer4", "head"], "continue_schedule": continues}]
    explicit = {"class_path": "transfer.Explicit", "init_args": {"phases": phases}}
    fit("--model.strategy", json.dumps(explicit), "--model.lr", 1.0, "--model.warmup_epochs", 0)
    (table,) = tmp_path.rglob("metrics.csv")
    rates = [[float(row[name]) for name in ("lr/head", "lr/layer4")] for row in csv.DictReader(table.open())]

    def cosine(step, steps):
        return pytest.approx(0.5 * (1 + cos(pi * step / steps)), rel=1e-5)

    if continues:  # the last step of every epoch of 15 steps in all
        assert rates == [[cosine(4, 15), 0], [cosine(9, 15)] * 2, [cosine(14, 15)] * 2]
    else:
        assert rates == [[cosine(4, 5), 0], [cosine(4, 10)] * 2, [cosine(9, 10)] * 2]


def test_a_compiled_network_is_compiled_once_a_phase(fit):
    lpft = ["--model.strategy", "transfer.LPFT", "--trainer.max_epochs", 2]
    plain = fit(*lpft, runs="plain")[1]["state_dict"]
    output, last = fit(*lpft, "--model.compile", "eager", timeout=240)  # tracing alone takes seconds
    assert output.count("the network is compiled anew") == output.count("phase 2: the network is compiled anew") == 1
    for name, value in last["state_dict"].items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_averaged_weights_leave_frozen_stages_alone_and_resume(fit):
    frozen = ["--model.strategy", "transfer.Partial"]
    start = fit(*frozen, "--trainer.limit_train_batches", 1, runs="start")[1]["state_dict"]
    _, last = fit(*EMA, *frozen, runs="partial")
    for name, value in last["state_dict"].items():
        if not name.startswith(("network.layer4", "network.fc")):
            # Not bit-equal: Lightning averages x and x as 0.9 x + 0.1 x, which rounds.
            torch.testing.assert_close(value, start[name], rtol=1e-5, atol=1e-7)
    assert not torch.equal(last["state_dict"]["network.fc.weight"], last["current_model_state"]["network.fc.weight"])

    args = [*EMA, KILLED, "--run.every_n_train_steps", 1]
    fit(*args, runs="killed", env={"KILL_AT": "7 batch_end"}, check=False)
    resumed = fit(*args, "--ckpt_path", "last", runs="killed")[1]
    whole = fit(*EMA, runs="whole")[1]
    for key in ("state_dict", "current_model_state"):
        for name, value in whole[key].items():
            assert torch.equal(value, resumed[key][name]), name


@pytest.mark.slow
def test_a_users_own_step_checkpoints_resume_or_are_refused(fit, launch, tiny_args, data, tmp_path):
    whole = fit(runs="whole")[1]["state_dict"]
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath", tmp_path / "own"]
    own += ["--trainer.callbacks.every_n_train_steps", 1, "--trainer.callbacks.save_top_k", -1]
    fit(*own, "--trainer.callbacks.filename", "{step}", runs="first")
    resumed = fit("--ckpt_path", tmp_path / "own/step=8.ckpt", runs="first")[1]["state_dict"]
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    args = [*tiny_args(tmp_path / "first", data), "--data.batch_size", 8, "--model.strategy", GRADUAL]
    done = launch("fit", *args, "--trainer.max_epochs", 3, "--ckpt_path", tmp_path / "own/step=10.ckpt", check=False)
    assert done.codes == [2]
    assert "error: the checkpoint was written between the last batch of an epoch and its validation" in done.output


def test_a_checkpoint_between_accumulated_batches_is_refused(fit, launch, tiny_args, data, tmp_path):
    """Lightning's callback writes one when it does not remember that it has saved the step before."""
    accumulate = ["--trainer.accumulate_grad_batches", 2]
    kill = {"KILL_AT": "5 batch_end"}
    _, last = fit(*accumulate, KILLED, "--run.every_n_train_steps", 1, env=kill, check=False)
    done = last["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert done["processed"] == 2
    done["processed"] = 3
    torch.save(last, tmp_path / "between.ckpt")
    args = [*tiny_args(tmp_path / "runs", data), "--data.batch_size", 8, "--model.strategy", GRADUAL, *accumulate]
    stopped = launch("fit", *args, "--trainer.max_epochs", 3, "--ckpt_path", tmp_path / "between.ckpt", check=False)
    assert stopped.codes == [2]
    assert "error: the checkpoint was written between batches whose gradients are accumulated" in stopped.output


def test_a_try_of_a_batch_stays_in_the_first_phase(launch, tiny_args, data, tmp_path):
    args = [*tiny_args(tmp_path, data), "--data.batch_size", 8, "--model.strategy", GRADUAL]
    output = launch("fit", *args, "--trainer.fast_dev_run", "true", "--trainer.log_every_n_steps", 0).output
    assert "│ 1/1   │ 0 " in output
    assert "phase 2" not in output


def test_best_weights_and_averaged_weights_exclude_each_other(launch, tiny_args, data, tmp_path):
    lpft = '{"class_path": "transfer.LPFT", "init_args": {"from_best": true}}'
    stopped = launch("fit", *tiny_args(tmp_path, data), *EMA, "--model.strategy", lpft, check=False)
    assert stopped.codes == [2]
    assert "error: from_best cannot be combined with averaged weights" in stopped.output


def test_early_stopping_counts_anew_in_every_phase(fit):
    """Without learning no score is better than the first: a patience of three would stop the run in epoch 3."""
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/f1_macro"]
    stopping += ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", 3, "--model.lr", 0]
    stopping += ["--trainer.max_epochs", 20]
    phases = [{"learn": {"head": 1.0}, "patience": 1}] * 2 + [{"learn": {"head": 1.0}}]
    explicit = {"class_path": "transfer.Explicit", "init_args": {"phases": phases}}
    output, last = fit(*stopping, "--model.strategy", json.dumps(explicit))
    assert "phase 2/3 at epoch 2: new learning rates, 0.0 M of 0.4 M trainable, because val/f1_macro stalled" in output
    assert last["callbacks"]["PhaseCallback"]["started"] == [0, 2, 4]
    assert last["epoch"] == 6
    lpft = '{"class_path": "transfer.LPFT", "init_args": {"probe": 10}}'
    output, last = fit(*stopping, "--model.strategy", lpft, runs="lpft")
    assert last["epoch"] == 3
    assert "stopped in phase 1/2: the later ones were not reached" in output


def test_from_best_goes_on_with_the_best_epoch_of_the_phase_before(fit):
    """The probe's rate makes its epochs jump; in the next phase nothing moves, so that what it began with remains."""
    lpft = '{"class_path": "transfer.LPFT", "init_args": {"probe": 3, "from_best": true, "lr_factor": 1e-30}}'
    args = ["--model.strategy", lpft, "--trainer.max_epochs", 4, "--model.schedule", "constant"]
    args += ["--model.optimizer", "sgd", "--model.lr", 10, "--model.warmup_epochs", 0]
    args.append(KILLED)
    _, probed = fit(*args, env={"KILL_AT": "15 epoch_end"}, check=False)
    _, last = fit(*args, "--ckpt_path", "last")
    weight = "network.fc.weight"
    best = probed["callbacks"]["PhaseCallback"]["best_weights"][weight]
    assert not torch.equal(best, probed["state_dict"][weight])
    assert torch.equal(best, last["state_dict"][weight])
