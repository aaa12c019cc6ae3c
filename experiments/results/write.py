"""From finished runs to results/<study>.json and results/<study>.md: scores with intervals, pairs, verdicts, cost."""

import datetime
import json
import platform
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from basics.errors import stop
from basics.files import write_file
from experiments.configs import MAY_DIFFER, flat, is_under, look_up
from experiments.results import hypotheses, records, statistics, tables
from experiments.results.comparison import Comparison
from experiments.results.finished_runs import FinishedRun, read_runs, table_of
from experiments.results.statistics import mean_interval

# Entries of the test in metrics.json that are fields of an arm, or no scores; every other one is in `more_scores`.
NAMED = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "loss", "images")


def write(study: str, root: Path, out: Path, strategies: Sequence[str] | None = None, latex: bool = False) -> None:
    """Write `<out>/<study>.json` (see records.py) and `<out>/<study>.md`.

    Args:
        study: Name of the study.
        root: Folder of all runs.
        out: Folder of the results.
        strategies: Names of the arms; all if not given.
        latex: Write `<out>/<study>.tex`, too: it needs the package booktabs.

    Raises:
        SystemExit: There are no finished runs, or they cannot be compared; one line says what to do.
    """
    runs = read_runs(root, study, strategies)
    try:
        results = results_of(study, runs, root)
    except ValidationError as error:
        stop(f"the runs of {study} have a value that results cannot hold: {records.problem(error)}")
    records.save(out / f"{study}.json", results)
    write_file(out / f"{study}.md", tables.markdown(results))
    if latex:
        write_file(out / f"{study}.tex", tables.latex(results))
    print(f"wrote {out / study}.json and .md: {len(results.arms)} arms, {len(runs)} runs")


def results_of(
    study: str, runs: Sequence[FinishedRun], root: Path, resamples: int = statistics.RESAMPLES
) -> records.StudyResults:
    """Compute the content of results/<study>.json.

    Args:
        study: Name of the study.
        runs: Comparable runs.
        root: Folder of all runs; its lr_trials/ has the learning rates that were tried.
        resamples: Number of resamples of the test images of each fold.
    """
    classes = list(runs[0].record.get("class_names") or runs[0].record["per_class"])
    found = Comparison(runs, classes, resamples)
    return records.StudyResults(
        study=study,
        arms=[_arm(study, name, list(own.values()), root, found) for name, own in found.arms.items()],
        pairs=found.pairs,
        hypotheses=hypotheses.verdicts(study, found),
        provenance=_provenance(study, runs, root, found),
    )


def _arm(study: str, name: str, runs: Sequence[FinishedRun], root: Path, found: Comparison) -> records.ArmResult:
    tests = [run.record["test"] for run in runs]
    more = [key for key in tests[0] if key not in NAMED and all(key in test for test in tests)]

    def score(key: str) -> records.Interval:
        return mean_interval([test[key] for test in tests])

    f1 = {name: [float(found.f1[run][index]) for run in runs] for index, name in enumerate(found.classes)}
    return records.ArmResult(
        strategy=name,
        letters=found.letters[name],
        runs=[
            records.RunEntry(
                seed=run.folder.seed,
                fold=run.folder.fold,
                folder=run.folder.path.relative_to(root).as_posix(),
                commit=run.record["git_commit"],
            )
            for run in runs
        ],
        lr=look_up(runs[0].config, "model.init_args.lr"),
        lr_trials=_lr_trials(root / "lr_trials" / study / f"{name}.json"),
        accuracy=score("accuracy"),
        precision_macro=score("precision_macro"),
        recall_macro=score("recall_macro"),
        f1_macro=score("f1_macro"),
        more_scores={key: score(key) for key in more},
        per_class_f1={name: mean_interval(values) for name, values in f1.items()},
        clean=_clean(runs),
        cost=_cost([run.cost for run in runs]),
    )


def _lr_trials(path: Path) -> list[records.LrTrial]:
    """Learning rates that `experiments.table` tried for an arm; none if the file is missing."""
    trials = json.loads(path.read_text())["trials"] if path.is_file() else []
    return [records.LrTrial(lr=trial["lr"], val_f1_macro=trial["val_f1_macro"]) for trial in trials]


def _clean(runs: Sequence[FinishedRun]) -> records.Clean | None:
    known = [part for run in runs if (part := run.record.get("clean")) and part["images"]]
    if len(known) < len(runs):
        return None
    left_out = sum(run.record["test"]["images"] - run.record["clean"]["images"] for run in runs)
    return records.Clean(
        rule=known[0]["rule"],
        images=round(sum(part["images"] for part in known) / len(known)),
        left_out=left_out / len(runs),
        accuracy=mean_interval([part["accuracy"] for part in known]),
        f1_macro=mean_interval([part["f1_macro"] for part in known]),
    )


def _cost(ledgers: Sequence[Mapping[str, Any] | None]) -> records.Cost | None:
    """Mean cost of a run; None if a run has no ledger."""
    totals = [ledger["total"] for ledger in ledgers if ledger]
    if len(totals) < len(ledgers):
        return None

    def over(rule: Callable[[list[float]], float], key: str) -> float | None:
        values = [total.get(key) for total in totals]
        return None if None in values else float(rule(values))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    seconds = mean_interval([total["seconds"] for total in totals])
    speeds = [total["images"] / total["train_seconds"] for total in totals if total["train_seconds"]]
    return records.Cost(
        trainable=max(int(total["trainable"]) for total in totals),
        forward_flops=over(mean, "forward_flops"),
        backward_flops=over(mean, "backward_flops"),
        computed_flops=over(mean, "computed_flops"),
        seconds=records.Seconds(mean=seconds.mean, std=seconds.std),
        images_per_second=mean(speeds) if speeds else None,
        peak_memory_mb=over(max, "peak_memory_mb"),
        energy_joules=over(mean, "energy_joules"),
    )


def _provenance(study: str, runs: Sequence[FinishedRun], root: Path, found: Comparison) -> records.Provenance:
    own = [key for kind in ("runs", "repetitions", "arms") for key in MAY_DIFFER[kind]]
    configs = [{key: value for key, value in flat(run.config) if not is_under(key, own)} for run in runs]
    shared = {key: value for key, value in configs[0].items() if all(c.get(key, ...) == value for c in configs)}
    return records.Provenance(
        command=shlex.join(["python", "-m", "experiments.results", "--study", study]),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        commits=_different(run.record["git_commit"] for run in runs),
        dirty=any(run.record["git_dirty"] for run in runs),
        versions=_different(run.record["versions"] for run in runs),
        statistics_versions={"python": platform.python_version()} | {n: version(n) for n in ("numpy", "scipy")},
        backbones=_different(run.record["backbone"] for run in runs),
        weights=_different(_portable(run.record["weights"]) for run in runs),
        data_fingerprints={str(fold): runs[0].record["data_fingerprint"] for fold, runs in found.folds.items()},
        test_images=int(found.support.sum()),
        budget=table_of(root, study).get("budget"),
        resamples=found.resamples,
        level=statistics.LEVEL,
        settings={key: _portable(value) for key, value in shared.items()},
    )


def _different(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _portable(value: Any) -> Any:
    """Shorten absolute paths, which are those of one machine, to their last part."""
    if isinstance(value, Mapping):
        return {key: _portable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_portable(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
