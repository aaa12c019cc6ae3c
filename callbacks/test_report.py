import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor

from basics.files import write_file
from callbacks.files import is_dev_run
from callbacks.gather import GatheringCallback
from callbacks.mistakes import write_mistakes
from callbacks.phases import PhaseCallback, numel
from classification import scores
from classification.metrics import PROBABILITY_SCORES, probability_scores


class TestReport(GatheringCallback):
    """After `test`: a table on the terminal, metrics.json, confusion_matrix.png, and both in W&B.

    What the network said of every image is in test.npz, from which all statistics are made, so that the test split is
    read once: labels `[N]`, probabilities `[N, num_classes]`, names `[N]`, and `clean` `[N]`: which are not known
    from training. The scores of those alone are in metrics.json beside the official ones.

    Args:
        folder: The run's folder.
        provenance: What metrics.json says beside the scores: seed, commit, versions, weights, checkpoint.
    """

    __test__ = False  # not for pytest

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        self.folder, self.provenance = folder, provenance

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write and print everything (rank 0)."""
        classifier: Any = pl_module
        total, names = classifier.scores, classifier.class_names
        found = self.gathered(trainer)
        if found is None or total is None:
            return
        rows = list(zip(names, total.precision, total.recall, total.f1, total.support, strict=True))
        _print_table(total, rows)
        limit = trainer.limit_test_batches
        if is_dev_run(trainer) or not (isinstance(limit, float) and limit == 1.0):
            print("a part of the test split only: nothing is written")
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        expected, evaluated = len(data.splits["test"]), sum(total.support)
        if evaluated != expected:
            raise RuntimeError(f"evaluated {evaluated} images of a test split of {expected}")
        per_class = {name: {"precision": p, "recall": r, "f1": f, "support": n} for name, p, r, f, n in rows}
        learning = {p for phase in classifier.phases for p in classifier.learning_parameters(phase)}
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        phases = [callback.history for callback in callbacks if isinstance(callback, PhaseCallback)]
        labels, probabilities = found["label"], found["probabilities"]
        leaked = torch.from_numpy(data.leaked())
        clean = clean_scores(labels[~leaked], probabilities[~leaked])
        record = {
            **self.provenance,
            "class_names": names,
            "parameters": numel(classifier.network.parameters()),
            "trainable_parameters": numel(learning),
            "phases": phases[0] if phases else [],  # up to the epoch of the checkpoint
            "test": {**total.summary(), **probability_scores(probabilities, labels), "images": evaluated},
            "clean": {"rule": data.leak_rule, **clean},
            "per_class": per_class,
            "confusion_matrix": total.confusion_matrix,
            "data_fingerprint": data.fingerprint,
        }
        if (cost := self.folder / "cost.json").is_file():
            record["cost"] = json.loads(cost.read_text())
        if clean["images"]:
            print(
                f"{data.leak_rule}: accuracy {clean['accuracy']:.4f}, macro-F1 {clean['f1_macro']:.4f} "
                f"({clean['images']:,} images)"
            )
        file = io.BytesIO()
        np.savez_compressed(
            file,
            labels=labels.numpy(),
            probabilities=probabilities.numpy(),
            clean=~leaked.numpy(),
            names=np.array(data.splits["test"].names),
        )
        write_file(self.folder / "test.npz", file.getvalue())
        write_mistakes(self.folder / "mistakes.json", trainer, classifier, labels, probabilities)
        write_file(self.folder / "confusion_matrix.png", draw_confusion_matrix(total.confusion_matrix, names))
        self._replace_metrics(record)  # last: where it is, the others are
        print(f"wrote {self.folder / 'metrics.json'}, test.npz, mistakes.json and confusion_matrix.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, total.confusion_matrix, names, rows)

    def _replace_metrics(self, record: Mapping[str, Any]) -> None:
        """Write metrics.json, and say so where that replaces the scores of another checkpoint or another test set."""
        path = self.folder / "metrics.json"
        if path.is_file():
            old = json.loads(path.read_text())
            for key in ("checkpoint", "data_fingerprint"):
                if old.get(key) != record[key]:
                    print(f"replacing {path}, which was of {key} {old.get(key)}")
        write_file(path, json.dumps(record, indent=1) + "\n")


def clean_scores(labels: Tensor, probabilities: Tensor) -> dict[str, Any]:
    """Scores of some test images; None each where there is no image.

    Args:
        labels: `[N]`.
        probabilities: `[N, num_classes]`.
    """
    size = probabilities.shape[1]
    matrix = torch.bincount(labels * size + probabilities.argmax(1), minlength=size**2).view(size, size)
    summary: dict[str, Any] = scores(torch.tensor(torch.nan), matrix).summary()
    del summary["loss"]
    if not len(labels):
        return {**dict.fromkeys([*summary, *PROBABILITY_SCORES]), "images": 0}
    return {**summary, **probability_scores(probabilities, labels), "images": len(labels)}


def _print_table(total: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    table = Table("test", title_justify="left")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row[0], *(f"{value:.4f}" for value in row[1:4]), f"{row[4]:,}")
    table.add_section()
    averages = (total.precision_macro, total.recall_macro, total.f1_macro)
    table.add_row("macro average", *(f"{value:.4f}" for value in averages), f"{sum(total.support):,}")
    table.add_row("accuracy", "", "", f"{total.accuracy:.4f}", "")
    Console().print(table)


def draw_confusion_matrix(matrix: list[list[int]], names: list[str]) -> bytes:
    """A PNG of the matrix: colour is the share of the true class, the text the count."""
    from matplotlib.figure import Figure

    size = max(4.0, 0.75 * len(names) + 1.8)
    figure = Figure((size, size), layout="constrained")
    axes = figure.add_subplot()
    totals = [max(1, sum(row)) for row in matrix]
    shares = [[count / total for count in row] for row, total in zip(matrix, totals, strict=True)]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            colour = "white" if shares[i][j] > 0.5 else "black"
            axes.text(j, i, f"{count}\n{shares[i][j]:.0%}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    return png.getvalue()


def _log_to_wandb(
    logger: WandbLogger, matrix: list[list[int]], names: list[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    import wandb

    # wandb's chart takes one entry a sample; the matrix says how often each pair occurs.
    pairs = [(i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) for _ in range(n)]
    chart = wandb.plot.confusion_matrix(
        y_true=[true for true, _ in pairs], preds=[predicted for _, predicted in pairs], class_names=names
    )
    table = wandb.Table(columns=["class", "precision", "recall", "f1", "images"], data=[list(row) for row in rows])
    scores = {f"test/f1/{row[0]}": row[3] for row in rows}  # numbers, because W&B averages these over seeds, not tables
    logger.experiment.log({"test/per_class": table, "test/confusion_matrix": chart, **scores})
