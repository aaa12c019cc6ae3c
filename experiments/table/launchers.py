"""Runs of a table in processes of this machine.

A launcher is a generator of (cell, exit code); the code is None when a cell begins. Closing it ends what it started.
"""

import os
import queue
import subprocess
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

from experiments.table.cells import Cell, end, run_cell

Events = Generator[tuple[Cell, int | None], None, None]


def local(cells: Sequence[Cell], jobs: int | None = None) -> Events:
    """Run cells in processes of this machine: one on each GPU, or one at a time without a GPU.

    Args:
        cells: Cells to run.
        jobs: Number of runs at once, in place of that.
    """
    slots: queue.Queue[dict[str, str]] = queue.Queue()
    for environment in _slots(jobs):
        slots.put(environment)
    events: queue.Queue[tuple[Cell, int | None]] = queue.Queue()
    processes: list[subprocess.Popen[bytes]] = []
    stopping = threading.Event()

    def started(process: "subprocess.Popen[bytes]") -> None:
        processes.append(process)
        if stopping.is_set():
            end(process)

    def work(cell: Cell) -> None:
        environment = slots.get()
        code = 1
        try:
            events.put((cell, None))
            code = run_cell(cell, environment, started)
        finally:
            slots.put(environment)
            events.put((cell, code))

    pool = ThreadPoolExecutor(slots.qsize())
    futures = [pool.submit(work, cell) for cell in cells]
    left = len(cells)
    try:
        while left:
            cell, code = events.get()
            if code is not None:
                left -= 1
            yield cell, code
        for future in futures:
            future.result()  # raises the error of a thread
    finally:
        stopping.set()
        for process in processes:
            end(process)
        pool.shutdown(cancel_futures=True)


def _slots(jobs: int | None) -> list[dict[str, str]]:
    """Environment variables of each run that there may be at once."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpus = [visible[i] if i < len(visible) and visible[i] else str(i) for i in range(torch.cuda.device_count())]
    count = jobs or len(gpus) or 1
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} for index in range(count)]
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    shares_cores = count > 1 and "OMP_NUM_THREADS" not in os.environ
    return [{"OMP_NUM_THREADS": str(threads)} if shares_cores else {}] * count
