"""Runs of a table on other machines: tasks of a Ray cluster, an array job of Slurm."""

import importlib
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basics.errors import stop
from basics.files import new_folder, write_file, write_json
from experiments.table.cells import Cell, run_cell
from experiments.table.launchers import Events

CHECKOUT = Path(__file__).parents[2]


def on_ray(cells: Sequence[Cell], jobs: int | None = None, address: str = "auto") -> Events:
    """Run cells as tasks of a Ray cluster, a GPU each; without GPUs, as many on a machine as `jobs` says.

    Ray runs a task anew whose worker has died. `ray start` is called in a checkout of the project on each machine.

    Args:
        cells: Cells to run; Ray chooses the order.
        jobs: Number of runs at once on a machine without GPUs; 1 if None.
        address: Address of the cluster; `local` starts one.
    """
    ray = _package("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ours = not ray.is_initialized()
    if ours:
        local = {"include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, **local)
        except ConnectionError as error:
            stop(f"no Ray cluster at --address {address}: start one with `ray start --head` ({error})")
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    gpus = any(machine.get("GPU") for machine in machines)
    runs_on = [(machine.get("GPU") or 1) if gpus else (jobs or 1) for machine in machines]
    cpus = min(machine["CPU"] // count for machine, count in zip(machines, runs_on, strict=True))
    task = ray.remote(num_gpus=1 if gpus else 0, num_cpus=max(1, int(cpus)), max_retries=2)(ray_task)
    token = cells[0].root.absolute() / "logs" / f"ray-{uuid.uuid4().hex}"
    write_file(token, "a machine that sees this file sees the runs")
    tasks = {task.remote(cell, token): cell for cell in cells}
    try:
        for cell in cells:
            yield cell, None
        while tasks:
            (done,), _ = ray.wait(list(tasks), num_returns=1)
            cell = tasks.pop(done)
            try:
                code, log, packed = ray.get(done)
            except ray.exceptions.RayError as error:
                code, log, packed = 1, None, None
                with cell.log.open("a") as file:
                    file.write(f"Ray gave up: {error}\n")
            if log is not None:
                write_file(cell.log, log)
            if packed is not None:
                unpack(packed, cell.run.path)
            yield cell, code
    finally:
        for reference in tasks:
            ray.cancel(reference)
        if tasks:
            ray.wait(list(tasks), num_returns=len(tasks), timeout=30)
        token.unlink(missing_ok=True)
        if ours:
            ray.shutdown()


def ray_task(cell: Cell, token: Path) -> tuple[int, bytes | None, bytes | None]:
    """Run a cell in this worker's own checkout.

    Args:
        cell: Cell to run.
        token: Path of a file that only those who share the driver's folder of runs can see.

    Returns:
        Exit code; and, if the driver does not see them, the log and the packed folder of the run.
    """
    os.chdir(CHECKOUT)
    code = run_cell(cell)
    if token.is_file():
        return code, None, None
    return code, cell.log.read_bytes(), None if code else pack(cell.run.path)


def pack(folder: Path) -> bytes:
    """Pack a run's folder without last.ckpt as a tar file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(folder, ".", filter=lambda info: None if info.name.endswith("/last.ckpt") else info)
    return content.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Unpack a folder, whole or not at all; an older one is replaced."""
    with new_folder(folder) as work, tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(work, filter="data")


def on_slurm(cells: Sequence[Cell], jobs: int | None = None, cluster: str = "slurm") -> Events:
    """Submit cells as one array job, and tell of those that have failed since; none of this waits.

    Partition, account, time and GPUs of a job are what sbatch's own variables say (SBATCH_PARTITION, ...).

    Args:
        cells: Cells to run; those in the queue are left there.
        jobs: Number of jobs that may run at once.
        cluster: Executor of submitit; another than `slurm` is for tests.
    """
    submitit = _package("submitit")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        stop("--launcher slurm: there is no sbatch here: call it where jobs are submitted")
    folder = cells[0].root / "logs" / "slurm"
    executor = submitit.AutoExecutor(folder, cluster=cluster)
    executor.update_parameters(name="table", timeout_min=24 * 60, slurm_array_parallelism=jobs or len(cells))
    record = folder / "jobs.json"
    known: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    queued: list[str] = []
    failed: list[Cell] = []
    new: list[Cell] = []
    for cell in cells:
        job = known.get(str(cell.run.path))
        if job is None:
            new.append(cell)
        elif executor._executor.job_class(folder, job).done():
            del known[str(cell.run.path)]  # the next call submits it anew
            failed.append(cell)
        else:
            queued.append(job)
    if new:
        submitted = executor.map_array(SlurmJob(), new)
        known |= {str(cell.run.path): job.job_id for cell, job in zip(new, submitted, strict=True)}
        print("submitted " + ", ".join(f"{job.job_id} ({cell.name})" for cell, job in zip(new, submitted, strict=True)))
    if queued:
        print(f"in the queue already: {', '.join(queued)}")
    write_json(record, known)
    for cell in failed:
        yield cell, 1


class SlurmJob:
    """Job that runs a cell; when its time is over, the cell goes into the queue again and is resumed."""

    def __call__(self, cell: Cell) -> int:
        """Run the cell."""
        return run_cell(cell)

    def checkpoint(self, cell: Cell) -> Any:
        """Give submitit what it submits when the job is preempted or out of time."""
        return _package("submitit").helpers.DelayedSubmission(self, cell)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        stop(f"{name} is not installed: pip install -e '.[cluster]'")
