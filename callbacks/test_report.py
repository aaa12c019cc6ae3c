"""The records of a test."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor

from basics.files import write_file, write_json
from basics.names import ANSWERS, CONFUSION, COST, MISTAKES, SCORES
from callbacks.confusion_plot import draw_confusion_matrix
from callbacks.files import is_dev_run
from callbacks.gather import GatheringCallback
from callbacks.mistakes import write_mistakes
from callbacks.phases import PhaseCallback, numel
from callbacks.trainers import image_data
from callbacks.wandb_scores import log_scores
from classification import Classifier, Scores, scores
from classification.metrics import PROBABILITY_SCORES, confusion_matrix, probability_scores


class TestReport(GatheringCallback):
    """After `test`: a table on the terminal, metrics.json, confusion_matrix.png, and both in W&B.

    The output for every image is in test.npz, from which all statistics are made, so that the test split is read once:
    labels `[N]`, probabilities `[N, num_classes]`, names `[N]`, and `clean` `[N]`, which is false for images that are
    known from training. The scores of the clean images alone are in metrics.json beside the official ones.

    Args:
        folder: Folder of the run.
        provenance: Entries of metrics.json beside the scores: seed, commit, versions, weights, checkpoint.
    """

    __test__ = False  # not for pytest

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        self.folder = folder
        self.provenance = provenance

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write and print everything (rank 0)."""
        classifier = cast(Classifier, pl_module)
        total = classifier.scores
        names = classifier.class_names
        found = self.gathered(trainer)
        if found is None or total is None:
            return
        _print_table(total, names)
        limit = trainer.limit_test_batches
        if is_dev_run(trainer) or not (isinstance(limit, float) and limit == 1.0):
            print("a part of the test split only: nothing is written")
            return
        data = image_data(trainer)
        assert data is not None
        evaluated = sum(total.support)
        if evaluated != len(data.splits["test"]):
            raise RuntimeError(f"evaluated {evaluated} images of a test split of {len(data.splits['test'])}")
        labels = found["label"]
        probabilities = found["probabilities"]
        is_clean = ~torch.from_numpy(data.leaked())
        clean = clean_scores(labels[is_clean], probabilities[is_clean])
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        learning = {p for phase in classifier.phases for p in classifier.learning_parameters(phase)}
        record = {
            **self.provenance,
            "class_names": names,
            "parameters": numel(classifier.network.parameters()),
            "trainable_parameters": numel(learning),
            "phases": next((own.history for own in callbacks if isinstance(own, PhaseCallback)), []),
            "test": {**total.summary(), **probability_scores(probabilities, labels), "images": evaluated},
            "clean": {"rule": data.leak_rule, **clean},
            "per_class": {
                name: dict(zip(("precision", "recall", "f1", "support"), values, strict=True))
                for name, *values in total.by_class(names)
            },
            "confusion_matrix": total.confusion_matrix,
            "data_fingerprint": data.fingerprint,
        }
        cost = self.folder / COST
        if cost.is_file():
            record["cost"] = json.loads(cost.read_text())
        if clean["images"]:
            quality = f"accuracy {clean['accuracy']:.4f}, macro-F1 {clean['f1_macro']:.4f}"
            print(f"{data.leak_rule}: {quality} ({clean['images']:,} images)")
        file = io.BytesIO()
        images = np.array(data.splits["test"].names)
        np.savez_compressed(
            file, labels=labels.numpy(), probabilities=probabilities.numpy(), clean=is_clean.numpy(), names=images
        )
        write_file(self.folder / ANSWERS, file.getvalue())
        write_mistakes(self.folder / MISTAKES, data, classifier, labels, probabilities)
        write_file(self.folder / CONFUSION, draw_confusion_matrix(total.confusion_matrix, names))
        self._replace_metrics(record)  # last: if it is there, the other files are
        print(f"wrote {self.folder / SCORES}, {ANSWERS}, {MISTAKES} and {CONFUSION}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                log_scores(logger, total, names)

    def _replace_metrics(self, record: Mapping[str, Any]) -> None:
        """Write metrics.json; print a line if that replaces the scores of another checkpoint or another test set."""
        path = self.folder / SCORES
        if path.is_file():
            old = json.loads(path.read_text())
            for key in ("checkpoint", "data_fingerprint"):
                if old.get(key) != record[key]:
                    print(f"replacing {path}, which was of {key} {old.get(key)}")
        write_json(path, record)


def clean_scores(labels: Tensor, probabilities: Tensor) -> dict[str, Any]:
    """Scores of some test images; every score is None if there is no image.

    Args:
        labels: True classes `[N]`.
        probabilities: Predicted probabilities `[N, num_classes]`.
    """
    matrix = confusion_matrix(labels, probabilities.argmax(1), probabilities.shape[1])
    summary: dict[str, Any] = scores(torch.tensor(torch.nan), matrix).summary()
    del summary["loss"]
    if not len(labels):
        return {**dict.fromkeys([*summary, *PROBABILITY_SCORES]), "images": 0}
    return {**summary, **probability_scores(probabilities, labels), "images": len(labels)}


def _print_table(total: Scores, names: Sequence[str]) -> None:
    table = Table("test", title_justify="left")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for name, *values, images in total.by_class(names):
        table.add_row(name, *(f"{value:.4f}" for value in values), f"{images:,}")
    table.add_section()
    averages = (total.precision_macro, total.recall_macro, total.f1_macro)
    table.add_row("macro average", *(f"{value:.4f}" for value in averages), f"{sum(total.support):,}")
    table.add_row("accuracy", "", "", f"{total.accuracy:.4f}", "")
    Console().print(table)
