"""What the report shows of the run folders: metrics.csv, metrics.json, test.npz and mistakes.json."""

import base64
import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BINS = 15  # of the calibration plot, as of the ECE in metrics.json
LOSSES = ("phase/loss_before", "phase/loss_after")
KNOWN = ("frozen", "partial", "full", "gradual", "lpft", "layerdecay")  # have the same colour in every report


@dataclass(frozen=True)
class Arm:
    """A strategy's finished runs in a study.

    Args:
        name: Of the strategy.
        index: Of its colour and its marker.
        result: Its entry in results/<study>.json.
        folders: Of its runs; those that are there.
        tables: metrics.csv of each: {column: [epochs]}, NaN where a field is empty.
        records: metrics.json of each.
    """

    name: str
    index: int
    result: Mapping[str, Any]
    folders: Sequence[Path]
    tables: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]

    @property
    def count(self) -> int:
        """How many runs its scores are of."""
        return len(self.result["runs"])


def read_arms(results: Mapping[str, Any], root: Path) -> list[Arm]:
    """The arms of a study, in the order of its results; folders that are gone are left out."""
    extra = [arm["strategy"] for arm in results["arms"] if arm["strategy"] not in KNOWN]
    order = [*KNOWN, *sorted(extra)]
    arms = []
    for result in results["arms"]:
        name = result["strategy"]
        folders = [find_folder(root, results["study"], name, run) for run in result["runs"]]
        there = [folder for folder in folders if (folder / "metrics.json").is_file()]
        tables = [_read_table(folder / "metrics.csv") for folder in there if (folder / "metrics.csv").is_file()]
        records = [json.loads((folder / "metrics.json").read_text()) for folder in there]
        arms.append(Arm(name, order.index(name), result, there, tables, records))
    return arms


def find_folder(root: Path, study: str, strategy: str, run: Mapping[str, Any]) -> Path:
    """The folder that a run in results/<study>.json is of, also where `root` has moved since."""
    fold = run.get("fold") or 0
    return root / study / strategy / (f"seed{run['seed']}" + (f"-fold{fold}" if fold else ""))


def by_epoch(arm: Arm, column: str) -> Any:
    """A column of metrics.csv: [runs, epochs], NaN where a run has no value; no rows where none has any."""
    rows = [table[column] for table in arm.tables if column in table and not np.isnan(table[column]).all()]
    longest = max((len(row) for row in rows), default=0)
    return np.array([np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in rows])


def stages_of(arms: Sequence[Arm]) -> list[str]:
    """The stages from the input upwards, in the order of the learning rates."""
    names = dict.fromkeys(name for arm in arms for table in arm.tables for name in table if name.startswith("lr/"))
    return [name.removeprefix("lr/") for name in names]


def changes(arm: Arm, stages: Sequence[str]) -> dict[int, str]:
    """At which epoch of the first run a phase began, and what joined or froze."""
    if not arm.tables or "phase" not in arm.tables[0]:
        return {}
    table = arm.tables[0]
    found = {}
    for epoch in (np.flatnonzero(np.diff(table["phase"])) + 1).tolist():
        before, now = (_learning(table, at, stages) for at in (epoch - 1, epoch))
        joins, freezes = ([stage for stage in stages if stage in some] for some in (now - before, before - now))
        text = " ".join(sign + _span(group) for sign, group in (("+", joins), ("−", freezes)) if group)
        found[int(epoch)] = text or "new rates"
    return found


def phase_rows(arm: Arm, stages: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each change of phase: epochs, what joined, mean validation loss before and after its first epoch."""
    seen: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for table in arm.tables:
        for epoch in (np.flatnonzero(np.diff(table.get("phase", np.empty(0)))) + 1).tolist():
            before, after = (table[key][epoch] if key in table else np.nan for key in LOSSES)
            seen[int(table["phase"][epoch])].append((epoch, before, after))
    texts = list(changes(arm, stages).values())
    rows = []
    for number, (phase, values) in enumerate(sorted(seen.items())):
        epochs, befores, afters = np.array(values).T
        span = f"{epochs.min():.0f}" + (f" to {epochs.max():.0f}" if epochs.min() < epochs.max() else "")
        text = texts[number] if number < len(texts) else ""
        means = {"before": float(befores.mean()), "after": float(afters.mean())}
        rows.append({"phase": phase, "epochs": span, "text": text, **means, "change": means["after"] - means["before"]})
    return rows


def confusion(arm: Arm) -> Any:
    """The confusion matrix summed over the runs: [true, predicted]."""
    return np.sum([record["confusion_matrix"] for record in arm.records], axis=0)


def confidence_bins(arm: Arm) -> list[tuple[float, float, float]]:
    """Mean confidence, accuracy and share of the images of each bin of the runs' test.npz; [] where there is none."""
    count, right, sums = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    for folder in arm.folders:
        if (folder / "test.npz").is_file():
            with np.load(folder / "test.npz") as file:
                labels, probabilities = file["labels"], file["probabilities"]
            confidence = probabilities.max(1)
            place = np.minimum((confidence * BINS).astype(int), BINS - 1)
            count += np.bincount(place, minlength=BINS)
            right += np.bincount(place, probabilities.argmax(1) == labels, minlength=BINS)
            sums += np.bincount(place, confidence, minlength=BINS)
    filled = np.flatnonzero(count)
    return [(sums[b] / count[b], right[b] / count[b], count[b] / count.sum()) for b in filled.tolist()]


def mistakes(arm: Arm) -> dict[str, Any] | None:
    """mistakes.json of the first run that has one, its pictures made small; None where there is none."""
    for folder in arm.folders:
        path = folder / "mistakes.json"
        if path.is_file():
            content: dict[str, Any] = json.loads(path.read_text())
            shrunk = [entry | {key: _webp(entry[key]) for key in ("image", "cam")} for entry in content["mistakes"]]
            return content | {"mistakes": shrunk, "run": folder.name}
    return None


def _webp(uri: str) -> str:
    """The same picture in about a fifth of the bytes: those of six arms are most of the page."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    out = io.BytesIO()
    image.save(out, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _read_table(path: Path) -> dict[str, Any]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    values = [[float(field) if field else np.nan for field in row] for row in rows]
    return dict(zip(header, np.array(values).reshape(len(rows), len(header)).T, strict=True))


def _learning(table: Mapping[str, Any], epoch: int, stages: Sequence[str]) -> set[str]:
    """The stages that had a gradient in an epoch."""
    columns = {stage: table.get(f"gradient_norm/{stage}") for stage in stages}
    return {stage for stage, column in columns.items() if column is not None and not np.isnan(column[epoch])}


def _span(stages: Sequence[str]) -> str:
    """`layer4`, or `stem…layer3`."""
    return stages[0] if len(stages) == 1 else f"{stages[0]}…{stages[-1]}"
