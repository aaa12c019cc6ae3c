"""Peak memory of the peer: `python -m benchmarks.memory data cpu` trains six steps and prints megabytes."""

import resource
import sys
from pathlib import Path

import torch

from benchmarks import peers


def main(root: str, device: str) -> None:
    """Read FER2013 with pandas, split it, train six steps of the full arm and validate one batch."""
    torch.set_float32_matmul_precision("high")
    splits = peers.read_fer2013(Path(root) / "fer2013" / "fer2013.csv")
    train = peers.loader(peers.Faces(splits["Training"], peers.face_transform(True)))
    val = peers.loader(peers.Faces(splits["PublicTest"], peers.face_transform(False)), shuffle=False)
    limits = {"max_epochs": 1, "limit_train_batches": 6, "limit_val_batches": 1}
    peers.trainer("full", device, [], **limits).fit(peers.module("full"), train, val)
    on_gpu = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    print(f"peak {on_gpu or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
