"""Phases of a training: the stages that learn in each, and the moment it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

from basics.errors import UserError

BatchNorm = Literal["eval", "adapt", "train"]


@dataclass(frozen=True)
class Phase:
    """A part of the training during which the same stages learn; phases change between two epochs.

    Attributes:
        learn: Stage name -> learning rate as a fraction of `model.lr`, or just names (all 1.0). A stage that is
            missing is frozen.
        until: First epoch of the next phase, or a fraction of the run's epochs (below 1). Missing in the last phase.
        patience: The next phase begins when this many validations in a row have not improved `val/f1_macro`, and at
            the latest when one epoch is left for each phase that follows: the run does not get longer.
        layer_decay: Factor for every stage further from the head, on top of `learn` (0.5: head 1, layer4 1/2,
            layer3 1/4, ...).
        batch_norm: Policy for batch norm of frozen stages. `eval`: stored statistics are used and left alone. `adapt`:
            statistics of the batch are used, and the stored ones follow. `train`: as `adapt`, and scale and shift learn
            at the lowest rate of the phase. None takes the model's `frozen_batch_norm`.
        warmup_epochs: Linear rise of the learning rates from zero when the phase begins. None: the model's
            `warmup_epochs` in the first phase, no warm-up in later ones.
        continue_schedule: Go on with the schedule of the phase before, so that a stage that joins gets a rate that has
            decayed already; otherwise every phase has a schedule of its own over its own epochs.
        from_best: Begin with the weights that had the best `val/f1_macro` in the phase before, and a fresh optimizer.
        auto_rgn: Scale every rate by the stage's gradient norm over weight norm (the largest is 1), anew every epoch.
    """

    learn: dict[str, float] | list[str]
    until: int | float | None = None
    patience: int | None = None
    layer_decay: float = 1.0
    batch_norm: BatchNorm | None = None
    warmup_epochs: float | None = None
    continue_schedule: bool = False
    from_best: bool = False
    auto_rgn: bool = False

    def factors(self, stages: Sequence[str]) -> dict[str, float]:
        """Learning rate of every stage, input to head, as a fraction of `model.lr`; 0 where it is frozen."""
        given = self.learn if isinstance(self.learn, Mapping) else dict.fromkeys(self.learn, 1.0)
        depth = {name: index for index, name in enumerate(reversed(stages))}
        return {name: given.get(name, 0.0) * self.layer_decay ** depth[name] for name in stages}


def check_phases(phases: Sequence[Phase], stages: Sequence[str], owner: str) -> None:
    """Refuse phases that do not fit a network.

    Args:
        phases: Phases in order.
        stages: Names of the network's stages, input to head.
        owner: Name of the class that made the phases, for the message.

    Raises:
        UserError: There is no phase, an unknown or doubled stage, a phase in which nothing learns, or a phase that
            never ends.
    """
    valid = f"the stages are {', '.join(stages)}"
    if isinstance(phases, Phase):
        raise UserError(f"{owner} gives one Phase: return a list, [Phase(...)]")
    if not phases:
        raise UserError(f"{owner} has no phase: return at least one")
    for number, phase in enumerate(phases, 1):
        where = f"{owner}, phase {number} of {len(phases)}" if len(phases) > 1 else owner
        for name in phase.learn:
            if name not in stages:
                raise UserError(f"{where}: no stage {name!r}; {valid}")
            if isinstance(phase.learn, list) and phase.learn.count(name) > 1:
                raise UserError(f"{where}: stage {name!r} is named twice")
        factors = phase.factors(stages).values()
        if not any(factors):
            raise UserError(f"{where}: nothing learns; {valid}")
        if min(factors) < 0:
            raise UserError(f"{where}: a learning rate cannot be negative")
        if number < len(phases) and phase.until is None and phase.patience is None:
            raise UserError(f"{where}: it never ends; give it until or patience")
        if number == len(phases) and phase.until is not None:
            raise UserError(f"{where}: the last phase lasts to the end of the run; leave out until")
        if phase.until is not None and (phase.until <= 0 or (phase.until > 1 and phase.until != int(phase.until))):
            raise UserError(
                f"{where}: until is an epoch (1, 2, ...) or a fraction of the run below 1, not {phase.until}"
            )
        before = phases[number - 2].until if number > 1 else None
        if before is not None and phase.until is not None and before < 1 and before >= phase.until:
            raise UserError(f"{where}: it would end at {phase.until}, where {before} has passed")
        if phase.warmup_epochs and phase.continue_schedule:
            raise UserError(f"{where}: a schedule that goes on has no warm-up; leave out one of the two")
        if phase.patience is not None and phase.patience < 1:
            raise UserError(f"{where}: patience is at least 1, not {phase.patience}")
        if number == 1 and (phase.from_best or phase.continue_schedule):
            raise UserError(f"{where}: there is no phase before it to continue or to take the best of")


def phase_ends(phases: Sequence[Phase], epochs: int) -> list[int]:
    """First epoch after every phase, at the latest; the last one is `epochs`.

    A fraction is rounded to an epoch such that every phase keeps at least one.

    Args:
        phases: Phases in order.
        epochs: Epochs of the run.

    Raises:
        UserError: The epochs do not suffice, or a phase would end before it begins.
    """
    if epochs < len(phases):
        raise UserError(
            f"{len(phases)} phases need at least {len(phases)} epochs, and trainer.max_epochs is {epochs}: "
            "raise it, or choose fewer phases"
        )
    ends: list[int] = []
    for number, phase in enumerate(phases, 1):
        begin = ends[-1] if ends else 0
        latest = epochs - (len(phases) - number)
        if phase.until is None:
            ends.append(latest)
        elif phase.until < 1:
            ends.append(min(max(floor(phase.until * epochs + 0.5), begin + 1), latest))
        else:
            ends.append(int(phase.until))
        if not begin < ends[-1] <= latest:
            raise UserError(
                f"phase {number} of {len(phases)} would last from epoch {begin} to {ends[-1]} of {epochs}: "
                f"its until must be {begin + 1} to {latest} here, or raise trainer.max_epochs"
            )
    return ends
