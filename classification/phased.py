"""A network of named stages that is trained in phases: what learns now, at which rates, with which schedule."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, inf
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from basics.errors import UserError
from classification.frozen_part import FrozenPart
from classification.optimizer_groups import OPTIMIZERS, groups_by_stage
from classification.phases import Phase, check_phases, phase_ends
from classification.pretrained import Pretrained
from classification.schedules import NO_DECAY, Schedule, check_schedule, make_schedule


class PhasedModule(L.LightningModule):
    """A network made of named stages, and trained in phases that say which of the stages learn.

    Subclasses set `network` and `phases`, and say through `stages` how the network is grouped. The phases are carried
    out by `callbacks.PhaseCallback`. Callbacks read and write the attributes below, and nothing else.

    Attributes:
        phases: All phases of the run, in order.
        started: First epochs of the phases so far; the last of them is the present one.
        rate_scales: Stage name -> factor on its learning rate in phases that say `auto_rgn`; AutoRGNCallback writes it.
        pretrained: Values before training, for L2-SP and diagnostics.
        frozen_part: Stands in for the network while its first stages are frozen; None if the network itself is used.

    Args:
        lr: Learning rate of the head, at the top of the schedule.
        optimizer: adam, adamw, or sgd (Nesterov momentum 0.9).
        weight_decay: Weight decay of matrices and kernels; biases, normalisation and embeddings are never decayed.
        schedule: Schedule of all learning rates over the steps of a phase: cosine (to zero, after the warm-up),
            constant, onecycle, plateau (a tenth after three validations without a better `val/f1_macro`), or the
            class_path and init_args of a scheduler of torch, stepped every epoch.
        warmup_epochs: Linear rise of all learning rates from zero; may be a fraction of an epoch.
    """

    network: nn.Module
    phases: Sequence[Phase]

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: Literal["adam", "adamw", "sgd"] = "adamw",
        weight_decay: float = 0.01,
        schedule: Schedule = "cosine",
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.optimizer_name = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.started = [0]
        self.rate_scales: dict[str, float] = {}
        self.pretrained = Pretrained()
        self.frozen_part: FrozenPart | None = None

    def stages(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The parameters of every stage, input to head; each belongs to exactly one."""
        raise NotImplementedError

    # Phases.

    @property
    def phase_number(self) -> int:
        """Number of the present phase, from 1."""
        return len(self.started)

    @property
    def phase_began(self) -> int:
        """First epoch of the present phase."""
        return self.started[-1]

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self.phases[self.phase_number - 1]

    def configure_phases(self, phases: Sequence[Phase], owner: str) -> None:
        """Take over the phases of the run, and begin with the first.

        Args:
            phases: Phases in order.
            owner: Name of the class that made them, for messages.

        Raises:
            UserError: The phases do not fit the network or the schedule.
        """
        check_phases(phases, list(self.stages()), owner)
        check_schedule(self.schedule, phases, self.warmup_epochs)
        self.phases = phases
        self.enter_phases([0])

    def enter_phases(self, started: Sequence[int]) -> None:
        """Be in the last of the phases that began at these epochs: what it names learns, all else is frozen."""
        if list(started) != self.started:
            self.rate_scales = {}  # they were measured in the phase before
        self.started = list(started)
        learning = set(map(id, self.learning_parameters(self.phase)))
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in learning)
            if not parameter.requires_grad:
                parameter.grad = None
        self.train(self.training)

    def learning_stages(self, phase: Phase) -> list[str]:
        """Names of the stages that learn in a phase, input to head."""
        return [name for name, factor in phase.factors(list(self.stages())).items() if factor > 0]

    def learning_parameters(self, phase: Phase) -> Iterator[nn.Parameter]:
        """The parameters that learn in a phase."""
        stages = self.stages()
        for name in self.learning_stages(phase):
            yield from stages[name]

    def group_rates(self) -> dict[str, float]:
        """Rate of every optimizer group at the top of the present phase's schedule; 0 where nothing learns."""
        scales = self.rate_scales if self.phase.auto_rgn else {}
        rates: dict[str, float] = {}
        for name, factor in self.phase.factors(list(self.stages())).items():
            rates[name] = rates[name + NO_DECAY] = self.lr * factor * scales.get(name, 1.0)
        return rates

    def shown_batch_norm(self, phase: Phase) -> str:
        """Policy for batch norm of frozen stages in a phase, for the plan table; - if there is none."""
        return "-"

    def relative_costs(self) -> list[float]:
        """Estimated operations of a training step in every phase; a step in which everything learns has 1."""
        return [1.0 for _ in self.phases]

    # The optimizer and its schedule.

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Two named optimizer groups a stage, with and without weight decay; frozen stages are there with rate 0.

        All groups exist from the first step on, because schedulers such as OneCycleLR and LambdaLR fail if one joins
        later. A frozen parameter has no gradient, so it gets neither an update, nor decay, nor optimizer state.

        Raises:
            UserError: A parameter is in no stage, or in more than one.
        """
        return groups_by_stage(self.network, self.stages(), self.group_rates(), self.weight_decay)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer over all stages, fused into one kernel, and the schedule of the present phase."""
        # A step of AdamW on ResNet-18 takes 6.5 ms on 2 CPU cores; 21 ms unfused.
        scaled = getattr(self.trainer.precision_plugin, "scaler", None)  # fp16: gradients could not be clipped
        fused = True if self.device.type in ("cpu", "cuda") and not scaled else None
        optimizer = OPTIMIZERS[self.optimizer_name](list(self.parameter_groups()), lr=self.lr, fused=fused)
        schedule: Any = self.configure_schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_schedule(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The schedule from the beginning of the present phase, or of the phases that it continues, to their end."""
        per_epoch = self.steps_per_epoch()
        ends = self.phase_ends()
        first = last = self.phase_number - 1
        while self.phases[first].continue_schedule:
            first -= 1
        while last + 1 < len(ends) and self.phases[last + 1].continue_schedule:
            last += 1
        warmup = self.phases[first].warmup_epochs
        if warmup is None:
            warmup = self.warmup_epochs if first == 0 else 0.0
        start = self.started[first] * per_epoch
        end = min(ends[last] * per_epoch, self.total_steps())  # max_steps may cut an epoch
        elapsed = self.phase_began * per_epoch - start
        return make_schedule(self.schedule, optimizer, end - start, round(warmup * per_epoch), elapsed)

    def phase_ends(self) -> list[int]:
        """First epoch after every phase, at the latest, within the budget of the trainer.

        Raises:
            UserError: The phases do not fit into its epochs.
        """
        trainer: Any = self.trainer
        if trainer.fast_dev_run:
            return [1] * len(self.phases)  # a try of the present phase
        return phase_ends(self.phases, ceil(self.total_steps() / self.steps_per_epoch()))

    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        self.total_steps()  # sees to it that the trainer knows the number of batches
        return ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)

    def total_steps(self) -> int:
        """Optimizer steps of the run.

        Raises:
            UserError: The trainer has no end.
        """
        total = self.trainer.estimated_stepping_batches
        if total == inf:
            raise UserError("training has no end: give trainer.max_epochs or trainer.max_steps")
        return int(total)
