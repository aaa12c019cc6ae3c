"""Learning rates of every schedule, step by step."""

from math import cos, pi

import pytest
import torch
from torch.optim import lr_scheduler

from basics.errors import UserError
from classification import Phase
from classification.schedules import NEVER, check_schedule, make_schedule, scale_rates, set_rates, shown_rates


@pytest.fixture
def optimizer():
    """Two stages at 1.0 and 0.1, and a frozen one."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "name": name, "lr": lr}
        for name, lr in (("head", 1.0), ("layer4", 0.1), ("stem", 0.0))
    ]
    return torch.optim.AdamW(groups)


def curve(optimizer, schedule, steps):
    """Rates of the groups at every step."""
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule["scheduler"].step()
    return torch.tensor(rates)


def test_cosine_rises_and_falls_to_zero_in_proportion(optimizer):
    rates = curve(optimizer, make_schedule("cosine", optimizer, steps=12, warmup=4), 13)
    assert rates[:5, 0].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[8, 0] == pytest.approx(0.5 * (1 + cos(pi / 2)))
    assert rates[12, 0] == pytest.approx(0.0)
    torch.testing.assert_close(rates[:, 1], rates[:, 0] / 10)
    assert not rates[:, 2].any()


def test_a_continued_schedule_goes_on_where_the_first_part_ended(optimizer):
    whole = curve(optimizer, make_schedule("cosine", optimizer, steps=10, warmup=2), 10)
    set_rates(optimizer, {"head": 1.0, "layer4": 0.1, "stem": 0.5})
    rest = curve(optimizer, make_schedule("cosine", optimizer, steps=10, warmup=2, elapsed=6), 4)
    torch.testing.assert_close(rest[:, 0], whole[6:, 0])
    torch.testing.assert_close(rest[:, 2], whole[6:, 0] / 2)  # what joins has a rate that has decayed already


def test_onecycle_keeps_the_proportions_of_the_stages(optimizer):
    rates = curve(optimizer, make_schedule("onecycle", optimizer, steps=20), 20)
    assert rates[:, 0].max() == pytest.approx(1.0)
    torch.testing.assert_close(rates[:, 1], rates[:, 0] / 10)


def test_a_plateau_is_not_left_to_lightning(optimizer):
    schedule = make_schedule("plateau", optimizer, steps=20)
    assert schedule["frequency"] == NEVER
    for _ in range(4):
        schedule["scheduler"].step(0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01, 0.0])


def several(optimizer):
    warmup = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [warmup, lr_scheduler.CosineAnnealingLR(optimizer, 8)], [2])


@pytest.mark.parametrize(
    "scheduler",
    [
        several,
        lambda optimizer: lr_scheduler.StepLR(optimizer, 3),
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4]),
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 8),
        lambda optimizer: lr_scheduler.LinearLR(optimizer),
    ],
)
def test_every_scheduler_of_torch_works_with_stages_that_are_frozen_yet(scheduler, optimizer):
    rates = curve(optimizer, make_schedule(scheduler, optimizer, steps=8), 8)
    torch.testing.assert_close(rates[:, 1], rates[:, 0] / 10)
    assert not rates[:, 2].any()
    set_rates(optimizer, {"head": 1.0, "layer4": 0.1, "stem": 0.01})
    rates = curve(optimizer, make_schedule(scheduler, optimizer, steps=8), 8)
    torch.testing.assert_close(rates[:, 2], rates[:, 0] / 100)


LATE = [Phase(["head"], until=1), Phase(["head"], warmup_epochs=0.5)]
GOES_ON = [Phase(["head"], until=1), Phase(["head"], continue_schedule=True)]


@pytest.mark.parametrize(
    ("schedule", "phases", "warmup", "message"),
    [
        ("onecycle", LATE[:1], 3, "warmup_epochs goes with model.schedule cosine or constant, not with onecycle"),
        ("onecycle", LATE, 0, "warmup_epochs goes with"),
        ("plateau", GOES_ON, 0, "continue_schedule goes with model.schedule cosine or constant, not with plateau"),
    ],
)
def test_what_a_schedule_would_ignore_is_refused(schedule, phases, warmup, message):
    check_schedule("cosine", phases, warmup)
    with pytest.raises(UserError, match=message):
        check_schedule(schedule, phases, warmup)


@pytest.mark.parametrize(
    "scheduler",
    [lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR],
)
def test_a_scheduler_with_one_rate_for_all_stages_is_refused(scheduler, optimizer):
    arguments = {lr_scheduler.OneCycleLR: (1.0, 10), lr_scheduler.CyclicLR: (0.1, 1.0)}[scheduler]
    with pytest.raises(UserError, match=f"{scheduler.__name__} has one rate for all stages: use"):
        make_schedule(lambda o: scheduler(o, *arguments, cycle_momentum=False), optimizer, steps=10)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "onecycle", several])
def test_scaled_rates_follow_the_running_schedule(schedule, optimizer):
    plain = curve(optimizer, make_schedule(schedule, optimizer, steps=8), 8)[:, 1]
    set_rates(optimizer, {"head": 1.0, "layer4": 0.1, "stem": 0.0})
    made = make_schedule(schedule, optimizer, steps=8)
    curve(optimizer, made, 4)
    scale_rates(optimizer, made["scheduler"], {"head": 1.0, "layer4": 0.5, "stem": 1.0})
    torch.testing.assert_close(curve(optimizer, made, 4)[:, 1], plain[4:] / 2)


def test_groups_of_a_stage_are_shown_together_unless_they_differ():
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr, "name": name} for name, lr in
              (("stem", 0.0), ("stem.no_decay", 0.1), ("head", 1.0), ("head.no_decay", 1.0))]  # fmt: skip
    assert shown_rates(torch.optim.SGD(groups, 1.0)) == {"lr/stem": 0.0, "lr/stem.no_decay": 0.1, "lr/head": 1.0}
