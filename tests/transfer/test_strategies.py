"""Every strategy gives the phases that it promises."""

import inspect

import pytest

import transfer
from basics.errors import UserError
from classification import check_phases, phase_ends
from transfer import (
    LPFT,
    AutoRGN,
    BottomUp,
    Explicit,
    Frozen,
    Full,
    Gradual,
    GradualOnPlateau,
    LayerDecay,
    Partial,
    Phase,
    SlidingWindow,
    Strategy,
    Surgical,
)

STAGES = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
BUILT_IN = [
    Frozen(), Partial(), Full(), Gradual(), GradualOnPlateau(), LPFT(), LayerDecay(), Surgical(), BottomUp(),
    SlidingWindow(), AutoRGN(), Explicit([Phase({"head": 1.0}, until=1), Phase({"layer4": 0.1, "head": 1.0})]),
]  # fmt: skip


def factors(strategy, stages=STAGES):
    """The stages that learn in every phase, with their factors."""
    phases = strategy.phases(stages)
    check_phases(phases, stages, type(strategy).__name__)
    return [{name: factor for name, factor in phase.factors(stages).items() if factor} for phase in phases]


def learning(strategy, stages=STAGES):
    """The backbone stages that learn in every phase, shortly."""
    return [" ".join(name for name in phase if name != "head") for phase in factors(strategy, stages)]


def test_every_strategy_of_the_package_is_in_the_list():
    classes = {value for value in vars(transfer).values() if inspect.isclass(value) and issubclass(value, Strategy)}
    assert {type(strategy) for strategy in BUILT_IN} == classes - {Strategy}


def test_frozen_is_the_head_alone():
    assert factors(Frozen()) == [{"head": 1.0}]


def test_partial_takes_a_number_or_names():
    assert factors(Partial(lr_factor=0.2)) == [{"layer4": 0.2, "head": 1.0}]
    assert factors(Partial(2)) == [{"layer3": 0.1, "layer4": 0.1, "head": 1.0}]
    assert factors(Partial(["stem"])) == [{"stem": 0.1, "head": 1.0}]


def test_full_is_everything_with_the_backbone_below_the_head():
    assert factors(Full(0.1)) == [{**dict.fromkeys(STAGES[:-1], 0.1), "head": 1.0}]


def test_gradual_goes_top_down_and_lets_the_rest_join_at_last():
    assert learning(Gradual(at=[1, 3])) == ["", "layer4", "stem layer1 layer2 layer3 layer4"]
    assert learning(Gradual())[1:4] == ["layer4", "layer3 layer4", "layer2 layer3 layer4"]
    assert [phase.until for phase in Gradual(at=[1, 3]).phases(STAGES)] == [1, 3, None]


def test_gradual_on_plateau_moves_by_patience_alone():
    strategy = GradualOnPlateau(patience=3, steps=2)
    assert learning(strategy) == ["", "layer4", "stem layer1 layer2 layer3 layer4"]
    assert [(phase.patience, phase.until) for phase in strategy.phases(STAGES)] == [(3, None), (3, None), (None, None)]


def test_lpft_probes_and_then_trains_everything_at_one_low_rate():
    probe, everything = LPFT(probe=2, lr_factor=0.1, from_best=True).phases(STAGES)
    assert (probe.until, everything.from_best) == (2, True)
    assert factors(LPFT()) == [{"head": 1.0}, dict.fromkeys(STAGES, 0.1)]


def test_layer_decay_is_geometric():
    (phase,) = factors(LayerDecay(0.5))
    assert list(phase.values()) == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]


def test_surgical_is_one_stage_and_the_new_head():
    assert factors(Surgical("layer2", 0.3)) == [{"layer2": 0.3, "head": 1.0}]


def test_bottom_up_begins_at_the_input():
    assert learning(BottomUp(at=[1, 2])) == ["", "stem", "stem layer1 layer2 layer3 layer4"]


def test_a_window_slides_and_what_it_leaves_freezes_again():
    up = ["stem layer1", "layer1 layer2", "layer2 layer3", "layer3 layer4"]
    assert learning(SlidingWindow(2)) == up
    assert learning(SlidingWindow(2, upwards=False)) == up[::-1]
    assert phase_ends(SlidingWindow(2).phases(STAGES), 8) == [2, 4, 6, 8]
    assert learning(SlidingWindow(5)) == ["stem layer1 layer2 layer3 layer4"]


class Nothing(Strategy):
    def phases(self, stages):
        return []


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Partial(["layer9"]), "Partial: no stage 'layer9'; the stages are stem, layer1"),
        (Surgical("layer9"), "Surgical: no stage 'layer9'"),
        (Partial(6), "Partial: stages must be 1 to 5 here, not 6"),
        (Partial(0), "stages must be 1 to 5"),
        (Gradual(at=[]), "Gradual: moments in at must be 1 to 5 here, not 0"),
        (GradualOnPlateau(steps=6), "GradualOnPlateau: steps must be 1 to 5 here, not 6"),
        (BottomUp(at=[1, 2, 3, 4, 5, 6]), "BottomUp: moments in at must be 1 to 5 here, not 6"),
        (SlidingWindow(0), "SlidingWindow: width must be 1 to 5 here, not 0"),
        (Nothing(), "Nothing has no phase"),
    ],
)
def test_what_does_not_fit_is_refused(strategy, message):
    with pytest.raises(UserError, match=message):
        factors(strategy)
