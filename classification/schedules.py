"""Learning-rate schedules: torch's own, over the steps of one phase."""

from collections.abc import Callable, Mapping, Sequence
from math import cos, pi
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from basics.errors import UserError
from basics.names import MONITOR
from classification.phases import Phase

SchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
Schedule = Literal["cosine", "constant", "onecycle", "plateau"] | SchedulerFactory
NO_DECAY = ".no_decay"  # ends the name of a stage's group of biases and normalisation
NEVER = 2**31  # epochs between Lightning's own steps of a plateau, which come too late for the epoch's checkpoint


def check_schedule(schedule: Schedule, phases: Sequence[Phase], warmup_epochs: float) -> None:
    """Refuse options of phases that the schedule would ignore.

    Args:
        schedule: Schedule by name, or a function from optimizer to torch scheduler.
        phases: Phases of the run.
        warmup_epochs: Warm-up of the first phase.

    Raises:
        UserError: A warm-up or a continuation where the schedule has none.
    """
    if schedule in ("cosine", "constant"):
        return
    used = {
        "warmup_epochs": warmup_epochs or any(phase.warmup_epochs for phase in phases),
        "continue_schedule": any(phase.continue_schedule for phase in phases),
    }
    for option, value in used.items():
        if value:
            raise UserError(f"{option} goes with model.schedule cosine or constant, not with {schedule}")


def make_schedule(
    schedule: Schedule, optimizer: Optimizer, steps: int, warmup: int = 0, elapsed: int = 0
) -> dict[str, Any]:
    """A schedule that starts from the groups' present rates, as Lightning's `lr_scheduler` entry.

    Args:
        schedule: Schedule by name, or a function from optimizer to torch scheduler; such a scheduler is stepped every
            epoch.
        optimizer: Optimizer whose groups hold the rates at the top of the schedule.
        steps: Optimizer steps from the beginning of the schedule to its end.
        warmup: Number of first steps with a linear rise (cosine and constant).
        elapsed: Steps that have been made already, for a phase that continues a schedule (cosine and constant).

    Raises:
        UserError: A scheduler that would give all stages the same rate.
    """
    if schedule == "onecycle":
        top = [group["lr"] for group in optimizer.param_groups]
        return {"scheduler": OneCycleLR(optimizer, top, total_steps=steps), "interval": "step"}
    if schedule == "plateau":
        schedule = plateau
    if callable(schedule):
        scheduler = schedule(optimizer)
        if isinstance(scheduler, (OneCycleLR, CyclicLR)):
            raise UserError(
                f"{type(scheduler).__name__} has one rate for all stages: use model.schedule onecycle instead"
            )
        frequency = NEVER if isinstance(scheduler, ReduceLROnPlateau) else 1
        return {"scheduler": scheduler, "interval": "epoch", "frequency": frequency, "monitor": MONITOR}

    def factor(step: int) -> float:
        done = step + elapsed
        if done < warmup:
            return (done + 1) / (warmup + 1)
        progress = (done - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + cos(pi * min(1.0, progress))) if schedule == "cosine" else 1.0

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def plateau(optimizer: Optimizer) -> ReduceLROnPlateau:
    """A scheduler that takes a tenth of the rates once three validations have not improved `val/f1_macro`."""
    return ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=2)


def set_rates(optimizer: Optimizer, rates: Mapping[str, float]) -> None:
    """Give the groups new rates by their names; a new schedule starts from these."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = rates[group["name"]]


def scale_rates(optimizer: Optimizer, scheduler: LRScheduler | ReduceLROnPlateau, ratios: Mapping[str, float]) -> None:
    """Multiply the rates of groups by their names, in the optimizer and in the running schedule."""
    for index, group in enumerate(optimizer.param_groups):
        ratio = ratios[group["name"]]
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] *= ratio
        for part in [scheduler, *getattr(scheduler, "_schedulers", [])]:  # a SequentialLR has several
            if hasattr(part, "base_lrs"):
                part.base_lrs[index] *= ratio


def shown_rates(optimizer: Optimizer) -> dict[str, float]:
    """`lr/<stage>` of every stage; a group without decay is shown apart only if its rate differs."""
    rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        stage = group["name"].removesuffix(NO_DECAY)
        if rates.setdefault(f"lr/{stage}", group["lr"]) != group["lr"]:
            rates[f"lr/{group['name']}"] = group["lr"]
    return rates
