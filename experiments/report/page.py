"""The page: results/<study>.json and the run folders, through the template. Nothing is loaded when it is read."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.errors import stop
from experiments.results.tables import clean_rule

TEMPLATE = "report.html.j2"
SAID_ONCE = ("backbone", "weights", "git_commit", "versions", "data_fingerprint")


def build(root: Path, results: Path) -> tuple[str, int]:
    """The page of all studies in `results`, and the number of runs in it.

    Raises:
        SystemExit: There is no study; one line says what to do.
    """
    import jinja2
    import matplotlib

    from experiments.report import charts, svg, words

    files = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    found = [content for content in files if isinstance(content, dict) and content.get("arms")]
    found.sort(key=lambda content: len(content["arms"]) == 1)  # what compares nothing comes last
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
    filters = ("score", "signed", "probability", "number", "flops", "duration", "plain", "flops_of", "interval")
    environment.filters |= {name: getattr(words, name) for name in filters}
    dashes = ["none" if dash == "-" else " ".join(f"{2 * length:g}" for length in dash[1]) for dash in charts.DASHES]
    page = environment.get_template(TEMPLATE).render(studies=studies, glyphs=svg.GLYPHS, dashes=dashes)
    return page, sum(len(arm["runs"]) for content in found for arm in content["arms"])


def study_view(results: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """All that the template shows of one study."""
    from experiments.report import data, figures, words

    arms = data.read_arms(results, root)
    there = [arm for arm in arms if arm.records]
    stages = data.stages_of(arms)
    ranked = sorted(results["arms"], key=lambda arm: -arm["f1_macro"]["mean"])
    return {
        "name": results["study"],
        "results": results,
        "arms": arms,
        "count": sum(arm.count for arm in arms),
        "clean": clean_rule(results),
        "best": ranked[0]["strategy"],
        "tied": _tied(results, ranked[0]["strategy"]),
        "headline": words.headline(results),
        "frontiers": figures.frontiers(arms),
        "curves": figures.curves(arms),
        "confusion": _confusion(there, [arm["strategy"] for arm in ranked]),
        "class_panels": figures.class_panels(results, arms),
        "mistakes": [(arm, shown) for arm in arms if (shown := data.mistakes(arm))],
        "reliabilities": figures.reliabilities(arms),
        "stages": stages,
        "diagnostics": figures.diagnostics(arms),
        "phase_rows": [(arm, rows) for arm in arms if (rows := data.phase_rows(arm, stages))],
        "made": _made(arms),
    }


def _tied(results: Mapping[str, Any], best: str) -> set[str]:
    """The arms that cannot be told apart from the best one."""
    pairs = [pair for pair in results["pairs"] if best in (pair["a"], pair["b"]) and not pair["distinguishable"]]
    return {name for pair in pairs for name in (pair["a"], pair["b"])} - {best}


def _confusion(arms: Sequence[Any], ranked: Sequence[str]) -> dict[str, Any] | None:
    """Shares of each true class in percent, by arm; the two arms that the difference is of at first."""
    import numpy as np

    from experiments.report.data import confusion

    if not arms:
        return None
    shares, counts = {}, {}
    for arm in arms:
        matrix = confusion(arm)
        counts[arm.name] = matrix.tolist()
        shares[arm.name] = np.round(100 * matrix / np.maximum(1, matrix.sum(1, keepdims=True)), 1).tolist()
    order = [name for name in ranked if name in shares]
    return {
        "classes": arms[0].records[0].get("class_names") or list(arms[0].records[0]["per_class"]),
        "arms": [(arm, shares[arm.name], counts[arm.name]) for arm in arms],
        "shares": shares,
        "first": order[0],
        "second": order[-1],
        "difference": (np.array(shares[order[0]]) - np.array(shares[order[-1]])).tolist(),
    }


def _made(arms: Sequence[Any]) -> dict[str, Any]:
    """How each number was made: what all runs share, and what each has of its own."""
    records = [record for arm in arms for record in arm.records]
    same = {key: records[0].get(key) for key in SAID_ONCE if records and _one_value(records, key)}
    runs = [
        {"arm": arm, "folder": folder, "record": record, "lr": arm.result.get("lr")}
        for arm in arms
        for folder, record in zip(arm.folders, arm.records, strict=True)
    ]
    paths = [(arm, folder / "config.yaml") for arm in arms for folder in arm.folders[:1]]
    configs = [(arm, path, path.read_text()) for arm, path in paths if path.is_file()]
    own = [key for key in SAID_ONCE if key not in same and key != "versions"]
    trials = [arm for arm in arms if arm.result.get("lr_trials")]
    return {"same": same, "own": own, "runs": runs, "configs": configs, "trials": trials}


def _one_value(records: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(a.get(key) == b.get(key) for a, b in itertools.pairwise(records))
