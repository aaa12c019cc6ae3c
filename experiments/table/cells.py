"""One run of a table: its folder, its command lines, how far it is."""

import csv
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml

from experiments.table.asked import Tree, asked, differences

CONFIGS = {"fashion/plain": "configs/fashion_cnn.yaml"}  # all others are configs/<study>_<strategy>.yaml
FIT_DONE = "fit.done"  # in the run's folder: the table saw `fit` end as it should
CLOSING = b"test it once, with"  # what `fit` prints when it was not interrupted; ended by SIGTERM it exits with 0, too
BUSY = 75
LIGHTNING = (sys.executable, "-m", "experiments.cli")
State = Literal["finished", "trained", "interrupted", "begun", "new"]


@dataclass(frozen=True)
class Cell:
    """One run of a table, or one of its learning-rate trials.

    Args:
        study: With the strategy it names the config.
        strategy: The arm.
        seed: Of everything.
        fold: None is what the config says.
        root: Folder of all runs.
        overrides: Options of `lightning fit`.
        trial: The learning rate of a trial, as written in its folder's name; trials are not tested.
    """

    study: str
    strategy: str
    seed: int
    fold: int | None = None
    root: Path = Path("runs")
    overrides: tuple[str, ...] = ()
    trial: str | None = None

    @property
    def config(self) -> str:
        """The config file of the arm."""
        return config_of(self.study, self.strategy)

    @property
    def base(self) -> Path:
        """What `--run.root` is."""
        return self.root if self.trial is None else self.root / "lr_trials"

    @property
    def arm(self) -> str:
        """What `--run.strategy` is."""
        return self.strategy if self.trial is None else f"{self.strategy}-lr{self.trial}"

    @property
    def name(self) -> str:
        """Study, arm, seed and fold, as in the folder's name."""
        return f"{self.study}/{self.arm}/seed{self.seed}" + (f"-fold{self.fold}" if self.fold else "")

    @property
    def folder(self) -> Path:
        """Where `fit` keeps the run."""
        return self.base / self.name

    @property
    def log(self) -> Path:
        """What its processes print; not in the run's folder, which `fit` may remove."""
        return self.base / "logs" / f"{self.name}.log"

    def at_rate(self, lr: str | None) -> "Cell":
        """The same with a learning rate that trials have chosen, if they have."""
        return self if lr is None else replace(self, overrides=(*self.overrides, "--model.lr", lr))

    def state(self) -> State:
        """How far the run is, by its files.

        Only what the table has seen to end is `trained`. A run that was trained by hand is resumed at its last epoch,
        which trains nothing and says so.
        """
        if self.trial is None and (self.folder / "metrics.json").is_file():
            return "finished"
        if (self.folder / FIT_DONE).is_file():
            return "trained" if self.trial is None else "finished"
        if (self.folder / "checkpoints" / "last.ckpt").is_file():
            return "interrupted"
        return "begun" if (self.folder / "config.yaml").is_file() else "new"

    @cached_property
    def options(self) -> list[str]:
        """What `fit` is asked for. The table's own options come last, so that no overlay has other names."""
        own = ["--run.root", str(self.base), "--run.study", self.study, "--run.strategy", self.arm]
        own += ["--seed_everything", str(self.seed)] + ([] if self.fold is None else ["--data.fold", str(self.fold)])
        own += [] if self.trial is None else ["--model.lr", self.trial]
        return ["--config", self.config, *self.overrides, *own, "--trainer.enable_progress_bar", "false"]

    def commands(self) -> Iterator[list[str]]:
        """Arguments of `lightning` for all that is left to do."""
        state = self.state()
        if state in ("interrupted", "begun", "new"):
            overwrite = ["--run.overwrite", str(state == "begun").lower()]
            last = ["--ckpt_path", str(self.folder / "checkpoints" / "last.ckpt")] if state == "interrupted" else []
            yield ["fit", *self.options, *overwrite, *last]
        if state != "finished" and self.trial is None:
            yield ["test", "--config", str(self.folder / "config.yaml"), "--ckpt_path", "best"]

    @cached_property
    def wanted(self) -> Tree:
        """The values that are asked for."""
        return asked(self.options)

    def saved(self) -> Tree | None:
        """The values that the run was made with; None where it has not begun."""
        path = self.folder / "config.yaml"
        return yaml.safe_load(path.read_text()) if path.is_file() else None

    def other_values(self) -> str | None:
        """One line where the run that is there was made with other values than those asked for."""
        saved = self.saved()
        found = () if saved is None else differences(self.wanted, saved)
        return next((self.says(key, theirs, mine) for key, mine, theirs in found), None)

    def says(self, key: str, theirs: object, mine: object, who: str = "this table asks for") -> str:
        """That the run has another value, and what to do."""
        return f"{self.folder} has {key} {theirs}, and {who} {mine}: pass another --root, or remove the run"

    def rows(self) -> list[dict[str, str]]:
        """metrics.csv, one row an epoch; none where there is no such file."""
        path = self.folder / "metrics.csv"
        return list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []

    def seconds(self) -> float:
        """What its epochs took."""
        return sum(float(row["epoch_seconds"]) for row in self.rows())

    def log_end(self, lines: int = 10) -> list[str]:
        """The last lines that its processes printed."""
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return [line for line in text.splitlines() if line.strip()][-lines:]


def config_of(study: str, strategy: str) -> str:
    """The config file of an arm."""
    return CONFIGS.get(f"{study}/{strategy}", f"configs/{study}_{strategy}.yaml")


def run_cell(
    cell: Cell, env: Mapping[str, str] | None = None, started: Callable[["subprocess.Popen[bytes]"], None] | None = None
) -> int:
    """Do all that is left of a cell, in processes of their own, one after the other.

    The log is locked, and its processes inherit the lock: what another table has not ended yet is not begun twice.

    Args:
        cell: The run.
        env: Environment variables for its processes, beside those of this one.
        started: Is given each process.

    Returns:
        0, or the exit code of what failed; BUSY where another process is at it.
    """
    cell.log.parent.mkdir(parents=True, exist_ok=True)
    with cell.log.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return BUSY
        if problem := cell.other_values():
            log.write(f"error: {problem}\n".encode())
            return 2
        for args in cell.commands():
            begin = log.seek(0, os.SEEK_END)
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
            if args[0] == "fit" and CLOSING not in cell.log.read_bytes()[begin:]:
                return 128 + signal.SIGTERM
            if args[0] == "fit":
                (cell.folder / FIT_DONE).touch()
    return 0 if cell.state() == "finished" else 128 + signal.SIGTERM


def end(process: "subprocess.Popen[bytes]", patience: float = 20) -> None:
    """End a process and those that it started; nothing where it has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
