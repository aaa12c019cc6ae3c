"""results/<study>.json of synthetic run folders, without a bootstrap; records of arms and pairs for single tests."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results import records
from experiments.results.records import (
    AccuracyTest,
    ArmResult,
    Clean,
    Cost,
    Interval,
    LrTrial,
    Pair,
    Provenance,
    RunEntry,
    Seconds,
    SeedTest,
    StudyResults,
    Verdict,
)
from experiments.runs import RunFolder


def write_results(root: Path, study: str, out: Path) -> None:
    """Write results of all runs of a study; arms less than 0.03 apart are not distinguishable."""
    runs = RunFolder.find(root, study)
    names = sorted({run.strategy for run in runs})
    arms = [_arm([run.record() for run in runs if run.strategy == name]) for name in names]
    pairs = [
        pair_of(a.strategy, b.strategy, a.f1_macro.mean - b.f1_macro.mean) for a, b in itertools.combinations(arms, 2)
    ]
    records.save(out / f"{study}.json", study_of(arms, pairs, study))


def study_of(arms: Sequence[ArmResult], pairs: Sequence[Pair] = (), study: str = "fer") -> StudyResults:
    """Results of these arms."""
    verdict = Verdict(statement="frozen < full in macro-F1", verdict="supported", evidence="0.3 < 0.8")
    provenance = Provenance(
        command="python -m experiments.results",
        date="2026-11-25T09:12:25+00:00",
        commits=[None],
        dirty=False,
        versions=[{"python": "3.11.7"}],
        statistics_versions={},
        backbones=[None],
        weights=[None],
        data_fingerprints={"0": "c3b7c5f8e3f85914"},
        test_images=300,
        budget=None,
        resamples=10_000,
        level=0.05,
        settings={},
    )
    return StudyResults(study=study, arms=list(arms), pairs=list(pairs), hypotheses=[verdict], provenance=provenance)


def arm_of(name: str, f1: Interval, **values: Any) -> ArmResult:
    """An arm with two runs and one score for everything, but for the fields in `values`."""
    runs = [RunEntry(seed=seed, fold=0, folder=f"fer/{name}/seed{seed}", commit=None) for seed in (0, 1)]
    fields = {
        "strategy": name,
        "letters": "a",
        "runs": runs,
        "lr": 0.001,
        "lr_trials": [],
        "accuracy": f1,
        "precision_macro": f1,
        "recall_macro": f1,
        "f1_macro": f1,
        "more_scores": {"ece": f1},
        "per_class_f1": {"Angry": f1, "Happy": f1},
        "clean": None,
        "cost": None,
    }
    return ArmResult(**fields | values)


def cost_of(flops: float, seconds: float = 60.0, **values: Any) -> Cost:
    """A cost of `flops` forward and as many backward."""
    fields = {
        "trainable": 3591,
        "forward_flops": flops,
        "backward_flops": flops,
        "computed_flops": flops,
        "seconds": Seconds(mean=seconds, std=None),
        "images_per_second": 100.0,
        "peak_memory_mb": None,
        "energy_joules": None,
    }
    return Cost(**fields | values)


def pair_of(a: str, b: str, difference: float, distinguishable: bool | None = None, width: float = 0.03) -> Pair:
    """A pair with an interval of +- width."""
    apart = abs(difference) > 0.03 if distinguishable is None else distinguishable
    p = 0.0001 if apart else 0.4
    return Pair(
        a=a,
        b=b,
        difference=difference,
        ci95=(difference - width, difference + width),
        p=p,
        p_images=p,
        runs=2,
        seeds=SeedTest(difference=difference, ci95=None, p=p),
        accuracy=AccuracyTest(difference=difference, p=p),
        p_holm=p,
        distinguishable=apart,
    )


def _arm(runs: Sequence[dict[str, Any]]) -> ArmResult:
    tests = [record["test"] for record in runs]
    cleans = [record["clean"] for record in runs]
    total = runs[0]["cost"]["total"]
    known = ("trainable", "forward_flops", "backward_flops", "computed_flops", "peak_memory_mb", "energy_joules")
    seconds = _statistic([record["cost"]["total"]["seconds"] for record in runs])

    def score(key: str) -> Interval:
        return _statistic([test[key] for test in tests])

    return arm_of(
        runs[0]["strategy"],
        score("f1_macro"),
        runs=[RunEntry(seed=r["seed"], fold=r["fold"], folder=r["seed_name"], commit=r["git_commit"]) for r in runs],
        lr_trials=[LrTrial(lr=0.001, val_f1_macro=0.5), LrTrial(lr=0.003, val_f1_macro=0.4)],
        accuracy=score("accuracy"),
        precision_macro=score("precision_macro"),
        recall_macro=score("recall_macro"),
        more_scores={"ece": score("ece")},
        per_class_f1={
            name: _statistic([record["per_class"][name]["f1"] for record in runs]) for name in runs[0]["class_names"]
        },
        clean=Clean(
            rule=cleans[0]["rule"],
            images=cleans[0]["images"],
            left_out=tests[0]["images"] - cleans[0]["images"],
            accuracy=_statistic([clean["accuracy"] for clean in cleans]),
            f1_macro=_statistic([clean["f1_macro"] for clean in cleans]),
        ),
        cost=Cost(
            **{key: total[key] for key in known},
            images_per_second=100.0,
            seconds=Seconds(mean=seconds.mean, std=seconds.std),
        ),
    )


def _statistic(values: Sequence[float]) -> Interval:
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean=mean, std=None, ci95=None)
    std = float(np.std(values, ddof=1))
    return Interval(mean=mean, std=std, ci95=(mean - 2 * std, mean + 2 * std))
