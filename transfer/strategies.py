"""Which stages learn, when, and how fast: a strategy is a pure function from stage names to phases.

To add one, subclass `Strategy`, return its phases, and name it in a config:

    class HeadAndStem(Strategy):
        def phases(self, stages):
            return [Phase({"stem": 0.1, "head": 1.0})]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning.pytorch.utilities.exceptions import MisconfigurationException


@dataclass(frozen=True)
class Phase:
    """A part of the training during which the same stages learn.

    Attributes:
        lr_factors: Stage name -> its learning rate as a fraction of the head's; a stage that is missing is frozen.
    """

    lr_factors: Mapping[str, float]


class Strategy:
    """Base of all strategies; `name` is the arm's name in run folders, tables and dashboards."""

    @property
    def name(self) -> str:
        """The class name in lower case."""
        return type(self).__name__.lower()

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """The phases for a network with these stages, input to head.

        Raises:
            MisconfigurationException: The strategy names a stage that the network does not have.
        """
        raise NotImplementedError


class Frozen(Strategy):
    """Linear probe: the head alone learns, on the features of the pretrained backbone."""

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with the head."""
        return [Phase({"head": 1.0})]


class Partial(Strategy):
    """The last stages of the backbone learn with the head; the others stay as they were pretrained.

    Args:
        stages: How many stages below the head learn, or their names, for example `[layer3, layer4]`.
        lr_factor: Their learning rate as a fraction of the head's.
    """

    def __init__(self, stages: int | list[str] = 1, lr_factor: float = 0.1) -> None:
        self.stages = stages
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with the chosen stages and the head."""
        body = list(stages[:-1])
        if isinstance(self.stages, int):
            if not 1 <= self.stages <= len(body):
                raise MisconfigurationException(f"Partial: stages must be 1 to {len(body)} here, not {self.stages}")
            chosen = body[-self.stages :]
        else:
            chosen = self.stages
        return [Phase({**dict.fromkeys(chosen, self.lr_factor), "head": 1.0})]


class Full(Strategy):
    """Everything learns, the backbone more slowly than the new head.

    Args:
        lr_factor: The backbone's learning rate as a fraction of the head's.
    """

    def __init__(self, lr_factor: float = 0.1) -> None:
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with all stages."""
        return [Phase({**dict.fromkeys(stages[:-1], self.lr_factor), "head": 1.0})]


def check_phases(strategy: Strategy, stages: Sequence[str]) -> list[Phase]:
    """The phases of a strategy, if they fit the network.

    Raises:
        MisconfigurationException: No phase, a phase in which nothing learns, or an unknown stage.
    """
    phases = strategy.phases(stages)
    valid = ", ".join(stages)
    if not phases:
        raise MisconfigurationException(f"{type(strategy).__name__} has no phase: return at least one")
    for number, phase in enumerate(phases, 1):
        for name in phase.lr_factors:
            if name not in stages:
                raise MisconfigurationException(f"{type(strategy).__name__}: no stage {name!r}; the stages are {valid}")
        if not any(phase.lr_factors.values()):
            raise MisconfigurationException(
                f"{type(strategy).__name__}: nothing learns in phase {number}; choose from {valid}"
            )
    return phases
