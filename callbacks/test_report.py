import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table

from callbacks.files import is_dev_run, write_atomically
from callbacks.phases import PhaseCallback, numel


class TestReport(Callback):
    """After `test`: a table on the terminal, metrics.json, confusion_matrix.png, and both in W&B.

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
        scores, names = classifier.scores, classifier.class_names
        if not trainer.is_global_zero or scores is None:
            return
        rows = list(zip(names, scores.precision, scores.recall, scores.f1, scores.support, strict=True))
        _print_table(scores, rows)
        limit = trainer.limit_test_batches
        if is_dev_run(trainer) or not (isinstance(limit, float) and limit == 1.0):
            print("a part of the test split only: nothing is written")
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        expected, evaluated = len(data.splits["test"]), sum(scores.support)
        if evaluated != expected:
            raise RuntimeError(f"evaluated {evaluated} images of a test split of {expected}")
        per_class = {name: {"precision": p, "recall": r, "f1": f, "support": n} for name, p, r, f, n in rows}
        learning = {p for phase in classifier.phases for p in classifier.learning_parameters(phase)}
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        phases = [callback.history for callback in callbacks if isinstance(callback, PhaseCallback)]
        record = {
            **self.provenance,
            "parameters": numel(classifier.network.parameters()),
            "trainable_parameters": numel(learning),
            "phases": phases[0] if phases else [],  # up to the epoch of the checkpoint
            "test": {**scores.summary(), "images": evaluated},
            "per_class": per_class,
            "confusion_matrix": scores.confusion_matrix,
            "data_fingerprint": data.fingerprint,
        }
        self._replace_metrics(record)
        write_atomically(self.folder / "confusion_matrix.png", draw_confusion_matrix(scores.confusion_matrix, names))
        print(f"wrote {self.folder / 'metrics.json'} and confusion_matrix.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, scores.confusion_matrix, names, rows)

    def _replace_metrics(self, record: Mapping[str, Any]) -> None:
        """Write metrics.json, and say so where that replaces the scores of another checkpoint or another test set."""
        path = self.folder / "metrics.json"
        if path.is_file():
            old = json.loads(path.read_text())
            for key in ("checkpoint", "data_fingerprint"):
                if old.get(key) != record[key]:
                    print(f"replacing {path}, which was of {key} {old.get(key)}")
        write_atomically(path, json.dumps(record, indent=1) + "\n")


def _print_table(scores: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    table = Table("test", title_justify="left")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row[0], *(f"{value:.4f}" for value in row[1:4]), f"{row[4]:,}")
    table.add_section()
    averages = (scores.precision_macro, scores.recall_macro, scores.f1_macro)
    table.add_row("macro average", *(f"{value:.4f}" for value in averages), f"{sum(scores.support):,}")
    table.add_row("accuracy", "", "", f"{scores.accuracy:.4f}", "")
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
    logger.experiment.log({"test/per_class": table, "test/confusion_matrix": chart})
