"""Speed on a GPU: `python -m benchmarks.gpu` writes results_gpu.json.

Some rows compare with the peers, as on a CPU. The others have no peer: seconds of ten epochs of Fashion-MNIST, images a
second of ResNet-50 and ResNet-18 with the share of time in which the GPU is busy, peak memory of the arms, and the
distance of ResNet-50 from the limits of the chip.
"""

import argparse
import subprocess
from contextlib import closing
from pathlib import Path
from statistics import mean, median
from typing import Any

import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from basics.errors import stop
from benchmarks.bench import measure, require
from benchmarks.measure import Row, read_rows, summarise, table, write_rows
from benchmarks.sides import Side, fit_arguments, our_runs, ours
from benchmarks.specs import GPU, GPU_PAIRS, SPECS

RESULTS = Path(__file__).with_name("results_gpu.json")
LIMITS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}  # bf16 FLOP/s, bytes/s
BATCH = 256  # images in a step of ResNet-50


class Bytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that all operations read and write, as if no two operations were fused."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count its bytes, unless its result is a view."""
        result = function(*args, **(kwargs or {}))
        if not any(argument.alias_info and not argument.alias_info.is_write for argument in function._schema.returns):
            tensors = tree_flatten((args, kwargs, result))[0]
            self.total += sum(it.numel() * it.element_size() for it in tensors if isinstance(it, torch.Tensor))
        return result


def cost(backbone: str, size: int, batch: int) -> tuple[float, float]:
    """Count the floating-point operations and the bytes of a training step in bfloat16, without computing anything."""
    network = timm.create_model(backbone, num_classes=9).to("meta", torch.bfloat16)
    images = torch.empty(batch, 3, size, size, dtype=torch.bfloat16, device="meta")
    with FlopCounterMode(display=False) as flops, Bytes() as moved:  # type: ignore[no-untyped-call]
        network(images).sum().backward()
    return float(flops.get_total_flops()), float(moved.total)


def roofline(images_per_second: float) -> str:
    """Compare the speed of ResNet-50 at 224 px with the limits of the chip."""
    flops, moved = (total / BATCH for total in cost("resnet50", 224, BATCH))
    name = torch.cuda.get_device_name()
    text = f"ResNet-50, 224 px, a training image: {flops / 1e9:.1f} GFLOP, {moved / 1e6:.0f} MB moved without fusion"
    for chip, (rate, bandwidth) in LIMITS.items():
        if chip in name:
            limits = (rate / flops, bandwidth / moved)
            shares = [f"{limit:,.0f} images/s ({images_per_second / limit:.0%} reached)" for limit in limits]
            text += f"; {name} could compute {shares[0]} and move {shares[1]}"
    return text


def throughput(config: str, root: Path, more: list[str], batch: int, repeats: int) -> tuple[list[float], float]:
    """Measure images a second in blocks of 30 steps, and by nvidia-smi the percentage of time the GPU was busy."""
    sample = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
    with closing(Side(ours, fit_arguments(config, root, "cuda", more))) as side:
        side.turn(10, 10)
        sampler = subprocess.Popen(sample, stdout=subprocess.PIPE, text=True)
        try:
            rates = [30 * batch / side.turn(30) for _ in range(repeats)]
        finally:
            sampler.terminate()
            samples = sampler.communicate()[0].split()
    return rates, mean(float(percent) for percent in samples or ["nan"])


def runs(config: str, root: Path, more: list[str], repeats: int) -> tuple[list[float], list[float]]:
    """Measure seconds and peak megabytes of whole runs in one process; its first run is not counted."""
    with closing(Side(our_runs, fit_arguments(config, root, "cuda", more), None)) as side:
        side.turn(1)
        found = [side.turn(1) for _ in range(repeats)]
    return [stamps["run"] for stamps in found], [stamps["peak"] for stamps in found]


def alone(root: Path, repeats: int) -> list[Row]:
    """Measure the rows without a peer, each against a figure to reach."""
    rows = []

    def add(name: str, values: list[float]) -> None:
        row = summarise(name, GPU[name], values, [GPU[name].target] * len(values))
        rows.append(row)
        print(f"{name}: {row.ours:.4g} {row.unit} ± {row.spread:.0%}", flush=True)

    add("fashion_10_epochs", runs("fashion_plain", root, ["--trainer.max_epochs=10"], repeats)[0])
    resnet50 = [f"--data.batch_size={BATCH}", "--trainer.precision=bf16-mixed", "--data.augment_with=batch"]
    rates, busy = throughput("deepweeds_full", root, resnet50, BATCH, repeats)
    add("resnet50_224_bf16", rates)
    add("resnet50_busy", [busy])
    add("resnet18_fer", throughput("fer_full", root, [], 128, repeats)[0])
    for arm in ("frozen", "partial", "full"):
        short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=20", "--trainer.limit_val_batches=2"]
        add(f"memory_{arm}", runs(f"fer_{arm}", root, short, 1)[1])
    return rows


def main() -> None:
    """Measure all rows, write them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="the data folder")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        stop("bench-gpu needs CUDA, and there is no GPU here: make bench measures on the CPU")
    require(options.root, [*GPU_PAIRS, "deepweeds"])
    rows = alone(options.root, options.repeats)
    note = roofline(median(row.ours for row in rows if row.name == "resnet50_224_bf16"))
    rows += measure(GPU_PAIRS, options.root, "cuda", options.repeats)
    write_rows(RESULTS, rows, "cuda", roofline=note)
    print(table(read_rows(RESULTS), {**SPECS, **GPU}, "cuda"), note, sep="\n")


if __name__ == "__main__":
    main()
