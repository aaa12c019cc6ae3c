"""The two sides of a row: each a process of its own that works only while it is its turn.

Both processes live as long as their row, and the blocks of steps that are timed alternate between them, so that what
else the machine does meets both. A block is `skip` steps that are not timed (the workers of a loader that has waited
are ahead) and `count` steps that are.
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

WARM_UP = 3  # steps before the first block
Turn = tuple[int, int]  # steps to skip, steps to time


class Done(Exception):
    """There is no more to measure."""


class Side:
    """The parent's end of a process.

    Args:
        work: Function `work(connection, *arguments)` for the process; it sends None when it is ready, receives a turn
            or None, which ends it, and sends what it has measured.
        arguments: More of that function.
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
        """What the process sends next.

        Raises:
            RuntimeError: It has ended; with the last lines it printed.
        """
        try:
            return self.connection.recv()
        except EOFError:
            raise RuntimeError("".join(self.log.readlines()[-15:])) from None

    def turn(self, count: int, skip: int = 0) -> Any:
        """Let it work, and give what it sends."""
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
    set_start_method("fork", force=True)  # of workers, as in a process that a user starts; here it would be spawn
    with contextlib.suppress(Done):
        work(connection, *arguments)


def synchronise() -> None:
    """Wait for the GPU, if one is in use."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Turns(Callback):
    """Times blocks of steps inside Lightning's loop, on request of the parent."""

    connection: ClassVar[Connection]

    def __init__(self) -> None:
        self.left, self.count, self.started = WARM_UP, 0, 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        """A step is done."""
        self.step()

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """The same in `trainer.validate`."""
        if trainer.state.fn == "validate":
            self.step()

    def step(self) -> None:
        """Count; stamp and wait where a block begins or ends.

        Raises:
            Done: The parent has all it wants.
        """
        self.left -= 1
        if self.left > 0:
            return
        synchronise()
        if self.count and not self.started:  # the steps to skip are done
            self.left, self.started = self.count, time.perf_counter()
            return
        self.connection.send(time.perf_counter() - self.started if self.started else None)
        turn = self.connection.recv()
        if turn is None:
            raise Done
        skip, self.count = turn
        self.started = 0.0 if skip else time.perf_counter()
        self.left = skip or self.count


class Stamps(Callback):
    """When an epoch's training part ends, and the run: seconds since `fit` began."""

    last: ClassVar[dict[str, Any]]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock."""
        self.start, self.trained = time.perf_counter(), False
        Stamps.last = {"begin": [], "end": []}

    def _stamp(self, name: str) -> None:
        synchronise()
        self.last[name].append(time.perf_counter() - self.start)

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins."""
        self._stamp("begin")
        self.trained = False

    def on_validation_start(self, *_: Any) -> None:
        """Its training part is over."""
        self._stamp("end")
        self.trained = True

    def on_train_epoch_end(self, *_: Any) -> None:
        """The same without validation."""
        if not self.trained:
            self._stamp("end")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """The run is over."""
        synchronise()
        self.last["run"] = time.perf_counter() - self.start
        self.last["peak"] = peak_memory_mb(pl_module.device)


def fit_arguments(config: str, root: Path, device: str, more: Sequence[str] = ()) -> list[str]:
    """The command line of a config: random weights, which cost the same, and nothing beside the training."""
    options = {"data.root": root, "trainer.accelerator": device, "trainer.devices": 1}
    options |= {f"trainer.{name}": "false" for name in ("logger", "enable_progress_bar", "enable_checkpointing")}
    if config != "fashion_cnn":
        options["model.weights"] = "none"
    return ["fit", f"--config=configs/{config}.yaml", *(f"--{name}={value}" for name, value in options.items()), *more]


def ours(connection: Connection, arguments: Sequence[str]) -> None:
    """Blocks of training steps of the real command line."""
    from experiments.cli import main

    Turns.connection = connection
    with tempfile.TemporaryDirectory() as runs:
        more = {"run.root": runs, "trainer.limit_val_batches": 0, "trainer.callbacks": "benchmarks.sides.Turns"}
        main([*arguments, *(f"--{name}={value}" for name, value in more.items())])


def our_runs(connection: Connection, arguments: Sequence[str], features: Path | None) -> None:
    """Whole runs of the real command line, each from nothing where its folder of features is given."""
    from experiments.cli import main

    connection.send(None)
    while connection.recv():
        if features:
            shutil.rmtree(features, ignore_errors=True)
        with tempfile.TemporaryDirectory() as runs:
            main([*arguments, "--run.root", runs, "--trainer.callbacks", "benchmarks.sides.Stamps"])
        connection.send(Stamps.last)


def our_data(config: str, root: Path, more: Sequence[str] = ()) -> tuple[Any, Any]:
    """The classifier and the data module of a config, ready to give batches."""
    from experiments.cli.commands import CLI

    class Objects(CLI):
        def _run_subcommand(self, subcommand: str) -> None:
            pass

    with tempfile.TemporaryDirectory() as runs:
        cli = Objects(fit_arguments(config, root, "cpu", ["--run.root", runs, *more]))
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    return cli.model, cli.datamodule


def bare(connection: Connection, config: str, root: Path, device: str, more: Sequence[str] = ()) -> None:
    """A PyTorch loop with the network, the optimizer and the batches of a config, without Lightning or metrics."""
    model, data = our_data(config, root, more)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-3)
    Turns.connection, turns = connection, Turns()
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
    """A batch on its device, after the hooks that augment it there."""
    moved = {key: it.to(device) if isinstance(it, torch.Tensor) else it for key, it in batch.items()}
    for owner in (data, model):
        moved = owner.on_after_batch_transfer(moved, 0)
    return moved


def peer(connection: Connection, arm: str, dataset: Callable[[], Any], device: str, validates: bool = False) -> None:
    """Blocks of steps of what a user would write."""
    from benchmarks import peers

    L.seed_everything(0)
    torch.set_float32_matmul_precision("high")
    Turns.connection = connection
    trainer = peers.trainer(arm, device, [Turns()], **({"limit_val_batches": 1.0} if validates else {}))
    run: Any = trainer.validate if validates else trainer.fit
    run(peers.module(arm), peers.loader(dataset(), shuffle=not validates))


def batches(connection: Connection, make: Callable[[], Callable[[int], Iterator[Any]]]) -> None:
    """Blocks of batches of a loader alone; `make` gives a function from the epoch to its batches."""
    Turns.connection, turns, epochs = connection, Turns(), make()
    for epoch in range(1000):
        for _ in epochs(epoch):
            turns.step()


def calls(connection: Connection, make: Callable[[], Callable[[], float]]) -> None:
    """Blocks of calls of a function that gives the seconds it has taken."""
    function = make()
    connection.send(None)
    while turn := connection.recv():
        connection.send(sum(function() for _ in range(turn[1])))
