"""The two sides of a row, each a process of its own that works only in its turn.

Both processes live as long as their row. The timed blocks of steps alternate between them, so that any other work of
the machine disturbs both. A block is `skip` steps without a clock, because the workers of a loader that has waited are
ahead, and then `count` timed steps.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback

from callbacks.epoch_table import peak_memory_mb
from datamodules import ImageDataModule

WARM_UP = 3  # steps before the first block
Turn = tuple[int, int]  # steps to skip, steps to time


class Done(Exception):
    """The parent needs no more measurements."""


class Side:
    """The parent's end of a process.

    Args:
        work: Function `work(connection, *arguments)` of the process. It sends None when it is ready; then it receives
            a turn and sends a measurement, over and over, until it receives None.
        arguments: Further arguments of that function.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.log = tempfile.NamedTemporaryFile("r", suffix=".log")  # noqa: SIM115  (until close)
        self.process = context.Process(target=_run, args=(work, theirs, self.log.name, arguments))
        self.process.start()
        theirs.close()
        self.receive()

    def receive(self) -> Any:
        """Wait for the next message of the process.

        Raises:
            RuntimeError: The process has ended; the message is the last lines that it printed.
        """
        try:
            return self.connection.recv()
        except EOFError:
            raise RuntimeError("".join(self.log.readlines()[-15:])) from None

    def turn(self, count: int, skip: int = 0) -> Any:
        """Let the process work, and return its measurement.

        Args:
            count: Number of timed steps.
            skip: Number of steps before them without a clock.
        """
        self.connection.send((skip, count))
        return self.receive()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(None)
        self.process.join(60)
        if self.process.is_alive():
            self.process.kill()
        self.log.close()


def _run(work: Callable[..., None], connection: Connection, log: str, arguments: Sequence[Any]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    set_start_method("fork", force=True)  # workers start as in a process of the user; here the default is spawn
    with contextlib.suppress(Done):
        work(connection, *arguments)


def synchronise() -> None:
    """Wait for the GPU, if one is in use."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Turns(Callback):
    """Times blocks of steps inside Lightning's loop, on request of the parent."""

    connection: ClassVar[Connection]
    left = WARM_UP
    count = 0
    started = 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        """Count a training step."""
        self.step()

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Count a validation step, if the side validates."""
        if trainer.state.fn == "validate":
            self.step()

    def step(self) -> None:
        """Count a step. At the end of a block, send its seconds and wait for the next turn.

        Raises:
            Done: The parent needs no more measurements.
        """
        self.left -= 1
        if self.left > 0:
            return
        synchronise()
        if self.count and not self.started:  # the steps to skip are done
            self.left = self.count
            self.started = time.perf_counter()
            return
        self.connection.send(time.perf_counter() - self.started if self.started else None)
        turn = self.connection.recv()
        if turn is None:
            raise Done
        skip, self.count = turn
        self.started = 0.0 if skip else time.perf_counter()
        self.left = skip or self.count


class Stamps(Callback):
    """Notes when the training part of each epoch begins and ends, and when the run ends, in seconds since its start."""

    last: ClassVar[dict[str, Any]]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock."""
        self.start = time.perf_counter()
        Stamps.last = {"begin": [], "end": []}

    def _stamp(self, name: str) -> None:
        synchronise()
        self.last[name].append(time.perf_counter() - self.start)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note the beginning of an epoch."""
        self._stamp("begin")

    def on_validation_start(self, *_: Any) -> None:
        """Note the end of its training part."""
        self._stamp("end")

    def on_train_epoch_end(self, *_: Any) -> None:
        """Note the end of the training part if there was no validation."""
        if len(self.last["end"]) < len(self.last["begin"]):
            self._stamp("end")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Note the end of the run and its peak memory."""
        synchronise()
        self.last["run"] = time.perf_counter() - self.start
        self.last["peak"] = peak_memory_mb(pl_module.device)


def fit_arguments(config: str, root: Path, device: str, more: Sequence[str] = ()) -> list[str]:
    """Make the command line of a config: random weights, which cost the same, and nothing beside the training."""
    options = {"data.root": root, "trainer.accelerator": device, "trainer.devices": 1}
    options |= {f"trainer.{name}": "false" for name in ("logger", "enable_progress_bar", "enable_checkpointing")}
    if config != "fashion_plain":
        options["model.weights"] = "none"
    return ["fit", f"--config=configs/{config}.yaml", *(f"--{name}={value}" for name, value in options.items()), *more]


def ours(connection: Connection, arguments: Sequence[str]) -> None:
    """Run blocks of training steps of the real command line."""
    from experiments.cli import main

    Turns.connection = connection
    with tempfile.TemporaryDirectory() as runs:
        more = {"run.root": runs, "trainer.limit_val_batches": 0, "trainer.callbacks": "benchmarks.sides.Turns"}
        main([*arguments, *(f"--{name}={value}" for name, value in more.items())])


def our_runs(connection: Connection, arguments: Sequence[str], features: Path | None) -> None:
    """Do whole runs of the real command line.

    Args:
        connection: Connection to the parent.
        arguments: The command line.
        features: Folder of cached features to remove before each run.
    """
    from experiments.cli import main

    connection.send(None)
    while connection.recv():
        if features:
            shutil.rmtree(features, ignore_errors=True)
        with tempfile.TemporaryDirectory() as runs:
            main([*arguments, "--run.root", runs, "--trainer.callbacks", "benchmarks.sides.Stamps"])
        connection.send(Stamps.last)


def prepared(data: ImageDataModule) -> ImageDataModule:
    """Decode a data set if that was not done before, and map its splits."""
    data.prepare_data()
    data.setup("fit")
    return data


def our_data(config: str, root: Path, more: Sequence[str] = ()) -> tuple[Any, Any]:
    """Build the classifier and the data module of a config, ready to yield batches."""
    from experiments.cli.commands import CLI

    class Objects(CLI):
        def _run_subcommand(self, subcommand: str) -> None:
            pass

    with tempfile.TemporaryDirectory() as runs:
        cli = Objects(fit_arguments(config, root, "cpu", ["--run.root", runs, *more]))
    return cli.model, prepared(cli.datamodule)


def bare(connection: Connection, config: str, root: Path, device: str, more: Sequence[str] = ()) -> None:
    """Run a PyTorch loop with the network, the optimizer and the batches of a config, without Lightning or metrics."""
    model, data = our_data(config, root, more)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-3)
    Turns.connection = connection
    turns = Turns()
    for epoch in range(1000):
        batches = data.train_dataloader()
        batches.sampler.set_epoch(epoch)
        for batch in batches:
            batch = transferred(data, model, batch, device)
            optimizer.zero_grad()
            model.train_loss(model(batch["image"]), batch["label"]).backward()
            optimizer.step()
            turns.step()


def transferred(data: Any, model: Any, batch: dict[str, Any], device: str) -> dict[str, Any]:
    """Move a batch to a device and call the hooks that augment it there."""
    moved = {key: it.to(device) if isinstance(it, torch.Tensor) else it for key, it in batch.items()}
    for owner in (data, model):
        moved = owner.on_after_batch_transfer(moved, 0)
    return moved


def peer(connection: Connection, arm: str, dataset: Callable[[], Any], device: str, validates: bool = False) -> None:
    """Run blocks of steps of the peer."""
    from benchmarks import peers

    L.seed_everything(0)
    torch.set_float32_matmul_precision("high")
    Turns.connection = connection
    limits = {"limit_val_batches": 1.0} if validates else {}
    trainer = peers.trainer(arm, device, [Turns()], **limits)
    run: Any = trainer.validate if validates else trainer.fit
    run(peers.module(arm), peers.loader(dataset(), shuffle=not validates))


def batches(connection: Connection, make: Callable[[], Iterator[Any]]) -> None:
    """Take blocks of batches; `make` returns the batches of many epochs."""
    Turns.connection = connection
    turns = Turns()
    for _ in make():
        turns.step()


def calls(connection: Connection, function: Callable[[], float], warm: bool = False) -> None:
    """Call in blocks a function that measures its own seconds; warm: after a call that does not count."""
    if warm:
        function()
    connection.send(None)
    while turn := connection.recv():
        connection.send(sum(function() for _ in range(turn[1])))
