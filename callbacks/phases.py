"""Phases change between two epochs."""

from collections.abc import Iterable
from math import nan
from typing import Any, cast

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from basics.errors import UserError
from basics.names import MONITOR
from callbacks.ranks import check_ranks_equal, wrap_again
from classification import PhasedModule
from classification.schedules import set_rates

KEPT = ("history", "loss", "best_score", "stalled", "best_weights")  # attributes that every checkpoint has


class PhaseCallback(Callback):
    """Carries out the phases of a strategy: between two epochs it enters the next phase if the present one has ended.

    Its state is in every checkpoint: the phases so far, the plateau's counters, and the best weights if the next phase
    begins with them. Lightning restores it before the optimizer and the DDP wrapper are made, so that a run that is
    resumed in mid-schedule has the right stages in both.

    Attributes:
        history: What happened at the beginning of every phase so far, for metrics.json.
        loss: Loss of the last validation.
        best_score: Best score of the present phase.
        stalled: Validations since then.
        best_weights: Weights that had this score, if the next phase begins with them.

    Args:
        check_ranks: Compare the parameters of all processes at the end of every phase.
    """

    def __init__(self, check_ranks: bool = True) -> None:
        self.check_ranks = check_ranks
        self.history: list[dict[str, Any]] = []
        self.loss: float | None = None
        self.best_score = float("-inf")
        self.stalled = 0
        self.best_weights: dict[str, Tensor] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Enter the first phase.

        Raises:
            UserError: The processes are connected by something that cannot be wrapped again, or `from_best` is
                combined with averaged weights, whose scores are not the scores of the weights that learn.
        """
        self.module = cast(PhasedModule, pl_module)
        self.fits = stage == "fit"
        if not self.fits:
            return
        self.module.enter_phases([0])
        if len(self.module.phases) > 1 and trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy):
            raise UserError(f"phases change under --trainer.strategy ddp, not under {type(trainer.strategy).__name__}")
        averages = any(isinstance(callback, WeightAveraging) for callback in cast(Any, trainer).callbacks)
        if averages and any(phase.from_best for phase in self.module.phases):
            raise UserError("from_best cannot be combined with averaged weights: leave out one of them")

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the training goes on."""
        return {"started": self.module.started, **{name: getattr(self, name) for name in KEPT}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Be in the phase of the checkpoint. A test only reads the history: its config may be of another strategy."""
        for name in KEPT:
            setattr(self, name, state_dict[name])
        if self.fits:
            self.module.enter_phases(state_dict["started"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the history."""
        if not self.history:
            self._record(trainer, "the run began")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count validations without a better score."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.loss = trainer.callback_metrics["val/loss"].item()
        self.history[-1].setdefault("loss_after", self.loss)
        score = trainer.callback_metrics[MONITOR].item()
        self.stalled += 1
        if score > self.best_score:
            self.best_score = score
            self.stalled = 0
            following = self.module.phases[self.module.phase_number :]
            if following and following[0].from_best:
                self.best_weights = {name: value.clone() for name, value in self.module.state_dict().items()}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Enter the next phase if it is time."""
        ends = self.module.phase_ends()
        number = self.module.phase_number
        if number >= len(ends) or trainer.current_epoch == self.module.phase_began:
            return
        phase = self.module.phase
        if phase.patience is not None and self.stalled >= phase.patience:
            every = trainer.check_val_every_n_epoch == 1 and trainer.val_check_interval == 1.0
            unit = ("epoch" if every else "validation") + ("s" if self.stalled > 1 else "")
            self._advance(trainer, f"{MONITOR} stalled for {self.stalled} {unit}")
        elif trainer.current_epoch >= ends[number - 1]:
            planned = phase.until is not None
            self._advance(trainer, "the plan says so" if planned else "the later phases need the epochs that are left")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the number of the phase, and the validation loss before and after it began."""
        entry = self.history[-1]
        values = {"phase": float(entry["phase"]), "phase/loss_after": entry.get("loss_after", nan)}
        if "loss_before" in entry:
            values["phase/loss_before"] = entry["loss_before"]
        pl_module.log_dict(values, sync_dist=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the last phase; print a line if the run has stopped before it."""
        if self.check_ranks:
            check_ranks_equal(trainer, self.module)
        number = self.module.phase_number
        count = len(self.module.phase_ends())
        if number < count and trainer.is_global_zero:
            print(f"stopped in phase {number}/{count}: the later ones were not reached", flush=True)

    def _advance(self, trainer: L.Trainer, reason: str) -> None:
        """Enter the next phase: what learns, rates, schedule, DDP wrapper, counters, history."""
        module = self.module
        optimizer = trainer.optimizers[0]
        if self.check_ranks:
            check_ranks_equal(trainer, module)
        learned = _learning(module)
        module.enter_phases([*module.started, trainer.current_epoch])
        if module.phase.from_best:
            if self.best_weights is None:
                raise UserError(
                    f"phase {module.phase_number} begins with the best weights of the phase before, and nothing was "
                    "validated in that: leave out from_best, or validate every epoch"
                )
            module.load_state_dict(self.best_weights)
            optimizer.state.clear()
        for parameter in list(optimizer.state):
            if not parameter.requires_grad:
                del optimizer.state[parameter]  # of a stage that froze again
        set_rates(optimizer, module.group_rates())
        schedule = module.configure_schedule(optimizer)
        plateau = isinstance(schedule["scheduler"], ReduceLROnPlateau)
        trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(**schedule, reduce_on_plateau=plateau)]
        wrap_again(trainer)
        self.best_score = float("-inf")
        self.stalled = 0
        self.best_weights = None
        for stopping in trainer.early_stopping_callbacks:
            stopping.wait_count = 0  # it would stop the run for what the phase before did
        self._record(trainer, reason)
        if self.loss is not None:
            self.history[-1]["loss_before"] = self.loss
        if trainer.is_global_zero:
            self._say(learned, reason)

    def _record(self, trainer: L.Trainer, reason: str) -> None:
        entry = {
            "phase": self.module.phase_number,
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "reason": reason,
            "stages": self.module.learning_stages(self.module.phase),
            "trainable": numel(_learning(self.module)),
        }
        self.history.append(entry)

    def _say(self, learned: list[nn.Parameter], reason: str) -> None:
        before = set(map(id, learned))
        now = set(map(id, _learning(self.module)))
        changes = []
        for verb, changed in {"join": now - before, "freeze": before - now}.items():
            names = [name for name, own in self.module.stages().items() if any(id(p) in changed for p in own)]
            if names:
                changes.append(f"{', '.join(names)} {verb}{'s' if len(names) == 1 else ''}")
        entry = self.history[-1]
        total = numel(self.module.network.parameters())
        print(
            f"phase {entry['phase']}/{len(self.module.phases)} at epoch {entry['epoch']}: "
            f"{' and '.join(changes) or 'new learning rates'}, {entry['trainable'] / 1e6:.1f} M of {total / 1e6:.1f} M "
            f"trainable, because {reason}",
            flush=True,
        )


def numel(parameters: Iterable[nn.Parameter]) -> int:
    """Number of values in some parameters."""
    return sum(parameter.numel() for parameter in parameters)


def _learning(module: PhasedModule) -> list[nn.Parameter]:
    return [parameter for parameter in module.network.parameters() if parameter.requires_grad]
