"""Correctness of systems that unfreeze a network while it trains: `python -m benchmarks.peers_correctness`.

Three systems run the same cases: this project through its command line, Lightning's BackboneFinetuning, and
finetuning-scheduler, each peer in the way of its documentation. All train a timm `test_resnet`: first the head alone,
with layer4 from epoch 2, with everything from epoch 3. BackboneFinetuning knows only two phases: it trains everything
from epoch 2. Every fit is a process of its own, in which the callback `Probe` measures. The peers neither shuffle nor
drop anything, so that a resumed run can equal a whole one.
"""

import argparse
import copy
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import timm
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback, ModelCheckpoint
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import SumMetric

from basics.blocks import replace_block
from basics.errors import stop
from basics.files import checksum
from datamodules.sample_data import write_fer2013

THIS = "this project"
LIGHTNING = "BackboneFinetuning"
FTS = "finetuning-scheduler"
BATCH_NORM = {LIGHTNING: "train_bn", FTS: "frozen_bn_track_running_stats"}  # the peers' own options, True by default
JOINS = [2, 3]  # epochs at which stages join
EPOCHS = 6
KILLED = 4  # epoch in which a run is killed
TRAIN = 64  # images
TEST = 101
BATCH = 16
CLASSES = 7
LR = 1e-3
MODULE = "benchmarks.peers_correctness"


def one_cycle(optimizer: Optimizer) -> OneCycleLR:
    """One rise and one fall over all steps."""
    return OneCycleLR(optimizer, LR, total_steps=EPOCHS * TRAIN // BATCH)


def decay(optimizer: Optimizer) -> LambdaLR:
    """A tenth less every epoch."""
    return LambdaLR(optimizer, lambda epoch: 0.9**epoch)


def warm_up(optimizer: Optimizer) -> SequentialLR:
    """A linear rise in epoch 0, then a cosine."""
    return SequentialLR(optimizer, [LinearLR(optimizer), CosineAnnealingLR(optimizer, EPOCHS)], [1])


def hold(optimizer: Optimizer) -> SequentialLR:
    """A constant rate up to epoch 4, then a cosine."""
    return SequentialLR(optimizer, [ConstantLR(optimizer, 1.0), CosineAnnealingLR(optimizer, EPOCHS)], [4])


@dataclass(frozen=True)
class Fit:
    """Difference of a fit from the plain one.

    Attributes:
        epochs: Epochs of the fit.
        schedule: Name of a function above that makes the scheduler; empty means no scheduler.
        devices: Number of processes.
        kill: Whether the run is killed in epoch KILLED.
        resume: Receiver of the checkpoint: "fit", or "trainer" as finetuning-scheduler's documentation has it.
        bn_option: Value of the peer's option for batch norm.
    """

    epochs: int = EPOCHS
    schedule: str = ""
    devices: int = 1
    kill: bool = False
    resume: str = ""
    bn_option: bool = True


def machine(fit: Fit) -> dict[str, Any]:
    """Trainer options for the devices of a fit."""
    return {"accelerator": "cpu", "devices": fit.devices, "strategy": "ddp" if fit.devices > 1 else "auto"}


def pictures(count: int) -> Tensor:
    """Noise images `[count, 3, 48, 48]`, equal in every call."""
    return torch.rand(count, 3, 48, 48, generator=torch.Generator().manual_seed(0))


class Probe(Callback):
    """Measures what a system does to its network, and writes it to a file.

    It kills the process in epoch KILLED if the variable PROBE_KILLS is set: a run is resumed with its own options only.

    Args:
        file: Path of the JSON file.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.seen: dict[str, Any] = {"trains": {}}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep a copy of the backbone before training."""
        self.network: Any = getattr(pl_module, "backbone" if isinstance(pl_module, Peer) else "network")
        self.before = copy.deepcopy(self.network.state_dict())

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Count the tensors that train in an epoch; kill the process one step after the last checkpoint."""
        trains = sum(parameter.requires_grad for parameter in pl_module.parameters())
        self.seen["trains"][str(trainer.current_epoch)] = trains
        if os.environ.get("PROBE_KILLS") and trainer.current_epoch == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hash all parameters, compare the ranks, and after the last frozen epoch the backbone with its copy."""
        vector = torch.cat([parameter.detach().reshape(-1) for parameter in pl_module.parameters()])
        self.seen["sha256"] = checksum([vector.numpy()])
        if trainer.world_size > 1:
            vectors = [torch.empty_like(vector) for _ in range(trainer.world_size)]
            distributed.all_gather(vectors, vector)
            self.seen["rank_gap"] = float((vectors[0] - vectors[1]).abs().max())
        if trainer.current_epoch == JOINS[0] - 1:
            kinds = {"parameters": self.network.named_parameters(), "buffers": self.network.named_buffers()}
            self.seen["moved"] = {
                kind: sum(not torch.equal(it, self.before[name]) for name, it in tensors if name[:3] != "fc.")
                for kind, tensors in kinds.items()
            }
            with torch.no_grad():  # on copies, because batch norm may move
                training = copy.deepcopy(self.network).forward_features(pictures(BATCH))
                evaluated = copy.deepcopy(self.network).eval().forward_features(pictures(BATCH))
            self.seen["mode_gap"] = float((training - evaluated).abs().max() / evaluated.abs().max())
        self.write(trainer)

    def write(self, trainer: L.Trainer, **more: Any) -> None:
        """Write the measurements so far (rank 0)."""
        self.seen |= more
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(self.seen))


class Peer(L.LightningModule):
    """A backbone and a head, named as the documentation of BackboneFinetuning names them."""

    def __init__(self, schedule: str, weights: Path) -> None:
        super().__init__()
        self.backbone = timm.create_model("test_resnet", num_classes=0)
        self.backbone.load_state_dict(torch.load(weights), strict=False)
        self.head = nn.Linear(self.backbone.num_features, CLASSES)
        self.schedule = schedule
        self.tested = SumMetric()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log the score that finetuning-scheduler monitors."""
        self.log("val_loss", self.training_step(batch, batch_idx), sync_dist=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Count the images with a metric of torchmetrics."""
        self.tested(len(batch[0]))
        self.log("tested", self.tested)

    def configure_optimizers(self) -> Any:
        """Optimize the head; the callbacks add the parameters that they unfreeze."""
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=LR)
        if not self.schedule:
            return optimizer
        interval = "step" if self.schedule == "one_cycle" else "epoch"
        return [optimizer], [{"scheduler": globals()[self.schedule](optimizer), "interval": interval}]


def fit_peer(system: str, folder: Path, fit: Fit) -> None:
    """Train a peer in this process, and test it if there are two processes."""
    L.seed_everything(0)
    kept: Any = {"dirpath": folder, "filename": "{epoch}", "monitor": "val_loss", "save_top_k": -1}
    option: Any = {} if fit.bn_option else {BATCH_NORM[system]: False}
    if system == LIGHTNING:
        callbacks = [BackboneFinetuning(unfreeze_backbone_at_epoch=JOINS[0], **option), ModelCheckpoint(**kept)]
    else:
        from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint  # type: ignore[import-not-found]

        names = ("head.*", "backbone.layer4.*", "backbone.(conv1|bn1|layer[123]).*")
        ends = (*JOINS, EPOCHS)
        plan = {depth: {"params": [names[depth]], "max_transition_epoch": ends[depth]} for depth in range(3)}
        scheduler = FinetuningScheduler(plan, base_max_lr=LR / 10, epoch_transitions_only=True, **option)
        callbacks = [scheduler, FTSCheckpoint(**kept)]
    probe = Probe(str(folder / "probe.json"))
    rest: Any = {"callbacks": [*callbacks, probe], "logger": False, "default_root_dir": folder}
    trainer = L.Trainer(max_epochs=fit.epochs, **machine(fit), **rest)
    last = str(folder / f"epoch={KILLED - 1}.ckpt")
    if fit.resume == "trainer":
        trainer.ckpt_path = last
    images = pictures(TEST)
    labels = torch.arange(TEST) % CLASSES
    batch = BATCH // fit.devices
    train = DataLoader(TensorDataset(images[:TRAIN], labels[:TRAIN]), batch)
    test = DataLoader(TensorDataset(images, labels), batch)
    module = Peer(fit.schedule, folder.parents[1] / "weights.pt")
    trainer.fit(module, train, test, ckpt_path=last if fit.resume == "fit" else None)
    if fit.devices > 1:
        probe.write(trainer, tested=int(trainer.test(module, test)[0]["tested"]))


def fit_this(fit: Fit, folder: Path) -> None:
    """Train this project through its command line, and test it if there are two processes."""
    root = folder.parents[1]
    schedule = "onecycle" if fit.schedule == "one_cycle" else f"{MODULE}.{fit.schedule}"
    line = (
        f"fit --config configs/fer_gradual.yaml --model.strategy.at '{JOINS}' --model.backbone test_resnet"
        f" --model.weights '{root}/weights.pt' --model.lr {LR} --model.warmup_epochs 0 --run.root '{folder}'"
        f" --data.root '{root}/data' --data.batch_size {BATCH} --data.num_workers 0 --trainer.max_epochs {fit.epochs}"
        f" --trainer.callbacks {MODULE}.Probe --trainer.callbacks.file '{folder}/probe.json' --trainer.logger false"
    )
    if fit.resume:
        line += " --ckpt_path last"
    if fit.schedule:
        line += f" --model.schedule {schedule}"
    devices = "".join(f" --trainer.{name} {value}" for name, value in machine(fit).items())
    start(["-m", "experiments.cli", *shlex.split(line + devices)], fit.kill)
    if fit.devices > 1:
        run = folder / "fer/gradual/seed0"
        file = folder / "probe.json"
        start(["-m", "experiments.cli", *shlex.split(f"test --config '{run}/config.yaml' --ckpt_path last {devices}")])
        tested = sum(map(sum, json.loads((run / "metrics.json").read_text())["confusion_matrix"]))
        file.write_text(json.dumps(json.loads(file.read_text()) | {"tested": tested}))


def start(command: list[str], killed: bool = False) -> None:
    """Run a command of Python to its end.

    Args:
        command: Arguments of the interpreter.
        killed: Whether the command has to end by SIGKILL.

    Raises:
        RuntimeError: The command ended in another way; the message is the line that says why.
    """
    env = os.environ | {"OMP_NUM_THREADS": "1"} | ({"PROBE_KILLS": "1"} if killed else {})
    options: Any = {"cwd": Path(__file__).parents[1], "env": env, "timeout": 600}
    with tempfile.TemporaryFile("w+") as output:  # not a pipe, which a second rank would keep open
        code = subprocess.run([sys.executable, *command], stdout=output, stderr=output, **options).returncode
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    if code != (-signal.SIGKILL if killed else 0):
        reasons = [line for line in lines if re.match(r"error: |(\[rank\d\]: )?[\w.]+(Error|Exception): ", line)]
        raise RuntimeError([f"exit code {code}", *lines[-1:], *reasons][-1])


def run(system: str, root: Path, fit: Fit) -> dict[str, Any]:
    """Train in a process of its own, and read the measurements of its probe."""
    folder = root / "killed" if fit.kill or fit.resume else Path(tempfile.mkdtemp(dir=root))
    folder.mkdir(exist_ok=True)
    if system == THIS:
        fit_this(fit, folder)
    else:
        start(["-m", MODULE, "--train", system, str(folder), json.dumps(asdict(fit))], fit.kill)
    return dict(json.loads((folder / "probe.json").read_text()))


Run = Callable[[Fit], dict[str, Any]]
Case = Callable[[str, Run], str]  # takes the name of a system, returns the text of its cell


def with_bn_option(say: Callable[[dict[str, Any]], str]) -> Case:
    """Make a case that runs the default, and then the peer's option for batch norm."""

    def case(system: str, run: Run) -> str:
        option = BATCH_NORM.get(system)
        return say(run(Fit())) + (f"; with `{option}=False` {say(run(Fit(bn_option=False)))}" if option else "")

    return case


def frozen(seen: dict[str, Any]) -> str:
    """Say which tensors of the frozen backbone have changed."""
    return ", ".join(f"{count} {kind} changed" for kind, count in seen["moved"].items() if count) or "yes"


def resumed(system: str, run: Run) -> str:
    """Compare a killed and resumed run with a whole one: the hash of its weights, and how many tensors train."""
    whole = run(Fit())
    run(Fit(kill=True))

    def say(way: str) -> str:
        now = run(Fit(resume=way))
        trains = list(now["trains"].values())
        before = [whole["trains"][epoch] for epoch in now["trains"]]
        same = "yes" if now["sha256"] == whole["sha256"] else "no"
        return f"{same}, {trains} tensors train" + (f", not {before}" if trains != before else "")

    return say("fit") + (f"; by `trainer.ckpt_path = ...` {say('trainer')}" if system == FTS else "")


def budget(system: str, run: Run) -> str:
    """Say what becomes of a plan that needs more epochs than max_epochs."""
    try:
        trains = run(Fit(epochs=2))["trains"]
    except RuntimeError as error:
        if not str(error).startswith("error: "):
            raise
        return str(error).replace("error: ", "refused: ", 1)
    phases = 2 if system == LIGHTNING else len(JOINS) + 1
    return f"{len(trains)} epochs, {len(set(trains.values()))} of {phases} phases"


def takes(schedule: str) -> Case:
    """Make a case that fails if a scheduler does not go on when parameters join."""
    return lambda _, run: "works" if run(Fit(schedule=schedule)) else ""


CASES: dict[str, Case] = {
    "the frozen backbone stays bit-equal, buffers included": with_bn_option(frozen),
    "its outputs in training and in evaluation mode: how far apart": with_bn_option(lambda it: f"{it['mode_gap']:.0%}"),
    "2 processes (DDP): largest difference of a parameter": lambda _, run: f"{run(Fit(devices=2))['rank_gap']:.2g}",
    "killed after unfreezing, resumed by `fit(ckpt_path=...)`: same SHA-256 of all parameters": resumed,
    "OneCycleLR when parameters join": takes("one_cycle"),
    "LambdaLR when parameters join": takes("decay"),
    "SequentialLR that changes over before": takes("warm_up"),
    "SequentialLR that changes over after parameters have joined": takes("hold"),
    f"{TEST} test images on 2 processes: counted": lambda _, run: str(run(Fit(devices=2))["tested"]),
    f"`max_epochs=2` for a plan of {EPOCHS} epochs": budget,
}


def column(root: Path, system: str) -> list[str]:
    """Run all cases of one system. The cell of a case that fails holds the error."""
    (root / system).mkdir()
    run_once = cache(partial(run, system, root / system))
    cells = []
    for case in CASES.values():
        try:
            cells.append(case(system, run_once))
        except Exception as error:  # whatever a system does is a result
            words = re.sub(r"^error: |[\w.]+\.(?=\w+(Error|Exception): )| \(<class '.+?'>\)", "", str(error))
            cells.append(f"error: {words.split('. ')[0]}")
    return cells


def main() -> None:
    """Print the table and put it into its page. With the hidden option --train, train one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    train = parser.parse_args().train
    if importlib.util.find_spec("finetuning_scheduler") is None:
        stop("no finetuning-scheduler: .venv/bin/uv pip install finetuning-scheduler")
    if train:
        fit_peer(train[0], Path(train[1]), Fit(**json.loads(train[2])))
        return
    systems = (THIS, LIGHTNING, FTS)
    L.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor() as pool, torch.no_grad():
        os.environ["TMPDIR"] = root  # a killed process leaves its own temporary folders there
        write_fer2013(Path(root) / "data", TRAIN, TEST, TEST)
        network = timm.create_model("test_resnet", num_classes=CLASSES)
        for _ in range(50):  # batch norm takes the statistics of the images, as after a training
            network(pictures(TRAIN))
        torch.save(network.state_dict(), Path(root) / "weights.pt")
        columns = list(pool.map(partial(column, Path(root)), systems))
    versions = ", ".join(f"{name} {version(name)}" for name in ("lightning", "finetuning-scheduler", "torch"))
    lines = [f"| {versions} | {' | '.join(systems)} |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in zip(CASES, *columns, strict=True)]
    print("\n".join(lines))
    replace_block("peers", "\n".join(lines))


if __name__ == "__main__":
    main()
