from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm


class StageDiagnostics(Callback):
    """Logs every epoch, by stage, what explains an arm: how hard it is pulled, and how far it has moved.

    `gradient_norm/<stage>` is the mean over the epoch's steps; `distance/<stage>` is that of a backbone stage from its
    pretrained weights, relative to their norm, at the end of the epoch.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add this step's norms; nothing waits for the device."""
        module: Any = pl_module
        for name, parameters in module.stages().items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                norm = get_total_norm(gradients)
                finite = norm.isfinite()  # float16 gradients overflow until the scaler has found its scale
                self.sums[name] = self.sums.get(name, 0.0) + torch.where(finite, norm, 0.0)
                self.steps[name] = self.steps.get(name, 0) + finite

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch."""
        module: Any = pl_module
        values = {f"gradient_norm/{name}": total / self.steps[name] for name, total in self.sums.items()}
        self.sums, self.steps = {}, {}
        values |= {f"distance/{name}": value for name, value in self._distances(module).items()}
        pl_module.log_dict(values, sync_dist=True)  # the same on every rank already; without it Lightning warns

    @staticmethod
    def _distances(module: Any) -> dict[str, Tensor]:
        names = {id(parameter): name for name, parameter in module.network.named_parameters()}
        distances = {}
        for stage, parameters in module.stages().items():
            pairs = [
                (p.detach(), module.pretrained[names[id(p)]]) for p in parameters if names[id(p)] in module.pretrained
            ]
            if pairs:
                moved = get_total_norm([now - before for now, before in pairs])
                distances[stage] = moved / get_total_norm([before for _, before in pairs])
        return distances

    def state_dict(self) -> dict[str, Any]:
        """The sums of an epoch that is not over."""
        return {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.sums, self.steps = state_dict["sums"], state_dict["steps"]
