"""Callbacks for the proofs: one that records what a run really does, and those that put known faults back."""

import copy
import hashlib
import json
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback


def digest(tensors):
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


class Record(Callback):
    """Writes `<folder>/rank<r>.jsonl`: a line a step and a line an epoch.

    Args:
        folder: Folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def _write(self, trainer, **line):
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": trainer.current_epoch, "step": trainer.global_step, **line}) + "\n")

    @staticmethod
    def _states(module):
        """Digest of parameters and buffers of every stage."""
        return {
            name: digest([*stage.parameters, *(buffer for part in stage.modules for buffer in part.buffers())])
            for name, stage in module.network_stages.items()
        }

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.states = self._states(pl_module)
            self.batch = batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        stages = pl_module.stages()
        optimizer = trainer.optimizers[0]
        self._write(
            trainer,
            step=trainer.global_step - 1,
            rates={group["name"]: group["lr"] for group in optimizer.param_groups},
            trainable={name: sum(p.numel() for p in own if p.requires_grad) for name, own in stages.items()},
            gradients={name: sum(p.numel() for p in own if p.grad is not None) for name, own in stages.items()},
            remembered={name: sum(p.numel() for p in own if p in optimizer.state) for name, own in stages.items()},
        )

    def on_train_epoch_end(self, trainer, pl_module):
        now = self._states(pl_module)
        self._write(
            trainer,
            moved=[name for name in now if now[name] != self.states[name]],
            parameters={name: digest(own) for name, own in pl_module.stages().items()},
            same_in_both_modes=self._same_in_both_modes(pl_module) if "image" in self.batch else None,
        )

    @staticmethod
    def _keep(outputs, name, module, inputs, output):
        outputs[name] = output.detach()

    def _same_in_both_modes(self, module):
        """The stages whose output is the same, bit for bit, in training and in evaluation mode."""
        outputs = []
        for mode in (True, False):
            module.train(mode)
            twin = copy.deepcopy(module)  # a pass in training mode moves batch norm of what learns
            twin.frozen_part = None  # the stages themselves, not the copy that stands in for them
            outputs.append({})
            for name, stage in twin.network_stages.items():
                stage.modules[-1].register_forward_hook(partial(self._keep, outputs[-1], name))
            with torch.no_grad():
                twin(self.batch["image"])
        module.train()
        return [name for name in outputs[0] if torch.equal(outputs[0][name], outputs[1][name])]


class FrozenBatchNormInTrainingMode(Callback):
    """The fault of Lightning's BackboneFinetuning: what is frozen does not learn, but its batch norm moves."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        pl_module.frozen_part = None  # a copy of what is frozen, out of the fault's reach
        for module in pl_module.network.modules():
            module.training = True


class NeverWrappedAgain(Callback):
    """The fault of every callback that unfreezes under DDP: what joins is not in the reducer."""

    def setup(self, trainer, pl_module, stage):
        import callbacks.phases

        callbacks.phases.wrap_again = lambda trainer: None


class SharesForgotten(Callback):
    """The fault of a mean over ranks where the last step is uneven."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        batch["share"] = 1.0


class RateForgotten(Callback):
    """A stage that joins keeps the rate it had while it was frozen."""

    def setup(self, trainer, pl_module, stage):
        import callbacks.phases

        callbacks.phases.set_rates = lambda optimizer, rates: None


class StepsNotSeeded(Callback):
    """Dropout draws from a generator that runs on, and that no checkpoint holds."""

    def setup(self, trainer, pl_module, stage):
        pl_module.on_train_batch_start = lambda batch, batch_idx: None


class LoaderStartsOver(Callback):
    """Lightning's default in the middle of an epoch: the rest of its steps, on the images of its beginning."""

    def setup(self, trainer, pl_module, stage):
        trainer.datamodule._batches_done = lambda: 0


class PhaseForgotten(Callback):
    """The fault of BackboneFinetuning (Lightning issue #21901): the optimizer is resumed, what is trainable is not."""

    def setup(self, trainer, pl_module, stage):
        import callbacks.phases

        callbacks.phases.PhaseCallback.load_state_dict = lambda self, state: None


class SumsForgotten(Callback):
    """The training scores of a resumed epoch are those of its rest."""

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        pl_module.metrics["train_split"].reset()
