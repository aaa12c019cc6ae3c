"""Phases that do not fit are refused, and their ends are rounded to epochs."""

import pytest

from basics.errors import UserError
from classification import Phase, check_phases, phase_ends

STAGES = ["stem", "layer1", "head"]
HEAD = {"head": 1.0}


def test_factors_are_given_by_stage_by_name_or_by_depth():
    assert Phase({"stem": 0.2}).factors(STAGES) == {"stem": 0.2, "layer1": 0.0, "head": 0.0}
    assert Phase(["layer1", "head"]).factors(STAGES) == {"stem": 0.0, "layer1": 1.0, "head": 1.0}
    assert Phase(STAGES, layer_decay=0.5).factors(STAGES) == {"stem": 0.25, "layer1": 0.5, "head": 1.0}
    assert Phase({"stem": 0.2, "head": 1.0}, layer_decay=0.5).factors(STAGES)["stem"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "Mine has no phase"),
        ([Phase({"layer9": 1.0})], r"Mine: no stage 'layer9'; the stages are stem, layer1, head"),
        ([Phase(["head", "head"])], "stage 'head' is named twice"),
        ([Phase({"head": 0.0})], "nothing learns; the stages are stem"),
        ([Phase({"head": -1.0, "stem": 1.0})], "cannot be negative"),
        ([Phase(HEAD), Phase(HEAD)], "phase 1 of 2: it never ends; give it until or patience"),
        ([Phase(HEAD, until=3)], "the last phase lasts to the end of the run"),
        ([Phase(HEAD, until=1.5), Phase(HEAD)], "until is an epoch .* or a fraction of the run below 1, not 1.5"),
        ([Phase(HEAD, until=0), Phase(HEAD)], "not 0"),
        ([Phase(HEAD, patience=0), Phase(HEAD)], "patience is at least 1"),
        ([Phase(HEAD, until=0.6), Phase(HEAD, until=0.2), Phase(HEAD)], "it would end at 0.2, where 0.6 has passed"),
        (
            [Phase(HEAD, until=1), Phase(HEAD, warmup_epochs=1, continue_schedule=True)],
            "a schedule that goes on has no warm-up",
        ),
        ([Phase(HEAD, from_best=True)], "there is no phase before it"),
        ([Phase(HEAD, continue_schedule=True)], "there is no phase before it"),
    ],
)
def test_phases_that_do_not_fit_are_refused(phases, message):
    with pytest.raises(UserError, match=message):
        check_phases(phases, STAGES, "Mine")


@pytest.mark.parametrize(
    ("untils", "epochs", "ends"),
    [
        ([None], 7, [7]),
        ([2, None], 7, [2, 7]),
        ([0.2, 0.4, 0.6, 0.8, None], 20, [4, 8, 12, 16, 20]),
        ([0.2, 0.4, 0.6, 0.8, None], 5, [1, 2, 3, 4, 5]),
        ([0.2, 0.4, 0.6, 0.8, None], 6, [1, 2, 4, 5, 6]),
        ([0.01, 0.02, None], 10, [1, 2, 10]),  # every phase keeps an epoch
        ([0.98, 0.99, None], 10, [8, 9, 10]),
        ([0.5, None], 3, [2, 3]),
    ],
)
def test_ends_lie_within_the_budget(untils, epochs, ends):
    assert phase_ends([Phase(HEAD, until=until) for until in untils], epochs) == ends


def test_a_plateau_ends_at_the_latest_when_the_later_phases_need_what_is_left():
    assert phase_ends([Phase(HEAD, patience=2), Phase(HEAD, patience=2), Phase(HEAD)], 10) == [8, 9, 10]
    assert phase_ends([Phase(HEAD, patience=2, until=3), Phase(HEAD)], 10) == [3, 10]


@pytest.mark.parametrize(
    ("untils", "epochs", "message"),
    [
        ([1, 2, None], 2, "3 phases need at least 3 epochs, and trainer.max_epochs is 2"),
        ([3, 3, None], 9, "phase 2 of 3 would last from epoch 3 to 3 of 9: its until must be 4 to 8 here"),
        ([4, 2, None], 9, "phase 2 of 3 would last from epoch 4 to 2"),
        ([9, None], 9, "phase 1 of 2 would last from epoch 0 to 9 of 9: its until must be 1 to 8"),
    ],
)
def test_a_plan_that_does_not_fit_the_budget_is_refused(untils, epochs, message):
    with pytest.raises(UserError, match=message):
        phase_ends([Phase(HEAD, until=until) for until in untils], epochs)
