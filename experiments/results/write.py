"""From finished runs to results/<study>.json and results/<study>.md: scores with intervals, pairs, verdicts, cost."""

import datetime
import json
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from basics.errors import stop
from basics.files import write_file
from experiments.configs import MAY_DIFFER, flat, is_under
from experiments.results import hypotheses, statistics, tables
from experiments.results.comparison import Comparison
from experiments.results.finished_runs import FinishedRun, read_runs, read_table

SCORES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "ece")
SCHEMA = Path(__file__).with_name("results.schema.json")


def write(study: str, root: Path, out: Path, strategies: Sequence[str] | None = None, latex: bool = False) -> None:
    """Write `<out>/<study>.json` (see results.schema.json) and `<out>/<study>.md`.

    Args:
        study: Its name.
        root: Folder of all runs.
        out: Folder of the results.
        strategies: These arms only.
        latex: Write `<out>/<study>.tex`, too: it needs the package booktabs.

    Raises:
        SystemExit: There are no finished runs, or they cannot be compared; one line says what to do.
    """
    runs = read_runs(root, study, strategies)
    results = results_of(study, runs, root)
    check(results)
    write_file(out / f"{study}.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_file(out / f"{study}.md", tables.markdown(results))
    if latex:
        write_file(out / f"{study}.tex", tables.latex(results))
    print(f"wrote {out / study}.json and .md: {len(results['arms'])} arms, {len(runs)} runs")


def results_of(study: str, runs: Sequence[FinishedRun], root: Path, resamples: int = statistics.RESAMPLES) -> Any:
    """What results/<study>.json holds.

    Args:
        study: Its name.
        runs: Comparable ones.
        root: Folder of all runs; its lr_trials/ says how learning rates were chosen.
        resamples: Of the test images of each fold.
    """
    classes = list(runs[0].metrics.get("class_names") or runs[0].metrics["per_class"])
    found = Comparison(runs, classes, resamples)
    return {
        "study": study,
        "arms": [_arm(study, name, list(own.values()), root, found) for name, own in found.arms.items()],
        "pairs": found.pairs,
        "hypotheses": hypotheses.check(study, found),
        "provenance": _provenance(study, runs, root, found),
    }


def check(results: Mapping[str, Any]) -> None:
    """Validate against results.schema.json.

    Raises:
        SystemExit: A value has no place there; one line names it.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    # JSON has no tuples and no keys but strings: what is validated is what will be read.
    error = best_match(
        Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(json.loads(json.dumps(results)))
    )
    if error is not None:
        stop(f"{results.get('study')}: results.schema.json does not allow {error.json_path}: {error.message}")


def _arm(study: str, name: str, runs: Sequence[FinishedRun], root: Path, found: Comparison) -> dict[str, Any]:
    path = root / "lr_trials" / study / f"{name}.json"
    trials = json.loads(path.read_text())["trials"] if path.is_file() else []
    return {
        "strategy": name,
        "letters": found.letters[name],
        "runs": [
            {
                "seed": run.seed,
                "fold": run.fold,
                "folder": run.folder.relative_to(root).as_posix(),
                "commit": run.metrics["git_commit"],
            }
            for run in runs
        ],
        "lr": dict(flat(runs[0].config)).get("model.init_args.lr"),
        "lr_trials": [{"lr": trial["lr"], "val_f1_macro": trial["val_f1_macro"]} for trial in trials],
        **{key: statistics.mean_interval([run.metrics["test"][key] for run in runs]) for key in SCORES},
        "per_class_f1": {
            each: statistics.mean_interval([float(found.f1[run][index]) for run in runs])
            for index, each in enumerate(found.classes)
        },
        "clean": _clean(runs),
        "cost": _cost([run.cost for run in runs]),
    }


def _clean(runs: Sequence[FinishedRun]) -> dict[str, Any] | None:
    known = [part for run in runs if (part := run.metrics.get("clean")) and part["images"]]
    if len(known) < len(runs):
        return None
    scores = {key: statistics.mean_interval([part[key] for part in known]) for key in ("accuracy", "f1_macro")}
    images = round(sum(part["images"] for part in known) / len(known))
    left_out = sum(run.metrics["test"]["images"] - run.metrics["clean"]["images"] for run in runs) / len(runs)
    return {"rule": known[0]["rule"], "images": images, "left_out": left_out, **scores}


def _cost(ledgers: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """What a run costs in the mean; None where a run has no ledger."""
    totals = [ledger["total"] for ledger in ledgers if ledger]
    if len(totals) < len(ledgers):
        return None

    def over(rule: Callable[[list[float]], float], key: str) -> float | None:
        values = [total.get(key) for total in totals]
        return None if None in values else float(rule(values))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    seconds = statistics.mean_interval([total["seconds"] for total in totals])
    speeds = [total["images"] / total["train_seconds"] for total in totals if total["train_seconds"]]
    return {
        "trainable": max(int(total["trainable"]) for total in totals),
        **{key: over(mean, key) for key in ("forward_flops", "backward_flops", "computed_flops")},
        "seconds": {key: seconds[key] for key in ("mean", "std")},
        "images_per_second": mean(speeds) if speeds else None,
        "peak_memory_mb": over(max, "peak_memory_mb"),
        "energy_joules": over(mean, "energy_joules"),
    }


def _provenance(study: str, runs: Sequence[FinishedRun], root: Path, found: Comparison) -> dict[str, Any]:
    own = [key for kind in ("runs", "repetitions", "arms") for key in MAY_DIFFER[kind]]
    configs = [{key: value for key, value in flat(run.config) if not is_under(key, own)} for run in runs]
    shared = {key: value for key, value in configs[0].items() if all(c.get(key, ...) == value for c in configs)}
    fingerprints = {str(fold): own[0].metrics["data_fingerprint"] for fold, own in found.folds.items()}
    return {
        "command": shlex.join(["python", "-m", "experiments.results", "--study", study]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commits": _different(run.metrics["git_commit"] for run in runs),
        "dirty": any(run.metrics["git_dirty"] for run in runs),
        "versions": _different(run.metrics["versions"] for run in runs),
        "statistics_versions": {"python": platform.python_version()} | {n: version(n) for n in ("numpy", "scipy")},
        "backbones": _different(run.metrics["backbone"] for run in runs),
        "weights": _different(_portable(run.metrics["weights"]) for run in runs),
        "data_fingerprints": fingerprints,
        "test_images": int(found.support.sum()),
        "budget": read_table(root, study).get("budget"),
        "resamples": found.resamples,
        "level": statistics.LEVEL,
        "settings": {key: _portable(value) for key, value in shared.items()},
    }


def _different(values: Any) -> list[Any]:
    """Each value once, in the order in which they come."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _portable(value: Any) -> Any:
    """A path of one machine is its last part; anything else is what it is."""
    if isinstance(value, Mapping):
        return {key: _portable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_portable(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
