"""Command lines in forked processes, for the proofs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """A command line that has ended: exit code of every rank (-9 if it was killed), and the output of all."""

    codes: list[int]
    output: str
    seconds: float


class Launcher:
    """Command lines in processes of their own, forked from one that has imported everything."""

    def __init__(self, folder):
        self.folder = folder
        self.address = str(folder / "socket")
        self.runs = 0
        with socket.socket(socket.AF_UNIX) as listener, (folder / "zygote.txt").open("w") as log:
            listener.bind(self.address)
            listener.listen()
            self.zygote = subprocess.Popen(
                [sys.executable, "-m", "tests.proofs.launcher", str(listener.fileno())],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                pass_fds=[listener.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __call__(self, *args, world=1, timeout=120, check=True, env=None):
        """Run `lightning ARGS` in as many processes as an external launcher would start."""
        self.runs += 1
        output = self.folder / f"{self.runs}.txt"
        devices = ["--trainer.accelerator", "cpu", "--trainer.devices", world]
        devices += ["--trainer.strategy", "ddp" if world > 1 else "auto"]
        request = {
            "args": [str(arg) for arg in [*args, *devices]],
            **{"world": world, "timeout": timeout, "cwd": str(ROOT), "env": env or {}, "output": str(output)},
        }
        start = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout + 120)  # the first one waits for the imports
            connection.connect(self.address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.makefile().readline()
        assert answer, (self.folder / "zygote.txt").read_text()
        done = Done(json.loads(answer), output.read_text(), time.perf_counter() - start)
        assert not (check and any(done.codes)), f"{request['args']}: {done.codes}\n{done.output}"
        return done

    def close(self):
        """Leave no process behind: the zygote's session is of nobody else."""
        for pid in [int(path.name) for path in Path("/proc").glob("[0-9]*")]:
            with suppress(ProcessLookupError):
                if os.getsid(pid) == self.zygote.pid:
                    os.kill(pid, signal.SIGKILL)
        self.zygote.wait()


@pytest.fixture(scope="session")
def launch(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("zygote"))
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def tiny_args():
    """Arguments that run configs/fer_full.yaml in a second or two, with runs and data in given folders."""

    def give(runs, data):
        args = ["--config", "configs/fer_full.yaml"]  # first, because it says which class has the options of the model
        args += ["--run.root", runs, "--data.root", data, "--data.image_size", 32, "--data.num_workers", 0]
        args += ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
        return [*args, "--model.backbone", "test_resnet", "--model.weights", "none"]

    return give
