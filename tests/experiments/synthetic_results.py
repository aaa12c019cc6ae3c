"""results/<study>.json of synthetic run folders, in the shape that the page reads, without a bootstrap."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

SCORES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "ece")
COSTS = ("trainable", "forward_flops", "backward_flops", "computed_flops", "peak_memory_mb", "energy_joules")


def write_results(root: Path, study: str, out: Path) -> None:
    """Write what the page reads; arms less than 0.03 apart are not distinguishable."""
    arms = [_arm(folder) for folder in sorted((root / study).iterdir())]
    content = {
        "study": study,
        "arms": arms,
        "pairs": [_pair(a, b) for a, b in itertools.combinations(arms, 2)],
        "hypotheses": [{"statement": "frozen < full in macro-F1", "verdict": "supported", "evidence": "0.3 < 0.8"}],
        "provenance": {"resamples": 10_000},
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{study}.json").write_text(json.dumps(content))


def _arm(folder: Path) -> dict[str, Any]:
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("seed*/metrics.json"))]
    tests, cleans = [record["test"] for record in records], [record["clean"] for record in records]
    totals = [record["cost"]["total"] for record in records]
    return {
        "strategy": folder.name,
        "runs": [{"seed": r["seed"], "fold": 0, "folder": r["seed_name"], "commit": r["git_commit"]} for r in records],
        "lr": 0.001,
        "lr_trials": [{"lr": 0.001, "val_f1_macro": 0.5}, {"lr": 0.003, "val_f1_macro": 0.4}],
        **{key: _statistic([test[key] for test in tests]) for key in SCORES},
        "per_class_f1": {
            name: _statistic([record["per_class"][name]["f1"] for record in records])
            for name in records[0]["class_names"]
        },
        "clean": {
            "rule": cleans[0]["rule"],
            "images": cleans[0]["images"],
            "left_out": tests[0]["images"] - cleans[0]["images"],
            **{key: _statistic([clean[key] for clean in cleans]) for key in ("accuracy", "f1_macro")},
        },
        "cost": {
            **{key: totals[0][key] for key in COSTS},
            "images_per_second": 100.0,
            "seconds": _statistic([total["seconds"] for total in totals]),
        },
    }


def _statistic(values: list[float]) -> dict[str, Any]:
    mean = float(np.mean(values))
    if len(values) == 1:
        return {"mean": mean, "std": None, "ci95": None}
    std = float(np.std(values, ddof=1))
    return {"mean": mean, "std": std, "ci95": [mean - 2 * std, mean + 2 * std]}


def _pair(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    difference = a["f1_macro"]["mean"] - b["f1_macro"]["mean"]
    apart = abs(difference) > 0.03
    p = {"p": 0.0001 if apart else 0.4}
    return {
        **{"a": a["strategy"], "b": b["strategy"], "difference": difference, "p_holm": p["p"], **p},
        "ci95": [difference - 0.03, difference + 0.03],
        "seeds": {"difference": difference, "ci95": None, **p},
        "accuracy": {"difference": difference, **p},
        "distinguishable": apart,
    }
