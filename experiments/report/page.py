"""The page: results/<study>.json and the run folders, through the template. Nothing is loaded when it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import stop
from experiments import numbers
from experiments.report import charts, data, figures, svg, words
from experiments.report.data import ArmRuns, Mistakes, PhaseRow
from experiments.results.records import StudyResults, load_all
from experiments.results.tables import clean_rule, columns
from experiments.runs import RunFolder

TEMPLATE = "report.html.j2"
SAID_ONCE = ("backbone", "weights", "git_commit", "versions", "data_fingerprint")


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices of the arms.

    Attributes:
        classes: Names of the classes.
        arms: The arms that have runs.
        percents: Percent of each true class by arm `[true, predicted]`.
        counts: Images by arm `[true, predicted]`.
        first: Arm from which the difference is taken at first: the best.
        second: Arm that is subtracted at first: the worst.
        difference: Percents of the first minus those of the second.
    """

    classes: Sequence[str]
    arms: Sequence[ArmRuns]
    percents: Mapping[str, list[list[float]]]
    counts: Mapping[str, list[list[int]]]
    first: str
    second: str
    difference: list[list[float]]


@dataclass(frozen=True)
class Origin:
    """Origin of the numbers.

    Attributes:
        same: Entries of metrics.json that all runs share.
        own: Names of the entries in which runs differ.
        runs: Arm, folder and metrics.json of every run.
        configs: Arm, path and text of config.yaml of the first run of each arm.
        trials: Arms whose learning rate was chosen by trials.
    """

    same: Mapping[str, Any]
    own: Sequence[str]
    runs: Sequence[tuple[ArmRuns, RunFolder, Mapping[str, Any]]]
    configs: Sequence[tuple[ArmRuns, Path, str]]
    trials: Sequence[ArmRuns]


@dataclass(frozen=True)
class StudyView:
    """Everything that the template shows of one study; figures are SVG text."""

    results: StudyResults
    arms: Sequence[ArmRuns]
    best: str
    tied: set[str]
    headline: Sequence[str]
    clean: str
    frontiers: Sequence[str]
    curves: Sequence[str]
    confusion: Confusion | None
    class_panels: Sequence[str]
    mistakes: Sequence[tuple[ArmRuns, Mistakes]]
    reliabilities: Sequence[str]
    stages: Sequence[str]
    diagnostics: Sequence[str]
    phase_rows: Sequence[tuple[ArmRuns, Sequence[PhaseRow]]]
    origin: Origin


def build(root: Path, results: Path) -> tuple[str, int]:
    """Make the page of all studies in `results`.

    Returns:
        The page, and the number of runs in it.

    Raises:
        SystemExit: There is no study, or a file of results is damaged; one line says what to do.
    """
    import jinja2
    import matplotlib

    found = sorted(load_all(results), key=lambda study: len(study.arms) == 1)  # a study without a comparison is last
    if not found:
        stop(f"no runs with metrics.json and test.npz in {root}, no results in {results}: `make table-fer` makes both")
    with matplotlib.rc_context(svg.STYLE):
        studies = [study_view(content, root) for content in found]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"signed": numbers.signed, "probability": numbers.probability}
    dashes = ["none" if dash == "-" else " ".join(f"{2 * length:g}" for length in dash[1]) for dash in charts.DASHES]
    page = environment.get_template(TEMPLATE).render(
        studies=studies, glyphs=svg.GLYPHS, dashes=dashes, scores=columns("scores"), costs=columns("cost")
    )
    return page, sum(len(arm.runs) for content in found for arm in content.arms)


def study_view(results: StudyResults, root: Path) -> StudyView:
    """Gather everything that the template shows of one study."""
    arms = data.read_arms(results, root)
    stages = data.stages_of(arms)
    ranked = [arm.strategy for arm in sorted(results.arms, key=lambda arm: -arm.f1_macro.mean)]
    return StudyView(
        results=results,
        arms=arms,
        best=ranked[0],
        tied=_tied(results, ranked[0]),
        headline=words.headline(results),
        clean=clean_rule(results),
        frontiers=figures.frontiers(arms),
        curves=figures.curves(arms),
        confusion=_confusion([arm for arm in arms if arm.records], ranked),
        class_panels=figures.class_panels(arms),
        mistakes=[(arm, shown) for arm in arms if (shown := data.mistakes(arm))],
        reliabilities=figures.reliabilities(arms),
        stages=stages,
        diagnostics=figures.diagnostics(arms),
        phase_rows=[(arm, rows) for arm in arms if (rows := data.phase_rows(arm, stages))],
        origin=_origin(arms),
    )


def _tied(results: StudyResults, best: str) -> set[str]:
    """The arms that cannot be told apart from the best one."""
    pairs = [pair for pair in results.pairs if best in (pair.a, pair.b) and not pair.distinguishable]
    return {name for pair in pairs for name in (pair.a, pair.b)} - {best}


def _confusion(arms: Sequence[ArmRuns], ranked: Sequence[str]) -> Confusion | None:
    """Confusion matrices of arms that have runs; None if there is no such arm."""
    if not arms:
        return None
    matrices = {arm.name: np.sum([record["confusion_matrix"] for record in arm.records], axis=0) for arm in arms}
    percents = {
        name: np.round(100 * matrix / np.maximum(1, matrix.sum(1, keepdims=True)), 1)
        for name, matrix in matrices.items()
    }
    order = [name for name in ranked if name in percents]
    record = arms[0].records[0]
    return Confusion(
        classes=record.get("class_names") or list(record["per_class"]),
        arms=arms,
        percents={name: share.tolist() for name, share in percents.items()},
        counts={name: matrix.tolist() for name, matrix in matrices.items()},
        first=order[0],
        second=order[-1],
        difference=(percents[order[0]] - percents[order[-1]]).tolist(),
    )


def _origin(arms: Sequence[ArmRuns]) -> Origin:
    """Find what all runs share, and what each has of its own."""
    records = [record for arm in arms for record in arm.records]
    values = {key: [record.get(key) for record in records] for key in SAID_ONCE}
    same = {key: own[0] for key, own in values.items() if own and all(value == own[0] for value in own)}
    firsts = [(arm, run) for arm in arms for run in arm.folders[:1]]
    return Origin(
        same=same,
        own=[key for key in SAID_ONCE if key not in same and key != "versions"],
        runs=[(arm, *both) for arm in arms for both in zip(arm.folders, arm.records, strict=True)],
        configs=[(arm, run.config, run.config.read_text()) for arm, run in firsts if run.config.is_file()],
        trials=[arm for arm in arms if arm.result.lr_trials],
    )
