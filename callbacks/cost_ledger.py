import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from basics.files import write_file
from callbacks.epoch_table import peak_memory_mb
from callbacks.files import is_dev_run
from callbacks.phases import numel
from classification import Classifier
from classification.cost import pass_flops

SUMS = ("epochs", "images", "forward_flops", "backward_flops", "computed_flops", "seconds", "train_seconds")


class CostLedger(Checkpoint):
    """Writes cost.json after every epoch: what each phase has cost so far, and the run as a whole.

    Operations are those of the training images, two a multiply-add (`classification.cost`): `forward_flops` and
    `backward_flops` as the strategy defines them; `computed_flops` as they were computed, without what cached features
    stood in for, but with the pass over the training images that made them, if this run made them. Validation is in
    `seconds` alone, and so is the pass over its images. `seconds` begin with the training and also hold what is between
    two epochs. `energy_joules` is that of the GPUs of this machine by NVML, and null where nothing measures it.

    The sums travel in the checkpoint: those of a resumed run are of the whole run, up to that checkpoint and from there
    on. (It is a `Checkpoint` because Lightning calls these last, when the phase has changed and features are made.)

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.phases: list[dict[str, Any]] = []
        self._flops: tuple[int, int, int] | None = None  # of an image: forward, backward, forward of what is cached
        self._mark: float | None = None  # time up to which seconds are counted; None before training

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; go on in the middle of an epoch, whose beginning Lightning does not announce again."""
        self._energy = _energy_meter(trainer)
        self._training = False
        self._mark, self._joules = time.perf_counter(), self._energy()
        if trainer.fit_loop.restarted_mid_epoch:
            self._begin_phase(trainer, pl_module)
            self._training = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the account of a new phase; what was between the two epochs is its cost."""
        self._begin_phase(trainer, pl_module)
        self._tick()
        self._training = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of all ranks, and their operations."""
        rank_weight = batch.get("rank_weight", 1.0)
        images = round(len(batch["label"]) * trainer.world_size / rank_weight) if rank_weight else 0
        assert self._flops is not None
        forward, backward, frozen = self._flops
        phase = self.phases[-1]
        phase["images"] += images
        phase["forward_flops"] += images * forward
        phase["backward_flops"] += images * backward
        phase["computed_flops"] += images * (forward + backward - (0 if "image" in batch else frozen))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock of the training part; validation is inside Lightning's training epoch."""
        if self._mark is not None:
            self._tick()
            self._training = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with it, if the epoch goes on."""
        if self._mark is not None:
            self._tick()
            self._training = not trainer.is_last_batch

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the epoch and write the file (rank 0)."""
        self._tick()
        self._training = False
        phase = self.phases[-1]
        phase["epochs"] += 1
        phase["peak_memory_mb"] = max(phase["peak_memory_mb"], peak_memory_mb(pl_module.device))
        if trainer.is_global_zero and not is_dev_run(trainer):
            write_file(self.path, json.dumps(cost(self.phases), indent=1) + "\n")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._mark = None

    def state_dict(self) -> dict[str, Any]:
        """The sums up to now."""
        if self._mark is not None and self.phases:
            self._tick()
        return {"phases": self.phases}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the sums of a checkpoint."""
        self.phases = state_dict["phases"]

    def _begin_phase(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the account of the present phase, unless it is open; learn what an image costs in it."""
        module = cast(Classifier, pl_module)
        number, known = len(module.started), self.phases[-1]["phase"] if self.phases else 0
        if number == known and self._flops:
            return
        learning = list(module.learning_parameters(module.phase))
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        images = torch.zeros(1, *data.image_shape, dtype=torch.uint8, device=module.device)
        shape = module.inputs(images).shape[1:]
        prefix = getattr(module, "frozen_prefix", None)
        frozen = pass_flops(prefix.frozen, shape)[0] if prefix else 0
        self._flops = (*pass_flops(module.network, shape, learning), frozen)
        if number > known:
            phase = {"phase": number, "stages": module.learning_stages(module.phase), "trainable": numel(learning)}
            zeros = {**dict.fromkeys(SUMS[:5], 0), "seconds": 0.0, "train_seconds": 0.0, "peak_memory_mb": 0.0}
            self.phases.append({**phase, **zeros, "energy_joules": 0.0})
        self.phases[-1]["computed_flops"] += getattr(module, "features_computed", 0) * frozen

    def _tick(self) -> None:
        """Add the time and the energy since the last call to the present phase."""
        assert self._mark is not None
        now, joules, phase = time.perf_counter(), self._energy(), self.phases[-1]
        phase["seconds"] += now - self._mark
        if self._training:
            phase["train_seconds"] += now - self._mark
        known = None not in (joules, self._joules, phase["energy_joules"])
        phase["energy_joules"] = phase["energy_joules"] + joules - self._joules if known else None
        self._mark, self._joules = now, joules


def cost(phases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The content of cost.json: the phases, and all of them together.

    Args:
        phases: The sums of every phase; operations are whole numbers, so that their order does not matter.
    """
    energies = [phase["energy_joules"] for phase in phases]
    total = {
        **{name: sum(phase[name] for phase in phases) for name in SUMS},
        "energy_joules": None if None in energies else sum(energies),
        "peak_memory_mb": max(phase["peak_memory_mb"] for phase in phases),
        "trainable": max(phase["trainable"] for phase in phases),
    }
    return {"phases": [_shown(phase) for phase in phases], "total": _shown(total)}


def _shown(sums: dict[str, Any]) -> dict[str, Any]:
    floats = {name: float(value) for name, value in sums.items() if name.endswith("_flops")}
    seconds = sums["train_seconds"]
    return {**sums, **floats, "images_per_second": sums["images"] / seconds if seconds else 0.0}


def _energy_meter(trainer: L.Trainer) -> Callable[[], float | None]:
    """Joules that the GPUs of this run have used since their driver was loaded; None where NVML does not say.

    It takes nvidia-ml-py, and a run on one machine: rank 0 reads the GPUs of all ranks.
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
    except Exception:  # not installed, no driver, a GPU that does not count: the run is not worth less
        return lambda: None
    return read
