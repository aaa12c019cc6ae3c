from math import isfinite
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm

from classification.schedules import scale_rates


class AutoRGNCallback(Callback):
    """Scales the rate of every stage by its relative gradient norm, where the phase says `auto_rgn`.

    The relative gradient norm of a stage is that of its gradients over that of its parameters; the largest of the
    stages is scaled to 1 (Auto-RGN, arXiv 2210.11466, section 4). It is the mean over the steps of an epoch, for the
    next epoch, and in the first epoch that of the first step. Unlike in the paper's code the optimizer is not made
    anew, so that Adam keeps its moments.
    """

    module: Any

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Know the module, which the ratios in use belong to."""
        self.module = pl_module
        self.module.rgn = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Use what the last epoch measured; a new phase measures first."""
        if self.sums and self.module.started[-1] < trainer.current_epoch:
            self._use(trainer)
        self.sums = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add this step's ratios, and use the first ones at once."""
        if not self.module.phase.auto_rgn:
            return
        for name, parameters in self.module.stages().items():
            learning = [parameter for parameter in parameters if parameter.grad is not None]
            if learning:
                ratio = get_total_norm([p.grad for p in learning]) / get_total_norm([p.detach() for p in learning])
                self.sums[name] = self.sums.get(name, 0.0) + ratio
        if not self.module.rgn:
            self._use(trainer)

    def _use(self, trainer: L.Trainer) -> None:
        largest = max(value.item() for value in self.sums.values())
        if not isfinite(largest):  # float16 gradients overflow until the scaler has found its scale
            self.sums = {}
            return
        before = self.module.group_rates()
        self.module.rgn = {name: max(value.item() / largest, 1e-6) for name, value in self.sums.items()}
        after = self.module.group_rates()
        ratios = {name: after[name] / rate if rate else 1.0 for name, rate in before.items()}
        scale_rates(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler, ratios)

    def state_dict(self) -> dict[str, Any]:
        """The ratios in use, and the sums of an epoch that is not over."""
        return {"rgn": self.module.rgn, "sums": self.sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.module.rgn, self.sums = state_dict["rgn"], state_dict["sums"]
