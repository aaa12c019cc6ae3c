from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, inf
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from basics.errors import UserError
from classification.phases import Phase, check_phases, phase_ends
from classification.schedules import NO_DECAY, Schedule, check_schedule, make_schedule

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups, **rest: torch.optim.SGD(groups, momentum=0.9, nesterov=True, **rest),
}


class PhasedModule(L.LightningModule):
    """A network made of named stages, and trained in phases that say which of them learn.

    Subclasses set `network` and `phases`, and say through `stages` how the network is grouped. The phases are carried
    out by `callbacks.PhaseCallback`.

    Args:
        lr: Learning rate of the head, at the top of the schedule.
        optimizer: adam, adamw, or sgd (Nesterov momentum 0.9).
        weight_decay: Of weight matrices and kernels; biases, normalisation and embeddings are never decayed.
        schedule: Of all learning rates over the steps of a phase: cosine (to zero, after the warm-up), constant,
            onecycle, plateau (a tenth after three validations without a better `val/f1_macro`), or the class_path
            and init_args of a scheduler of torch, stepped every epoch.
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
        self.started = [0]  # first epochs of the phases so far; the last of them is the present one

    def stages(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The parameters of every stage, input to head; each belongs to exactly one."""
        raise NotImplementedError

    @property
    def phase(self) -> Phase:
        """The present one."""
        return self.phases[len(self.started) - 1]

    def configure_phases(self, phases: Sequence[Phase], owner: str) -> None:
        """Begin with the first of some phases.

        Args:
            phases: In order.
            owner: What made them, for messages.

        Raises:
            UserError: They do not fit the network or the schedule.
        """
        check_phases(phases, list(self.stages()), owner)
        check_schedule(self.schedule, phases, self.warmup_epochs)
        self.phases = phases
        self.enter_phases([0])

    def learning_stages(self, phase: Phase) -> list[str]:
        """Names of the stages that learn in a phase, input to head."""
        return [name for name, factor in phase.factors(list(self.stages())).items() if factor > 0]

    def enter_phases(self, started: Sequence[int]) -> None:
        """Be in the last of the phases that began at these epochs: what it names learns, all else is frozen."""
        self.started = list(started)
        learning = set(map(id, self.learning_parameters(self.phase)))
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in learning)
            if not parameter.requires_grad:
                parameter.grad = None
        self.train(self.training)

    def learning_parameters(self, phase: Phase) -> Iterator[nn.Parameter]:
        """What learns in a phase."""
        stages = self.stages()
        for name in self.learning_stages(phase):
            yield from stages[name]

    def group_rates(self) -> dict[str, float]:
        """Rate of every optimizer group at the top of the present phase's schedule; 0 where nothing learns."""
        factors = self.phase.factors(list(self.stages()))
        return {name + suffix: self.lr * factor for name, factor in factors.items() for suffix in ("", NO_DECAY)}

    def shown_batch_norm(self, phase: Phase) -> str:
        """What batch norm of frozen stages does in a phase; - where there is none."""
        return "-"

    def training_shares(self) -> list[float]:
        """Estimated operations of a training step in every phase, as a share of those where everything learns."""
        return [1.0 for _ in self.phases]

    # The optimizer and its schedule.

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Two named optimizer groups a stage, with and without weight decay; frozen stages are there with rate 0.

        All groups exist from the first step on, because schedulers such as OneCycleLR and LambdaLR fail when one joins
        later. A frozen parameter has no gradient, so it gets neither an update, nor decay, nor optimizer state.

        Raises:
            UserError: A parameter is in no stage, or in more than one.
        """
        rates, stages = self.group_rates(), self.stages()
        owners = Counter(id(parameter) for parameters in stages.values() for parameter in parameters)
        for name, parameter in self.network.named_parameters():
            if owners[id(parameter)] != 1:
                raise UserError(f"{name} is in {owners[id(parameter)]} stages, not in one: check stages()")
        undecayed: set[str] = getattr(
            self.network, "no_weight_decay", set
        )()  # what timm names: tokens, position embeddings
        kept = {id(p) for name, p in self.network.named_parameters() if p.ndim <= 1 or name in undecayed}
        for stage, parameters in stages.items():
            for name, decay, chosen in (
                (stage, self.weight_decay, [p for p in parameters if id(p) not in kept]),
                (stage + NO_DECAY, 0.0, [p for p in parameters if id(p) in kept]),
            ):
                if chosen:
                    yield {"params": chosen, "name": name, "lr": rates[name], "weight_decay": decay}

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
        per_epoch, ends = self.steps_per_epoch(), self.phase_ends()
        present = first = last = len(self.started) - 1
        while self.phases[first].continue_schedule:
            first -= 1
        while last + 1 < len(ends) and self.phases[last + 1].continue_schedule:
            last += 1
        warmup = self.phases[first].warmup_epochs
        if warmup is None:
            warmup = self.warmup_epochs if first == 0 else 0.0
        start = self.started[first] * per_epoch
        end = min(ends[last] * per_epoch, self.total_steps())  # max_steps may cut an epoch
        return make_schedule(
            self.schedule,
            optimizer,
            steps=end - start,
            warmup=round(warmup * per_epoch),
            elapsed=self.started[present] * per_epoch - start,
        )

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
