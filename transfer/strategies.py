"""Strategies: pure functions from stage names to phases, which say what learns, when, and how fast.

To add one, subclass `Strategy`, return its phases, and name it in a config (README.md shows a whole example):

    class HeadThenStem(Strategy):
        def phases(self, stages):
            return [Phase({"head": 1.0}, until=0.5), Phase({"stem": 0.1, "head": 1.0})]
"""

from collections.abc import Sequence

from basics.errors import UserError
from classification import Phase

# Moments at which the next stage joins: epochs (1, 2, ...), or fractions of the run's epochs (0.2).
Moments = Sequence[int | float]
FIFTHS = (0.2, 0.4, 0.6, 0.8)


class Strategy:
    """Base of all strategies; `name` is the arm's name in run folders, tables and dashboards."""

    @property
    def name(self) -> str:
        """The class name in lower case."""
        return type(self).__name__.lower()

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """The phases for a network with these stages, input to head.

        Raises:
            UserError: The strategy does not fit a network with so many stages, or it has no phases.
        """
        raise UserError(f"{type(self).__name__} has no phases: define `phases(self, stages)`, which returns a list")


class Frozen(Strategy):
    """Linear probe: the head alone learns, on the features of the pretrained backbone."""

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with the head."""
        return [Phase({"head": 1.0})]


class Partial(Strategy):
    """The last stages of the backbone learn with the head; the others stay as they were pretrained.

    Args:
        stages: Number of stages below the head that learn, or their names, for example `[layer3, layer4]`.
        lr_factor: Learning rate of these stages as a fraction of the head's.
    """

    def __init__(self, stages: int | list[str] = 1, lr_factor: float = 0.1) -> None:
        self.stages = stages
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with the chosen stages and the head."""
        if isinstance(self.stages, int):
            _check_count("Partial: stages", self.stages, stages)
            return [_phase(stages[-1 - self.stages : -1], self.lr_factor)]
        return [_phase(self.stages, self.lr_factor)]


class Full(Strategy):
    """Everything learns, the backbone more slowly than the new head.

    Args:
        lr_factor: The backbone's learning rate as a fraction of the head's.
    """

    def __init__(self, lr_factor: float = 0.1) -> None:
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with all stages."""
        return [_phase(stages[:-1], self.lr_factor)]


class Gradual(Strategy):
    """Top-down unfreezing (ULMFiT, arXiv 1801.06146): the head first, then one stage below at a time.

    Args:
        at: Moments at which the next stage joins; at the last of them all the rest does.
        lr_factor: The backbone's learning rate as a fraction of the head's.
    """

    def __init__(self, at: Moments = FIFTHS, lr_factor: float = 0.1) -> None:
        self.at = at
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """The head, and a phase for each moment."""
        _check_count(f"{type(self).__name__}: moments in at", len(self.at), stages)
        bodies = [self.body(stages, joined) for joined in range(len(self.at))] + [stages[:-1]]
        return [_phase(body, self.lr_factor, until) for body, until in zip(bodies, [*self.at, None], strict=True)]

    def body(self, stages: Sequence[str], joined: int) -> Sequence[str]:
        """The last stages of the backbone."""
        return stages[-1 - joined : -1]


class BottomUp(Gradual):
    """The head first, then the stages from the input upwards; otherwise as `Gradual`."""

    def body(self, stages: Sequence[str], joined: int) -> Sequence[str]:
        """The first stages of the backbone."""
        return stages[:joined]


class GradualOnPlateau(Strategy):
    """Top-down unfreezing whenever `val/f1_macro` stalls; the run does not get longer.

    Args:
        patience: Validations without a better score before the next stage joins.
        steps: Number of times that something joins; the last time all the rest does.
        lr_factor: The backbone's learning rate as a fraction of the head's.
    """

    def __init__(self, patience: int = 2, steps: int = 4, lr_factor: float = 0.1) -> None:
        self.patience = patience
        self.steps = steps
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """The head, and a phase for each step."""
        _check_count("GradualOnPlateau: steps", self.steps, stages)
        bodies = [stages[-1 - joined : -1] for joined in range(self.steps)]
        waiting = [_phase(body, self.lr_factor, patience=self.patience) for body in bodies]
        return [*waiting, _phase(stages[:-1], self.lr_factor)]


class LPFT(Strategy):
    """Linear probe, then everything at a low rate (arXiv 2202.10054): a head that fits distorts the features less.

    Args:
        probe: Moment at which the probe ends.
        lr_factor: Learning rate of everything after the probe, the head included.
        from_best: Go on from the best epoch of the probe instead of its last.
    """

    def __init__(self, probe: int | float = 0.2, lr_factor: float = 0.1, from_best: bool = False) -> None:
        self.probe = probe
        self.lr_factor = lr_factor
        self.from_best = from_best

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """The head, then all stages at one rate."""
        everything = Phase(dict.fromkeys(stages, self.lr_factor), from_best=self.from_best)
        return [Phase({"head": 1.0}, until=self.probe), everything]


class LayerDecay(Strategy):
    """Everything learns from the start, each stage more slowly than the one above it.

    Args:
        decay: Learning rate of a stage as a fraction of that of the stage above.
    """

    def __init__(self, decay: float = 0.5) -> None:
        self.decay = decay

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase with geometric rates."""
        return [Phase(list(stages), layer_decay=self.decay)]


class Surgical(Strategy):
    """One stage of the backbone learns (arXiv 2210.11466), and the head, because its classes are new.

    Args:
        stage: Name of the stage.
        lr_factor: Learning rate of the stage as a fraction of the head's.
    """

    def __init__(self, stage: str = "layer1", lr_factor: float = 0.1) -> None:
        self.stage = stage
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase."""
        return [_phase([self.stage], self.lr_factor)]


class SlidingWindow(Strategy):
    """A window of stages moves over the backbone in equal times; stages behind it freeze again.

    The head always learns.

    Args:
        width: Number of stages in the window.
        upwards: Direction of the window: from the input to the head, or from the head to the input.
        lr_factor: Learning rate of the window as a fraction of the head's.
    """

    def __init__(self, width: int = 2, upwards: bool = True, lr_factor: float = 0.1) -> None:
        self.width = width
        self.upwards = upwards
        self.lr_factor = lr_factor

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """A phase for each position of the window."""
        _check_count("SlidingWindow: width", self.width, stages)
        count = len(stages) - self.width
        windows = [stages[first : first + self.width] for first in range(count)]
        ordered = windows if self.upwards else windows[::-1]
        until = [number / count for number in range(1, count)]
        return [_phase(body, self.lr_factor, end) for body, end in zip(ordered, [*until, None], strict=True)]


class AutoRGN(Strategy):
    """Everything learns, each stage at a rate by its gradient norm over weight norm (arXiv 2210.11466, section 4).

    The ratios are measured in the training steps of an epoch and used in the next; the optimizer keeps its state.
    """

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """One phase."""
        return [Phase(list(stages), auto_rgn=True)]


class Explicit(Strategy):
    """Phases written out in the config.

    Args:
        phases: Phases in order, for example `[{learn: {head: 1.0}, until: 2}, {learn: {layer4: 0.1, head: 1.0}}]`.
    """

    def __init__(self, phases: list[Phase]) -> None:
        self.given = phases

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """As written."""
        return self.given


def _phase(
    body: Sequence[str], lr_factor: float, until: int | float | None = None, patience: int | None = None
) -> Phase:
    return Phase({**dict.fromkeys(body, lr_factor), "head": 1.0}, until=until, patience=patience)


def _check_count(what: str, count: int, stages: Sequence[str]) -> None:
    if not 1 <= count < len(stages):
        raise UserError(f"{what} must be 1 to {len(stages) - 1} here, not {count}")
