"""One run of a table: its folder, its command lines, how far it is."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.configs import differences, look_up, replaced, short
from experiments.runs import RunFolder, State
from experiments.studies import study_of

BUSY = 75
LIGHTNING = (sys.executable, "-m", "experiments.cli")
LR = "model.init_args.lr"
FOLD = "data.init_args.fold"


@dataclass(frozen=True)
class Cell:
    """One run of a table, or one of its learning-rate trials.

    Attributes:
        study: Name of the study.
        strategy: Name of the arm.
        seed: Seed of the run.
        fold: Fold of the data.
        root: Folder of all runs.
        overrides: Options of `lightning fit` beside the arm's config.
        trial: Learning rate of a trial, as written in the name of its folder; trials are not tested.
        arm_config: Resolved config of the arm, with these overrides.
    """

    study: str
    strategy: str
    seed: int
    fold: int = 0
    root: Path = Path("runs")
    overrides: tuple[str, ...] = ()
    trial: str | None = None
    arm_config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def run(self) -> RunFolder:
        """Folder in which `fit` keeps the run."""
        if self.trial is None:
            return RunFolder(self.root, self.study, self.strategy, self.seed, self.fold)
        return RunFolder(self.root / "lr_trials", self.study, f"{self.strategy}-lr{self.trial}", self.seed, self.fold)

    @property
    def name(self) -> str:
        """Study, arm, seed and fold, as in the path of the folder."""
        return self.run.name

    @property
    def log(self) -> Path:
        """Path of what its processes print; not in the run's folder, which `fit` may remove."""
        return self.run.root / "logs" / f"{self.name}.log"

    def at_rate(self, lr: str | None) -> "Cell":
        """The cell with a learning rate that trials have chosen; itself if there were no trials."""
        if lr is None:
            return self
        config = replaced(self.arm_config, LR, float(lr))
        return replace(self, overrides=(*self.overrides, "--model.lr", lr), arm_config=config)

    def state(self) -> State:
        """How far the run is; a trial is finished when it is trained."""
        state = self.run.state()
        return "finished" if self.trial is not None and state in ("trained", "stopped early") else state

    @property
    def options(self) -> list[str]:
        """Options of `fit`. The table's own come last, so that no overlay has other names."""
        run = self.run
        own = ["--run.root", str(run.root), "--run.study", run.study, "--run.strategy", run.strategy]
        own += ["--seed_everything", str(self.seed)]
        if look_up(self.arm_config, FOLD) is not None:
            own += ["--data.fold", str(self.fold)]
        if self.trial is not None:
            own += ["--model.lr", self.trial]
        config = str(study_of(self.study).config(self.strategy))
        return ["--config", config, *self.overrides, *own, "--trainer.enable_progress_bar", "false"]

    def commands(self) -> Iterator[list[str]]:
        """Arguments of `lightning` for all that is left to do."""
        state = self.state()
        if state in ("interrupted", "begun", "new"):
            overwrite = ["--run.overwrite", str(state == "begun").lower()]
            last = ["--ckpt_path", str(self.run.last)] if state == "interrupted" else []
            yield ["fit", *self.options, *overwrite, *last]
        if state != "finished" and self.trial is None:
            yield ["test", "--config", str(self.run.config), "--ckpt_path", "best"]

    @cached_property
    def expected(self) -> Mapping[str, Any]:
        """Resolved config that the run must have."""
        config = replaced(self.arm_config, "seed_everything", self.seed)
        if look_up(config, FOLD) is not None:
            config = replaced(config, FOLD, self.fold)
        return config if self.trial is None else replaced(config, LR, float(self.trial))

    def other_value(self, free_rate: bool = False) -> str | None:
        """One line if the run that is there was made with other values than those asked for.

        Args:
            free_rate: Accept any learning rate, because trials have not chosen it yet.
        """
        saved = self.run.saved_config()
        if saved is None:
            return None
        expected = replaced(self.expected, LR, look_up(saved, LR)) if free_rate else self.expected
        for found in differences(expected, saved):
            return (
                f"{self.run.path} has {short(found.key)} {found.second}, and this table asks for {found.first}: "
                "pass another --root, or remove the run"
            )
        return None

    def log_end(self, lines: int = 10) -> list[str]:
        """Last lines that its processes printed."""
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return [line for line in text.splitlines() if line.strip()][-lines:]


def run_cell(
    cell: Cell, env: Mapping[str, str] | None = None, started: Callable[["subprocess.Popen[bytes]"], None] | None = None
) -> int:
    """Do all that is left of a cell, in processes of their own, one after the other.

    The log is locked, and its processes inherit the lock: what another table has not ended yet is not begun twice.

    Args:
        cell: Cell to run.
        env: Environment variables for its processes, beside those of this one.
        started: Function that is called with each process.

    Returns:
        0, or the exit code of what failed; BUSY where another process is at it.
    """
    cell.log.parent.mkdir(parents=True, exist_ok=True)
    with cell.log.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return BUSY
        if problem := cell.other_value():
            log.write(f"error: {problem}\n".encode())
            return 2
        for args in cell.commands():
            process = subprocess.Popen(
                [*LIGHTNING, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C is for the table, which ends them all
            )
            try:
                if started:
                    started(process)
                code = process.wait()
            finally:
                end(process)
            if code:
                return code
            if args[0] == "fit" and cell.state() in ("new", "begun", "interrupted"):
                return 128 + signal.SIGTERM  # `fit` says in fit.json that it did not end by itself
    return 0 if cell.state() == "finished" else 128 + signal.SIGTERM


def end(process: "subprocess.Popen[bytes]", patience: float = 20) -> None:
    """End a process and those that it started; nothing where it has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
