import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from transfer import Frozen, Full, Partial, Phase, Strategy
from transfer.strategies import check_phases

STAGES = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


def factors(strategy):
    (phase,) = check_phases(strategy, STAGES)
    return phase.lr_factors


def test_frozen_is_the_head_alone():
    assert factors(Frozen()) == {"head": 1.0}


def test_partial_takes_a_number_or_names():
    assert factors(Partial(lr_factor=0.2)) == {"layer4": 0.2, "head": 1.0}
    assert factors(Partial(2)) == {"layer3": 0.1, "layer4": 0.1, "head": 1.0}
    assert factors(Partial(["stem"])) == {"stem": 0.1, "head": 1.0}


def test_full_is_everything_with_the_backbone_below_the_head():
    assert factors(Full(0.1)) == {**dict.fromkeys(STAGES[:-1], 0.1), "head": 1.0}


class Nothing(Strategy):
    def phases(self, stages):
        return []


class Zero(Strategy):
    def phases(self, stages):
        return [Phase({"head": 0.0})]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Partial(["layer9"]), "no stage 'layer9'; the stages are stem, layer1"),
        (Partial(6), "stages must be 1 to 5 here, not 6"),
        (Partial(0), "stages must be 1 to 5"),
        (Nothing(), "Nothing has no phase"),
        (Zero(), "nothing learns in phase 1"),
    ],
)
def test_what_does_not_fit_is_refused(strategy, message):
    with pytest.raises(MisconfigurationException, match=message):
        check_phases(strategy, STAGES)
