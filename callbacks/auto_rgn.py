"""Learning rates by relative gradient norm."""

from math import isfinite
from typing import Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm

from classification import PhasedModule
from classification.schedules import scale_rates


class AutoRGNCallback(Callback):
    """Scales the rate of every stage by its relative gradient norm, in phases that say `auto_rgn`.

    The relative gradient norm of a stage is the norm of its gradients over the norm of its parameters; the largest of
    all stages is scaled to 1 (Auto-RGN, arXiv 2210.11466, section 4). The mean over the steps of an epoch is used in
    the next epoch; the first epoch uses the ratios of its first step. Unlike in the paper's code the optimizer is not
    made anew, so that Adam keeps its moments.
    """

    module: PhasedModule

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Keep the module, whose rates are scaled, and begin without scales."""
        self.module = cast(PhasedModule, pl_module)
        self.module.rate_scales = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Use the ratios of the last epoch; a new phase measures first."""
        if self.sums and self.module.phase_began < trainer.current_epoch:
            self._use(trainer)
        self.sums = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the ratios of this step, and use the first ones at once."""
        if not self.module.phase.auto_rgn:
            return
        for name, parameters in self.module.stages().items():
            weights = [parameter.detach() for parameter in parameters if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                ratio = get_total_norm(gradients) / get_total_norm(weights)
                self.sums[name] = self.sums.get(name, 0.0) + ratio
        if not self.module.rate_scales:
            self._use(trainer)

    def _use(self, trainer: L.Trainer) -> None:
        """Scale the rates by the ratios summed so far."""
        largest = max(value.item() for value in self.sums.values())
        if not isfinite(largest):  # float16 gradients overflow until the scaler has found its scale
            self.sums = {}
            return
        before = self.module.group_rates()
        self.module.rate_scales = {name: max(value.item() / largest, 1e-6) for name, value in self.sums.items()}
        after = self.module.group_rates()
        ratios = {name: after[name] / rate if rate else 1.0 for name, rate in before.items()}
        scale_rates(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler, ratios)

    def state_dict(self) -> dict[str, Any]:
        """The scales in use, and the sums of an epoch that is not over."""
        return {"rgn": self.module.rate_scales, "sums": self.sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the scales and sums of a checkpoint."""
        self.module.rate_scales = state_dict["rgn"]
        self.sums = state_dict["sums"]
