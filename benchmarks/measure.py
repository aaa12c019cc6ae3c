"""What a measurement becomes: medians, ratios, their spread, results.json, the table of README.md, the verdict."""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from basics.files import write_file

FALL = 0.25  # of a ratio, above which `make bench-check` fails
PACKAGES = ("torch", "torchvision", "lightning", "timm", "albumentations", "numpy", "pandas")
MARKERS = ("<!-- bench -->", "<!-- /bench -->")


@dataclass(frozen=True)
class Spec:
    """What a row compares, and what its ratio is to reach.

    Attributes:
        against: The peer, in words.
        unit: Of `ours` and `peer`.
        reach: Of the ratio on CPU.
        gpu_reach: Of the ratio on a GPU, if that differs.
        cost: The ratio is ours / peer and is to be at most `reach`; else it says how many times better ours is.
        note: What limits the row, or how it was measured.
        rate: More of the unit is better.
        target: Stands for the peer where there is none.
    """

    against: str
    unit: str
    reach: float | None = None
    gpu_reach: float | None = None
    cost: bool = False
    note: str = ""
    rate: bool = False
    target: float = 0.0

    def bound(self, device: str) -> float | None:
        """The reach on a device."""
        return self.gpu_reach if device == "cuda" and self.gpu_reach is not None else self.reach

    def reached(self, ratio: float, device: str) -> str:
        """`reached`, `short`, or nothing where there is no reach."""
        bound = self.bound(device)
        if bound is None:
            return ""
        return "reached" if (ratio <= bound if self.cost else ratio >= bound) else "short"


@dataclass(frozen=True)
class Row:
    """One line of results.json; `spread` is half the interquartile range of the pairs' ratios, relative to `ratio`."""

    name: str
    ours: float
    peer: float
    ratio: float
    spread: float
    unit: str
    note: str = ""


def summarise(name: str, spec: Spec, ours: Sequence[float], peer: Sequence[float]) -> Row:
    """The row of interleaved measurements.

    Args:
        name: Of the row.
        spec: What it compares.
        ours: One value a repeat.
        peer: The peer's, each measured right after ours of the same repeat.

    Returns:
        The medians, their ratio, and the spread over the pairs.
    """
    invert = spec.cost or spec.rate
    ratios = [a / b if invert else b / a for a, b in zip(ours, peer, strict=True)]
    middle, other = median(ours), median(peer)
    ratio = middle / other if invert else other / middle
    quarters = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratio] * 3
    spread = round((quarters[2] - quarters[0]) / 2 / ratio, 4)
    return Row(name, digits(middle), digits(other), digits(ratio), spread, spec.unit, spec.note)


def digits(value: float) -> float:
    """Rounded to four digits."""
    return float(f"{value:.4g}")


def merge(old: Sequence[Row], new: Sequence[Row], order: Iterable[str]) -> list[Row]:
    """Rows measured anew in place of the old ones, in the given order; names that are not in it are dropped."""
    rows = {row.name: row for row in (*old, *new)}
    return [rows[name] for name in order if name in rows]


def fallen(old: Sequence[Row], new: Sequence[Row], specs: Mapping[str, Spec]) -> list[str]:
    """One line for each row whose ratio is worse than the committed one by more than FALL."""
    before, lines = {row.name: row.ratio for row in old}, []
    for row in new:
        if row.name not in before:
            continue
        was = before[row.name]
        kept = was / row.ratio if specs[row.name].cost else row.ratio / was
        if kept < 1 - FALL:
            lines.append(f"{row.name}: {row.ratio:.3g} instead of {was:.3g}, worse by {1 - kept:.0%}")
    return lines


def table(rows: Sequence[Row], specs: Mapping[str, Spec], device: str) -> str:
    """The rows in Markdown."""
    lines = ["| row | against | ours | peer | ratio | reach | |", "|---|---|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        spec = specs[row.name]
        bound, sign, mark = spec.bound(device), "" if spec.cost else "x", ""
        if row.note:
            notes += [row.note] * (row.note not in notes)
            mark = f" ({notes.index(row.note) + 1})"
        reach = "" if bound is None else f"{'<=' if spec.cost else '>='} {bound:g}{sign}"
        ratio = f"{number(row.ratio)}{sign} ± {row.spread:.0%}"
        values = f"{number(row.ours)} {row.unit} | {number(row.peer)} {row.unit}"
        verdict = spec.reached(row.ratio, device)
        lines.append(f"| {row.name} | {spec.against} | {values} | **{ratio}** | {reach} | {verdict}{mark} |")
    return "\n".join([*lines, "", *(f"({place}) {note}" for place, note in enumerate(notes, 1))]).strip() + "\n"


def number(value: float) -> str:
    """Three digits, and all those before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def replace_block(text: str, block: str) -> str:
    """Put a block between the markers of a text; a text without them is left as it is."""
    pattern = re.compile(f"({re.escape(MARKERS[0])}\n).*?({re.escape(MARKERS[1])})", re.S)
    return pattern.sub(lambda match: match[1] + block + match[2], text)


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file; none if there is no file."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.is_file() else []


def write_rows(path: Path, rows: Sequence[Row], device: str | None, **more: Any) -> None:
    """Write a results file, whole or not at all; without a device, where nothing was measured, its head stays."""
    kept = [{name: value for name, value in asdict(row).items() if name != "note" or value} for row in rows]
    if device is None:
        content = json.loads(path.read_text())
    else:
        content = {"machine": machine(device), "versions": versions(), "date": date.today().isoformat(), **more}
    write_file(path, json.dumps({**content, "rows": kept}, indent=2) + "\n")


def machine(device: str) -> str:
    """Processor, cores and memory; the GPU if there is one in use."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.is_file() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{os.cpu_count()} cores {names[0] if names else platform.machine()}, {memory:.0f} GiB"
    if device == "cuda":
        import torch

        return f"{torch.cuda.get_device_name()}, {words}"
    return words


def versions() -> dict[str, str]:
    """Of Python and of what both sides are made of."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
