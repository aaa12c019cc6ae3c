"""The zygote: imports everything once and forks the processes of every run that conftest.py asks for.

Starting `lightning` takes 12 s of imports on 2 cores, and the proofs make hundreds of runs. The zygote computes
nothing, because a fork takes no threads of OpenMP or autograd along.

    listener -> zygote -> one nurse a request -> one process a rank, all ranks of a run in one process group
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress

# What `experiments.cli` imports when it knows that it has to (2.6 s, in each of hundreds of runs), and a run by itself.
PRELOADED = ["experiments.cli.commands", "albumentations", "cv2", "timm", "matplotlib.figure", "safetensors.torch"]
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
prctl = ctypes.CDLL(None).prctl


def die_with_parent():
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def be_rank(request, rank, group, port):
    """Call the console script's function as one process of a run; never returns."""
    code = 1
    try:
        die_with_parent()
        os.setpgid(0, group)  # 0 makes the group
        os.dup2(os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
        os.dup2(1, 2)
        if request["world"] > 1:
            os.environ |= {  # as torchrun sets it
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "proofs"},
                **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
                **{"WORLD_SIZE": str(request["world"]), "LOCAL_WORLD_SIZE": str(request["world"])},
            }
            from lightning.pytorch.utilities import rank_zero_only

            rank_zero_only.rank = rank  # Lightning reads it from RANK when it is imported
        os.environ |= request["env"]
        os.chdir(request["cwd"])
        sys.argv = ["lightning", *request["args"]]
        import torch

        # torch renews its thread pool after a fork when first asked for it; two threads that ask at once crash it
        # ("Invalid thread pool!", seen once in some hundreds of runs), so ask while there is one.
        torch.set_num_threads(1)
        from experiments.cli import main

        main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def be_nurse(connection):
    """Fork the ranks of one run and answer with their exit codes; the first that fails takes the others along."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ranks: list[int] = []
    for rank in range(request["world"]):
        group = ranks[0] if ranks else 0
        pid = os.fork()
        if pid == 0:
            be_rank(request, rank, group, port)
        os.setpgid(pid, group)  # here and there, because either may come first
        ranks.append(pid)

    def kill(*_):
        with suppress(ProcessLookupError):
            os.killpg(ranks[0], signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.alarm(request["timeout"])
    codes = {}
    while len(codes) < len(ranks):
        pid, status = os.wait()
        codes[pid] = os.waitstatus_to_exitcode(status)
        if status != 0:
            kill()
    kill()  # workers of data loaders
    connection.sendall(json.dumps([codes[pid] for pid in ranks]).encode() + b"\n")


def main(listener):
    """Import, then fork a nurse for every connection until nobody can connect any more."""
    die_with_parent()
    import torch

    torch.set_num_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)
    for kind in (Mapping, Sequence):
        issubclass(torch.Tensor, kind)  # walks all mappings of all libraries the first time: 0.5 s, here once
    assert len(os.listdir("/proc/self/task")) == 1, "the children would lack these threads"
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # neither nurses nor workers of killed ranks stay as zombies
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            be_nurse(connection)
            os._exit(0)
        connection.close()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
