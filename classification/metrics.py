"""One confusion matrix a split is the single source of every score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(frozen=True)
class Scores:
    """The scores of one split; scores of single classes are lists in class order."""

    loss: float
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision: list[float]
    recall: list[float]
    f1: list[float]
    support: list[int]
    confusion_matrix: list[list[int]]

    def summary(self) -> dict[str, float]:
        """The numbers that are logged every epoch."""
        logged = ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro")
        return {name: getattr(self, name) for name in logged}

    def by_class(self, names: Sequence[str]) -> list[tuple[str, float, float, float, int]]:
        """Name, precision, recall, F1 and number of images of every class.

        Args:
            names: Names of the classes in label order.
        """
        return list(zip(names, self.precision, self.recall, self.f1, self.support, strict=True))


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts `[num_classes, num_classes]`: a row is a true class, a column a predicted one.

    Nothing waits for the device, as torch.bincount would.

    Args:
        labels: True classes `[N]`.
        predicted: Predicted classes `[N]`.
        num_classes: Number of classes.
    """
    cells = labels.long() * num_classes + predicted
    counts = torch.zeros(num_classes * num_classes, dtype=torch.long, device=cells.device)
    return counts.scatter_add_(0, cells, torch.ones_like(cells)).view(num_classes, num_classes)


def scores(loss: Tensor, matrix: Tensor) -> Scores:
    """Derive all scores from a confusion matrix.

    Equal to scikit-learn with ``labels=range(num_classes), zero_division=0``: a class that occurs in neither targets
    nor predictions counts as 0 in the macro averages. torchmetrics' own macro scores leave such a class out, so that
    a score there depends on which classes the split happens to hold.

    Args:
        loss: Mean loss an image `[]`, passed on.
        matrix: A confusion matrix `[num_classes, num_classes]`.
    """
    matrix = matrix.cpu().double()
    hits = matrix.diag()
    support = matrix.sum(1)
    predicted = matrix.sum(0)
    precision = hits / predicted.clamp(min=1)
    recall = hits / support.clamp(min=1)
    f1 = 2 * hits / (support + predicted).clamp(min=1)
    return Scores(
        loss=loss.item(),
        accuracy=(hits.sum() / matrix.sum().clamp(min=1)).item(),
        precision_macro=precision.mean().item(),
        recall_macro=recall.mean().item(),
        f1_macro=f1.mean().item(),
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        support=support.long().tolist(),
        confusion_matrix=matrix.long().tolist(),
    )


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, over 15 equal bins of confidence.

    Args:
        probabilities: Predicted probabilities `[N, num_classes]`.
        labels: True classes `[N]`.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=15, norm="l1").item()


# A test records each of these under its name; results/<study>.json has it, and a column of results/tables.py shows it.
PROBABILITY_SCORES: Mapping[str, Callable[[Tensor, Tensor], float]] = {"ece": calibration_error}


def probability_scores(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute by name the scores that need more than a confusion matrix.

    Args:
        probabilities: Predicted probabilities `[N, num_classes]`.
        labels: True classes `[N]`.
    """
    return {name: score(probabilities, labels) for name, score in PROBABILITY_SCORES.items()}


class SplitMetrics(Metric):
    """Loss and confusion matrix of one split, summed over batches and over ranks.

    Both are sums until `compute`, so the result does not depend on the size of the batches or on the number of
    processes. A mean of macro-F1 over batches or ranks would: for 7 classes at batch 32 it is 0.695 instead of 0.737.
    The sum of losses is kept in float64, where adding float32 losses is exact: a run resumed in mid-epoch, whose sums
    were added over the ranks before the kill, gives the same last digit. `update` never waits for the device, and a
    loss that is not a number stays one. torchmetrics' MeanMetric and MulticlassConfusionMatrix synchronise in every
    step, and MeanMetric drops such a batch from the mean.
    """

    full_state_update = False
    loss_sum: Tensor
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        exact = torch.float32 if torch.backends.mps.is_available() else torch.float64  # MPS has no float64
        self.add_state("loss_sum", torch.zeros((), dtype=exact), dist_reduce_fx="sum")
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one batch: its mean loss `[]`, logits `[B, num_classes]` and labels `[B]`."""
        self.loss_sum += loss.detach().to(self.loss_sum.dtype) * len(labels)
        self.matrix += confusion_matrix(labels, logits.detach().argmax(1), len(self.matrix))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean loss an image `[]` and the confusion matrix `[num_classes, num_classes]`, over all ranks."""
        return self.loss_sum / self.matrix.sum(), self.matrix
