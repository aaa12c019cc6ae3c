"""Run folders as `lightning fit` and `lightning test` leave them, without training: for tests of their readers.

A run classifies an image correctly if the quality of its strategy is above the difficulty of the image, which all runs
of a fold share. So full and gradual are equal but for chance, and the others are apart from them.
"""

import base64
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from experiments.runs import RunFolder

CLASSES = {
    "fer": ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"),
    "fashion": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "deepweeds": (
        "Chinee apple",
        "Lantana",
        "Parkinsonia",
        "Parthenium",
        "Prickly acacia",
        "Rubber vine",
        "Siam weed",
        "Snake weed",
        "Negative",
    ),
}
SHARES = {"fer": [13, 2, 14, 25, 17, 12, 17], "fashion": [10] * 10, "deepweeds": [6, 6, 6, 6, 6, 6, 6, 6, 52]}
NEIGHBOUR = {"fer": [1, 0, 5, 6, 6, 2, 4], "fashion": [6, 3, 4, 0, 2, 7, 0, 9, 5, 7], "deepweeds": [8] * 8 + [0]}
DATA = {"fer": "FER2013", "fashion": "FashionMNIST", "deepweeds": "DeepWeeds"}
RULE = {
    "fer": "without images that are byte-identical to one of train",
    "deepweeds": "without images taken within 30 s of a training image by the same camera",
    "fashion": "without images that are byte-identical to one of train",
}
QUALITY = {"frozen": 0.35, "partial": 0.6, "full": 0.8, "gradual": 0.8, "lpft": 0.75, "layerdecay": 0.85, "plain": 0.9}
RARE_PENALTY = {"frozen": 0.2, "partial": 0.1}  # loss of quality in rare classes if little is trained
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
PARAMETERS = dict(zip(STAGES, (9_536, 147_968, 525_568, 2_099_712, 8_393_728, 3_591), strict=True))
FORWARD = dict(zip(STAGES, (8e6, 44e6, 37e6, 36e6, 35e6, 7e3), strict=True))  # operations an image
PHASES = {  # the stages that learn, phase by phase
    "frozen": [STAGES[5:]],
    "partial": [STAGES[4:]],
    "gradual": [STAGES[5:], STAGES[4:], STAGES[3:], STAGES[2:], STAGES],
    "lpft": [STAGES[5:], STAGES],
}
EPOCHS, TRAIN_IMAGES = 10, 1000


def write_runs(
    root: Path,
    study: str = "fer",
    strategies: Sequence[str] = ("frozen", "partial", "full", "gradual"),
    seeds: Sequence[int] = (0, 1, 2),
    folds: Sequence[int] = (0,),
    images: int = 300,
) -> None:
    """Write a complete folder for every strategy, seed and fold: `<root>/<study>/<strategy>/seed<k>[-fold<f>]`."""
    for strategy in strategies:
        for seed in seeds:
            for fold in folds:
                write_run(root, study, strategy, seed, fold, images)


def write_run(root: Path, study: str, strategy: str, seed: int = 0, fold: int = 0, images: int = 300) -> Path:
    """Write one run's folder and return it."""
    run = RunFolder(root, study, strategy, seed, fold)
    folder = run.path
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    labels, probabilities, names, clean = answers(study, strategy, seed, fold, images)
    np.savez(run.answers, labels=labels, probabilities=probabilities, names=names, clean=clean)
    config = config_of(study, strategy, seed, fold, root)
    run.config.write_text(yaml.safe_dump(config, sort_keys=False))
    cost = cost_of(strategy, seed)
    _write_json(run.cost, cost)
    history = _history(strategy)
    _write_metrics_csv(run.epochs, strategy, seed)
    classes = CLASSES[study]
    record = {
        "study": study,
        "strategy": strategy,
        "seed_name": run.seed_name,
        "seed": seed,
        "fold": fold,
        "backbone": "fashion_cnn" if study == "fashion" else "resnet18.tv_in1k",
        "weights": "none" if study == "fashion" else "resnet18.tv_in1k",
        "git_commit": "55bebfb7038557a86144bb4751b4743da9df1f77",
        "git_dirty": False,
        "versions": {"python": "3.11.7", "torch": "2.15.0", "lightning": "2.6.6", "numpy": "2.4.6"},
        "checkpoint": str(run.best),
        "tested_with": {
            "git_commit": "55bebfb7038557a86144bb4751b4743da9df1f77",
            "git_dirty": False,
            "versions": {"python": "3.11.7", "torch": "2.15.0", "lightning": "2.6.6", "numpy": "2.4.6"},
        },
        "class_names": list(classes),
        "parameters": sum(PARAMETERS.values()),
        "trainable_parameters": cost["total"]["trainable"],
        "phases": history,
        **scores_of(labels, probabilities, clean, classes, RULE[study]),
        "data_fingerprint": f"{study}-fold{fold}-{images}",
        "cost": cost,
    }
    _write_json(run.scores, record)
    _write_json(run.mistakes, _mistakes(labels, probabilities, names, classes))
    return folder


def answers(study: str, strategy: str, seed: int, fold: int, images: int) -> tuple[np.ndarray, ...]:
    """Content of test.npz: labels `[N]`, probabilities `[N, C]`, names `[N]`, clean `[N]`."""
    shares = np.array(SHARES[study], float)
    shared = np.random.default_rng([fold, images, len(shares)])  # the same test set for all runs of a fold
    labels = shared.choice(len(shares), images, p=shares / shares.sum())
    labels[: 2 * len(shares)] = np.tile(np.arange(len(shares)), 2)[:images]  # no class is absent
    difficulty = shared.permutation(images) / images
    clean = shared.random(images) > 0.1
    own = np.random.default_rng([seed, fold, *strategy.encode()])
    rare = shares < np.median(shares)
    quality = QUALITY.get(strategy, 0.5) - RARE_PENALTY.get(strategy, 0.0) * rare[labels]
    right = difficulty + 0.01 * own.standard_normal(images) < quality
    usual = own.random(images) < 0.6  # a wrong answer is mostly the neighbour of the class
    other = (labels + own.integers(1, len(shares), images)) % len(shares)
    predicted = np.where(right, labels, np.where(usual, np.array(NEIGHBOUR[study])[labels], other))
    logits = own.normal(0, 0.5, (images, len(shares)))
    logits[np.arange(images), predicted] = logits.max(1) + own.uniform(0.2, 4, images)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = np.array([f"{study}/{fold}/{i:05d}.png" for i in range(images)])
    return labels.astype(np.int64), probabilities.astype(np.float32), names, clean


def scores_of(
    labels: np.ndarray, probabilities: np.ndarray, clean: np.ndarray, classes: Sequence[str], rule: str
) -> dict[str, Any]:
    """The keys of metrics.json that follow from test.npz."""
    matrix = _matrix(labels, probabilities.argmax(1), len(classes))
    precision, recall, f1 = _per_class(matrix)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    apart = _summary(labels[clean], probabilities[clean], len(classes))
    return {
        "test": {"loss": float(loss), **_summary(labels, probabilities, len(classes)), "images": len(labels)},
        "per_class": {
            name: {"precision": precision[c], "recall": recall[c], "f1": f1[c], "support": int(matrix[c].sum())}
            for c, name in enumerate(classes)
        },
        "confusion_matrix": matrix.tolist(),
        "clean": {**apart, "images": int(clean.sum()), "rule": rule},
    }


def _matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _per_class(matrix: np.ndarray) -> list[list[float]]:
    hits, support, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    parts = (hits / np.maximum(predicted, 1), hits / np.maximum(support, 1))
    return [part.tolist() for part in (*parts, 2 * hits / np.maximum(support + predicted, 1))]


def _summary(labels: np.ndarray, probabilities: np.ndarray, classes: int) -> dict[str, float]:
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    precision, recall, f1 = (float(np.mean(part)) for part in _per_class(_matrix(labels, predicted, classes)))
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(np.sum((predicted == labels)[bins == b] - confidence[bins == b])) for b in range(15)]
    return {
        "accuracy": float((predicted == labels).mean()),
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "ece": float(sum(gaps) / len(labels)),
    }


def config_of(study: str, strategy: str, seed: int, fold: int, root: Path) -> dict[str, Any]:
    """config.yaml: the keys that matter, with the values of the project's configs."""
    common = {"label_smoothing": 0.0, "lr": 0.001, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine"}
    if study == "fashion":
        model = {"class_path": "fashion_cnn.FashionClassifier", "init_args": common}
    else:
        name = {"lpft": "LPFT", "layerdecay": "LayerDecay"}.get(strategy, strategy.capitalize())
        lr_factor = {} if strategy == "frozen" else {"init_args": {"lr_factor": 0.1}}
        own = {"strategy": {"class_path": f"transfer.{name}", **lr_factor}, "backbone": "resnet18.tv_in1k"}
        model = {"class_path": "transfer.TransferClassifier", "init_args": {**own, "weights": None, **common}}
    data = {"image_size": 48, "batch_size": 128, "root": "data", "num_workers": 0, "augment": [], "split_seed": 0}
    return {
        "seed_everything": seed,
        "trainer": {"accelerator": "cpu", "devices": "auto", "max_epochs": EPOCHS, "max_steps": -1, "logger": False},
        "model": model,
        "data": {
            "class_path": f"datamodules.{DATA[study]}",
            "init_args": {**data, **({"fold": fold} if study == "deepweeds" else {})},
        },
        "run": {"root": str(root), "study": None, "strategy": None, "overwrite": False},
        "ckpt_path": None,
    }


def _phases(strategy: str) -> list[tuple[str, ...]]:
    return PHASES.get(strategy, [STAGES])


def _phase_of(strategy: str, epoch: int) -> int:
    """Index of the phase of an epoch; all phases are equally long."""
    return epoch * len(_phases(strategy)) // EPOCHS


def _history(strategy: str) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    for number, stages in enumerate(_phases(strategy)):
        epoch = -(-number * EPOCHS // len(_phases(strategy)))
        entry = {"phase": number + 1, "epoch": epoch, "step": epoch * 8, "stages": list(stages)}
        entry |= {"reason": "the plan says so" if number else "the run began"}
        entry |= {"trainable": sum(PARAMETERS[stage] for stage in stages), "loss_after": 1.5 - 0.1 * number}
        history.append(entry | ({"loss_before": 1.55 - 0.1 * number} if number else {}))
    return history


def cost_of(strategy: str, seed: int) -> dict[str, Any]:
    """cost.json, where every epoch has `TRAIN_IMAGES` images."""
    phases = []
    for number, stages in enumerate(_phases(strategy)):
        epochs = sum(_phase_of(strategy, epoch) == number for epoch in range(EPOCHS))
        count = epochs * TRAIN_IMAGES
        forward, backward = count * sum(FORWARD.values()), 2 * count * sum(FORWARD[stage] for stage in stages)
        kept = count * sum(FORWARD[stage] for stage in STAGES if stage not in stages) if len(stages) < 6 else 0.0
        seconds = (forward + backward) / 5e10 * (1 + 0.01 * seed)
        phases.append(
            {
                "phase": number + 1,
                "stages": list(stages),
                "trainable": sum(PARAMETERS[stage] for stage in stages),
                "epochs": epochs,
                "images": count,
                "forward_flops": forward,
                "backward_flops": backward,
                "computed_flops": forward + backward - 0.9 * kept,
                "seconds": seconds * 1.1,
                "train_seconds": seconds,
                "images_per_second": count / seconds,
                "peak_memory_mb": 1000.0 + 60 * len(stages),
                "energy_joules": None,
            }
        )
    sums = ("epochs", "images", "forward_flops", "backward_flops", "computed_flops", "seconds", "train_seconds")
    total = {key: sum(phase[key] for phase in phases) for key in sums} | {"energy_joules": None}
    return {
        "phases": phases,
        "total": total | {key: max(phase[key] for phase in phases) for key in ("peak_memory_mb", "trainable")},
    }


def _write_metrics_csv(path: Path, strategy: str, seed: int) -> None:
    own, rows = np.random.default_rng([seed, *strategy.encode()]), []
    phases, cost = _phases(strategy), cost_of(strategy, seed)["phases"]
    reached = QUALITY.get(strategy, 0.5)
    for epoch in range(EPOCHS):
        number = _phase_of(strategy, epoch)
        score = reached * (1 - np.exp(-(epoch + 1) / 3)) + 0.01 * own.standard_normal()
        row: dict[str, float] = {"epoch": epoch, "step": (epoch + 1) * 8, "phase": number + 1}
        for split, shift in (("train", 0.03), ("val", 0.0)):
            row |= {f"{split}/{name}": score + shift for name in ("accuracy", "f1_macro")}
            row |= {f"{split}/{name}": score + shift for name in ("precision_macro", "recall_macro")}
            row[f"{split}/loss"] = 2 * (1 - score) - shift
        if epoch and _phase_of(strategy, epoch - 1) != number:
            row |= {"phase/loss_before": row["val/loss"] + 0.1, "phase/loss_after": row["val/loss"]}
        for stage in STAGES:
            row[f"lr/{stage}"] = (1e-3 if stage == "head" else 1e-4) * (stage in phases[number])
            if stage != "head":  # the head has no pretrained weights
                row[f"distance/{stage}"] = 0.1 * sum(stage in phases[_phase_of(strategy, e)] for e in range(epoch + 1))
            if stage in phases[number]:
                row[f"gradient_norm/{stage}"] = 1 / (1 + epoch) + 0.1 * own.random()
        times = {"train_seconds": cost[number]["train_seconds"] / cost[number]["epochs"]}
        times["epoch_seconds"] = 1.1 * times["train_seconds"]
        times["images_per_second"] = TRAIN_IMAGES / times["train_seconds"]
        rows.append(row | times | {"peak_memory_mb": cost[number]["peak_memory_mb"]})
    header = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in rows)
    path.write_text(text.getvalue())


def _mistakes(
    labels: np.ndarray, probabilities: np.ndarray, names: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:12]
    return {
        "layer": "layer2",
        "mistakes": [
            {
                "name": str(names[i]),
                "true": classes[labels[i]],
                "predicted": classes[predicted[i]],
                "confidence": float(confidence[i]),
                "image": _png(labels[i], 0),
                "cam": _png(labels[i], 90),
            }
            for i in worst
        ],
    }


def _png(label: int, red: int) -> str:
    image = np.full((24, 24, 3), (40, 40 + 15 * label, 60 + red), np.uint8)
    cv2.circle(image, (12, 12), 3 + int(label), (220, 220, 220), -1)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
