"""Gradient norms and distances by stage."""

from typing import Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm

from classification import PhasedModule


class StageDiagnostics(Callback):
    """Logs every epoch, by stage, how large the gradients are and how far the weights have moved.

    `gradient_norm/<stage>` is the mean over the epoch's steps. `distance/<stage>` is the distance of a backbone stage
    from its pretrained weights, relative to their norm, at the end of the epoch.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the norms of this step; nothing waits for the device."""
        for name, parameters in cast(PhasedModule, pl_module).stages().items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                norm = get_total_norm(gradients)
                finite = norm.isfinite()  # float16 gradients overflow until the scaler has found its scale
                self.sums[name] = self.sums.get(name, 0.0) + torch.where(finite, norm, 0.0)
                self.steps[name] = self.steps.get(name, 0) + finite

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch."""
        module = cast(PhasedModule, pl_module)
        values = {f"gradient_norm/{name}": total / self.steps[name] for name, total in self.sums.items()}
        self.sums = {}
        self.steps = {}
        distances = module.pretrained.distances(module.network, module.stages())
        values |= {f"distance/{name}": value for name, value in distances.items()}
        module.log_dict(values, sync_dist=True)  # the same on every rank already; without it Lightning warns

    def state_dict(self) -> dict[str, Any]:
        """The sums of an epoch that is not over."""
        return {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the sums of a checkpoint."""
        self.sums = state_dict["sums"]
        self.steps = state_dict["steps"]
