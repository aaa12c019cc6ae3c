"""The cost of a run, phase by phase."""

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from basics.files import write_json
from callbacks.epoch_table import peak_memory_mb
from callbacks.files import is_dev_run
from callbacks.phases import numel
from callbacks.trainers import image_data
from classification import Classifier
from classification.cost import pass_flops

COUNTS = ("epochs", "images", "forward_flops", "backward_flops", "computed_flops")
SUMS = (*COUNTS, "seconds", "train_seconds")


class CostLedger(Checkpoint):
    """Writes cost.json after every epoch: the cost of each phase so far, and of the run as a whole.

    Operations are operations on training images, two a multiply-add (`classification.cost`). `forward_flops` and
    `backward_flops` follow from the strategy alone. `computed_flops` counts what was really computed: cached features
    are free, except for the one pass that created them, if this run created them. `seconds` begin with the training and
    include validation and the time between two epochs. `energy_joules` is the energy of the GPUs of this machine by
    NVML, and null if nothing measures it.

    The sums travel in the checkpoint: a resumed run has the sums up to its checkpoint and from there on. This is a
    `Checkpoint` because Lightning calls these last, when the phase has changed and features are made.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.phases: list[dict[str, Any]] = []
        # Operations of an image in the present phase: forward, backward, and what cached features save of the former.
        self._cost: tuple[int, ...] = ()
        self._mark: float | None = None  # time up to which seconds are counted; None before training

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; go on in the middle of an epoch, whose beginning Lightning does not announce again."""
        self._energy = _energy_meter(trainer)
        self._training = trainer.fit_loop.restarted_mid_epoch
        self._mark = time.perf_counter()
        self._joules = self._energy()
        if self._training:
            self._begin_phase(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the account of a new phase; it pays for the time between the two epochs."""
        self._begin_phase(trainer, pl_module)
        self._tick(training=True)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of all ranks, and their operations."""
        rank_weight = batch.get("rank_weight", 1.0)
        images = round(len(batch["label"]) * trainer.world_size / rank_weight) if rank_weight else 0
        forward, backward, saved = self._cost
        phase = self.phases[-1]
        phase["images"] += images
        phase["forward_flops"] += images * forward
        phase["backward_flops"] += images * backward
        phase["computed_flops"] += images * (forward + backward - (0 if "image" in batch else saved))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock of the training part; validation is inside Lightning's training epoch."""
        if self._mark is not None:
            self._tick(training=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the training part again, if the epoch goes on."""
        if self._mark is not None:
            self._tick(training=not trainer.is_last_batch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the epoch and write the file (rank 0)."""
        self._tick(training=False)
        phase = self.phases[-1]
        phase["epochs"] += 1
        phase["peak_memory_mb"] = max(phase["peak_memory_mb"], peak_memory_mb(pl_module.device))
        if trainer.is_global_zero and not is_dev_run(trainer):
            write_json(self.path, cost(self.phases))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._mark = None

    def state_dict(self) -> dict[str, Any]:
        """The sums up to now."""
        if self._mark is not None and self.phases:
            self._tick(self._training)
        return {"phases": self.phases}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the sums of a checkpoint."""
        self.phases = state_dict["phases"]

    def _begin_phase(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the account of the present phase, unless it is open, and count the operations of an image in it."""
        module = cast(Classifier, pl_module)
        open_account = self.phases[-1]["phase"] if self.phases else 0
        if module.phase_number == open_account and self._cost:
            return
        learning = list(module.learning_parameters(module.phase))
        data = image_data(trainer)
        assert data is not None
        images = torch.zeros(1, *data.image_shape, dtype=torch.uint8, device=module.device)
        forward, backward = pass_flops(module.network, module.inputs(images).shape[1:], learning)
        part = module.frozen_part
        self._cost = (forward, backward, 0 if part is None else part.operations_saved)
        if module.phase_number > open_account:
            account = {
                "phase": module.phase_number,
                "stages": module.learning_stages(module.phase),
                "trainable": numel(learning),
                **dict.fromkeys(COUNTS, 0),
                **dict.fromkeys(("seconds", "train_seconds", "peak_memory_mb", "energy_joules"), 0.0),
            }
            self.phases.append(account)
        if part is not None:
            self.phases[-1]["computed_flops"] += part.features_computed * part.operations_saved

    def _tick(self, training: bool) -> None:
        """Add the time and the energy since the last call to the present phase; say what the time from now on is."""
        assert self._mark is not None
        now = time.perf_counter()
        joules = self._energy()
        phase = self.phases[-1]
        phase["seconds"] += now - self._mark
        if self._training:
            phase["train_seconds"] += now - self._mark
        known = None not in (joules, self._joules, phase["energy_joules"])
        phase["energy_joules"] = phase["energy_joules"] + joules - self._joules if known else None
        self._mark = now
        self._joules = joules
        self._training = training


def cost(phases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The content of cost.json: the phases, and all of them together.

    Args:
        phases: Sums of every phase; operations are whole numbers, so that the order of addition does not matter.
    """
    energies = [phase["energy_joules"] for phase in phases]
    total = {
        **{name: sum(phase[name] for phase in phases) for name in SUMS},
        "energy_joules": None if None in energies else sum(energies),
        **{name: max(phase[name] for phase in phases) for name in ("peak_memory_mb", "trainable")},
    }
    return {"phases": [_shown(phase) for phase in phases], "total": _shown(total)}


def _shown(sums: dict[str, Any]) -> dict[str, Any]:
    floats = {name: float(value) for name, value in sums.items() if name.endswith("_flops")}
    seconds = sums["train_seconds"]
    return {**sums, **floats, "images_per_second": sums["images"] / seconds if seconds else 0.0}


def _energy_meter(trainer: L.Trainer) -> Callable[[], float | None]:
    """A function that gives the joules of the GPUs of this run since their driver was loaded; None if unknown.

    It needs nvidia-ml-py, and a run on one machine: rank 0 reads the GPUs of all ranks.
    """
    if trainer.strategy.root_device.type != "cuda" or trainer.num_nodes > 1:
        return lambda: None
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        uuids = [torch.cuda.get_device_properties(device).uuid for device in trainer.device_ids]
        handles = [nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]

        def read() -> float | None:
            return float(sum(nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles)) / 1000

        read()
    except Exception:  # not installed, no driver, or a GPU that does not measure; the run goes on without
        return lambda: None
    return read
