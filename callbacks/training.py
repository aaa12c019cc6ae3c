"""The callbacks that every classifier brings along, however it is trained."""

from collections.abc import Sequence

from lightning.pytorch.callbacks import Callback

from callbacks.auto_rgn import AutoRGNCallback
from callbacks.diagnostics import StageDiagnostics
from callbacks.phases import PhaseCallback
from classification import Phase


def training_callbacks(phases: Sequence[Phase], check_ranks: bool = True) -> list[Callback]:
    """Callbacks that carry out the phases of a run and record what they did, for a classifier's `configure_callbacks`.

    Args:
        phases: Phases of the run.
        check_ranks: Compare the parameters of all processes at the end of every phase.

    Returns:
        The callbacks in the order in which they are called; PhaseCallback is the first.
    """
    callbacks: list[Callback] = [PhaseCallback(check_ranks), StageDiagnostics()]
    if any(phase.auto_rgn for phase in phases):
        callbacks.append(AutoRGNCallback())
    return callbacks
