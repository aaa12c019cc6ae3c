"""Resident memory of a training, step by step: `python -m benchmarks.memory_profile data` writes memory.txt."""

import resource
import sys
from pathlib import Path

FILE = Path(__file__).with_name("profiles") / "memory.txt"


def main(root: str) -> None:
    """Import, build and train, and note after each step the resident memory and its peak."""
    lines = ["resident memory of a process that trains ResNet-18 on FER2013 (full arm, batch 128, CPU), in MB", ""]
    lines.append(f"{'':56}{'now':>8}{'peak':>8}")

    def note(what: str) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"{what:56}{pages * resource.getpagesize() / 2**20:8,.0f}{peak:8,.0f}")

    note("Python")
    import torch

    note("import torch")
    import experiments.cli.commands  # noqa: F401

    note("import lightning, torchmetrics, jsonargparse, the project")
    import timm

    note("import timm, torchvision")
    network = timm.create_model("resnet18", num_classes=7).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    note("the network, 45 MB of weights")
    images = torch.randn(128, 3, 48, 48).to(memory_format=torch.channels_last)
    labels = torch.zeros(128).long()
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    note("a forward pass of 128 images, kept for the backward pass")
    loss.backward()  # type: ignore[no-untyped-call]
    note("the backward pass")
    optimizer.step()
    note("a step of AdamW, 90 MB of moments")
    from datamodules import FER2013

    data = FER2013(root=root)
    data.prepare_data()
    data.setup("fit")
    data.splits["train"].images.array.sum()  # touches every page of the map
    note(f"all {len(data.splits['train']):,} training images, mapped")
    FILE.write_text("\n".join(lines) + "\n")
    print(FILE.read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
