"""Reads from the run folders what the report shows: metrics.csv, metrics.json, test.npz and mistakes.json."""

import base64
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.results.records import ArmResult, StudyResults
from experiments.runs import RunFolder
from experiments.studies import ORDER

Array = NDArray[Any]
Rows = Sequence[Mapping[str, float]]

BINS = 15  # of the calibration plot, as of the ECE in metrics.json
COLOURED = [name for name in ORDER if name != "plain"]  # these arms have the same colour in every report


@dataclass(frozen=True)
class ArmRuns:
    """The finished runs of an arm.

    Attributes:
        index: Index of its colour and its marker.
        result: Entry of the arm in results/<study>.json.
        folders: Folders of its runs; those that are there.
        tables: Rows of metrics.csv of each run that has one.
        records: Content of metrics.json of each run.
    """

    index: int
    result: ArmResult
    folders: Sequence[RunFolder]
    tables: Sequence[Rows]
    records: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Name of the strategy."""
        return self.result.strategy

    @property
    def count(self) -> int:
        """Number of runs that its scores come from."""
        return len(self.result.runs)


@dataclass(frozen=True)
class PhaseRow:
    """A change of phase, over the runs of an arm.

    Attributes:
        phase: Number of the phase that begins.
        epochs: Epochs at which it begins.
        text: Stages that join or freeze.
        before: Mean validation loss before it.
        after: Mean validation loss after its first epoch.
    """

    phase: int
    epochs: str
    text: str
    before: float
    after: float


@dataclass(frozen=True)
class Mistakes:
    """The most confident mistakes of one run.

    Attributes:
        run: Name of the run's folder.
        layer: Layer whose Grad-CAM is shown; None if there is none.
        entries: Entries of mistakes.json.
    """

    run: str
    layer: str | None
    entries: Sequence[Mapping[str, Any]]


def read_arms(results: StudyResults, root: Path) -> list[ArmRuns]:
    """Read the runs of a study's arms, in the order of its results; folders that are gone are left out."""
    order = COLOURED + sorted(arm.strategy for arm in results.arms if arm.strategy not in COLOURED)
    arms = []
    for result in results.arms:
        runs = [RunFolder(root, results.study, result.strategy, run.seed, run.fold) for run in result.runs]
        there = [run for run in runs if run.scores.is_file()]
        tables = [rows for run in there if (rows := run.rows())]
        arms.append(ArmRuns(order.index(result.strategy), result, there, tables, [run.record() for run in there]))
    return arms


def column(rows: Rows, name: str) -> Array:
    """A column of metrics.csv `[epochs]`, NaN in a row that lacks it."""
    return np.array([row.get(name, np.nan) for row in rows])


def by_epoch(arm: ArmRuns, name: str) -> Array:
    """A column of metrics.csv `[runs, epochs]`, NaN if a run has no value; no row for a run that has none at all."""
    columns = [values for rows in arm.tables if not np.isnan(values := column(rows, name)).all()]
    longest = max((len(values) for values in columns), default=0)
    return np.array([np.pad(values, (0, longest - len(values)), constant_values=np.nan) for values in columns])


def stages_of(arms: Sequence[ArmRuns]) -> list[str]:
    """Names of the stages from the input upwards, in the order of the learning rates."""
    names = dict.fromkeys(name for arm in arms for rows in arm.tables for name in rows[0] if name.startswith("lr/"))
    return [name.removeprefix("lr/") for name in names]


def changes(arm: ArmRuns, stages: Sequence[str]) -> dict[int, str]:
    """By epoch at which a phase of the first run began, the stages that joined or froze."""
    found = {}
    for rows in arm.tables[:1]:
        for epoch in _starts(rows):
            before = _learning(rows[epoch - 1], stages)
            now = _learning(rows[epoch], stages)
            joined = [stage for stage in stages if stage in now - before]
            frozen = [stage for stage in stages if stage in before - now]
            parts = [sign + _span(group) for sign, group in (("+", joined), ("−", frozen)) if group]
            found[epoch] = " ".join(parts) or "new rates"
    return found


def phase_rows(arm: ArmRuns, stages: Sequence[str]) -> list[PhaseRow]:
    """A row for each change of phase."""
    seen: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for rows in arm.tables:
        for epoch in _starts(rows):
            row = rows[epoch]
            before = row.get("phase/loss_before", np.nan)
            after = row.get("phase/loss_after", np.nan)
            seen[int(row["phase"])].append((epoch, before, after))
    texts = list(changes(arm, stages).values())
    found = []
    for index, (phase, values) in enumerate(sorted(seen.items())):
        epochs, befores, afters = np.array(values).T
        span = f"{epochs.min():.0f}" + (f" to {epochs.max():.0f}" if epochs.min() < epochs.max() else "")
        text = texts[index] if index < len(texts) else ""
        found.append(PhaseRow(phase, span, text, float(befores.mean()), float(afters.mean())))
    return found


def confidence_bins(arm: ArmRuns) -> Array:
    """Mean confidence, accuracy and share of the images `[bins, 3]` of each bin that has any, over all test.npz."""
    count = np.zeros(BINS)
    right = np.zeros(BINS)
    sums = np.zeros(BINS)
    for folder in arm.folders:
        if folder.answers.is_file():
            with np.load(folder.answers) as file:
                labels = file["labels"]
                probabilities = file["probabilities"]
            confidence = probabilities.max(1)
            bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
            count += np.bincount(bins, minlength=BINS)
            right += np.bincount(bins, probabilities.argmax(1) == labels, minlength=BINS)
            sums += np.bincount(bins, confidence, minlength=BINS)
    filled = count > 0
    shares = count / max(1, count.sum())
    return np.stack([sums[filled] / count[filled], right[filled] / count[filled], shares[filled]], axis=1)


def mistakes(arm: ArmRuns) -> Mistakes | None:
    """Read mistakes.json of the first run that has one, and make its pictures small."""
    for folder in arm.folders:
        if folder.mistakes.is_file():
            content = json.loads(folder.mistakes.read_text())
            small = [entry | {key: _webp(entry[key]) for key in ("image", "cam")} for entry in content["mistakes"]]
            return Mistakes(folder.seed_name, content["layer"], small)
    return None


def _webp(uri: str) -> str:
    """Encode a picture in about a fifth of its bytes: the pictures of six arms are most of the page."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    out = io.BytesIO()
    image.save(out, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _starts(rows: Rows) -> list[int]:
    """Epochs at which a phase begins, other than the first."""
    starts: list[int] = (np.flatnonzero(np.diff(column(rows, "phase")) > 0) + 1).tolist()
    return starts


def _learning(row: Mapping[str, float], stages: Sequence[str]) -> set[str]:
    """The stages that had a gradient in an epoch."""
    return {stage for stage in stages if not np.isnan(row.get(f"gradient_norm/{stage}", np.nan))}


def _span(stages: Sequence[str]) -> str:
    """`layer4`, or `stem…layer3`."""
    return stages[0] if len(stages) == 1 else f"{stages[0]}…{stages[-1]}"
