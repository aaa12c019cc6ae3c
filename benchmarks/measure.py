"""Statistics and files of the measurements: medians, ratios, spread, results.json, the Markdown table, the verdict."""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from basics.files import write_json

FALL = 0.25  # `make bench-check` fails where a ratio has lost more than this share
PACKAGES = ("torch", "torchvision", "lightning", "timm", "albumentations", "numpy", "pandas")


@dataclass(frozen=True)
class Spec:
    """Definition of a row: the peer, the unit and the ratio to reach.

    Attributes:
        against: The peer, in words.
        unit: Unit of `ours` and `peer`.
        reach: Ratio to reach on a CPU.
        gpu_reach: Ratio to reach on a GPU, if it differs.
        cost: Whether the ratio is ours / peer and has to stay below `reach`; otherwise the ratio says how many times
            better ours is.
        note: Limit of the row, or how it was measured.
        rate: Whether more of the unit is better.
        target: Value that stands for the peer where there is no peer.
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
        """Ratio to reach on a device."""
        return self.gpu_reach if device == "cuda" and self.gpu_reach is not None else self.reach

    def reached(self, ratio: float, device: str) -> str:
        """`reached` or `short`; empty if the row has no ratio to reach."""
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
    """Summarise the repeats of a row.

    Args:
        name: Name of the row.
        spec: Definition of the row.
        ours: Our value in each repeat.
        peer: The peer's value in each repeat, measured right after ours.

    Returns:
        The row: both medians, their ratio, and the spread of the ratios.
    """
    ours_above = spec.cost or spec.rate
    ratios = [a / b if ours_above else b / a for a, b in zip(ours, peer, strict=True)]
    middle = median(ours)
    other = median(peer)
    ratio = middle / other if ours_above else other / middle
    quarters = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratio] * 3
    spread = round((quarters[2] - quarters[0]) / 2 / ratio, 4)
    return Row(name, digits(middle), digits(other), digits(ratio), spread, spec.unit, spec.note)


def digits(value: float) -> float:
    """Round to four digits."""
    return float(f"{value:.4g}")


def merge(old: Sequence[Row], new: Sequence[Row], order: Iterable[str]) -> list[Row]:
    """Replace old rows by new ones of the same name; the result has the given order and only its names."""
    rows = {row.name: row for row in (*old, *new)}
    return [rows[name] for name in order if name in rows]


def fallen(old: Sequence[Row], new: Sequence[Row], specs: Mapping[str, Spec]) -> list[str]:
    """Find the rows whose ratio is worse than the committed one by more than FALL; one line for each."""
    before = {row.name: row.ratio for row in old}
    lines = []
    for row in new:
        if row.name not in before:
            continue
        was = before[row.name]
        kept = was / row.ratio if specs[row.name].cost else row.ratio / was
        if kept < 1 - FALL:
            lines.append(f"{row.name}: {row.ratio:.3g} instead of {was:.3g}, worse by {1 - kept:.0%}")
    return lines


def table(rows: Sequence[Row], specs: Mapping[str, Spec], device: str) -> str:
    """Format the rows as a Markdown table with numbered notes below it."""
    lines = ["| row | against | ours | peer | ratio | reach | |", "|---|---|---|---|---|---|---|"]
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    for row in rows:
        spec = specs[row.name]
        bound = spec.bound(device)
        sign = "" if spec.cost else "x"
        mark = f" ({notes.index(row.note) + 1})" if row.note else ""
        reach = "" if bound is None else f"{'<=' if spec.cost else '>='} {bound:g}{sign}"
        ratio = f"{number(row.ratio)}{sign} ± {row.spread:.0%}"
        values = f"{number(row.ours)} {row.unit} | {number(row.peer)} {row.unit}"
        verdict = spec.reached(row.ratio, device)
        lines.append(f"| {row.name} | {spec.against} | {values} | **{ratio}** | {reach} | {verdict}{mark} |")
    return "\n".join([*lines, "", *(f"({index}) {note}" for index, note in enumerate(notes, 1))]).strip() + "\n"


def number(value: float) -> str:
    """Format a number with three digits, or with all digits before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a results file; a missing file has none."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.is_file() else []


def write_rows(path: Path, rows: Sequence[Row], device: str | None, **more: Any) -> None:
    """Write a results file.

    Args:
        path: Path of the file, replaced as a whole or not at all.
        rows: Rows of the file.
        device: `cpu` or `cuda`; None means that nothing was measured, and machine, versions and date stay.
        more: Further entries of the file.
    """
    kept = [{name: value for name, value in asdict(row).items() if name != "note" or value} for row in rows]
    if device is None:
        content = json.loads(path.read_text())
    else:
        content = {"machine": machine(device), "versions": versions(), "date": date.today().isoformat(), **more}
    write_json(path, {**content, "rows": kept}, indent=2)


def machine(device: str) -> str:
    """Name the processor, its cores and the memory, and the GPU of a measurement on one."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.is_file() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{os.cpu_count()} cores {names[0] if names else platform.machine()}, {memory:.0f} GiB"
    if device == "cuda":
        import torch

        return f"{torch.cuda.get_device_name()}, {words}"
    return words


def versions() -> dict[str, str]:
    """Find the versions of Python and of the packages of both sides."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES if find_spec(name)}
