from collections.abc import Sequence
from typing import Any, Protocol, cast

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback


class Phased(Protocol):
    """A classifier whose training has phases."""

    phases: Sequence[Any]

    def enter(self, phase: Any) -> None:
        """Let the stages of a phase learn and freeze the others."""


class PhaseCallback(Callback):
    """Puts a classifier into the phase of its strategy before the optimizer and the DDP wrapper are made.

    The order matters: DDP registers only the parameters that need a gradient when it wraps the model, so that frozen
    stages must be known by then, and no `find_unused_parameters` is needed.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Enter the first phase."""
        if stage == "fit":
            phased = cast(Phased, pl_module)
            phased.enter(phased.phases[0])
