"""Scores are those of scikit-learn, over whole splits."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from classification.metrics import SplitMetrics, scores

CASES = {
    "all classes": ([0, 1, 2, 3, 1, 2], [0, 2, 2, 3, 1, 1]),
    "absent from both": ([0, 1, 2, 1], [0, 1, 1, 1]),
    "never predicted": ([0, 1, 2, 3, 3], [0, 1, 2, 0, 1]),
    "predicted, never true": ([0, 1, 2, 0], [0, 1, 3, 3]),
    "all wrong": ([0, 1, 2, 3], [1, 2, 3, 0]),
}


def sklearn_scores(labels, predictions, classes):
    options = {"labels": range(classes), "zero_division": 0}
    macro = precision_recall_fscore_support(labels, predictions, average="macro", **options)[:3]
    each = precision_recall_fscore_support(labels, predictions, average=None, **options)
    return accuracy_score(labels, predictions), macro, each


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_scikit_learn(case):
    labels, predictions = CASES[case]
    ours = scores(torch.tensor(0.0), torch.tensor(confusion_matrix(labels, predictions, labels=range(4))))
    accuracy, macro, each = sklearn_scores(labels, predictions, 4)
    assert ours.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert (ours.precision_macro, ours.recall_macro, ours.f1_macro) == pytest.approx(macro, abs=1e-12)
    for own, theirs in zip((ours.precision, ours.recall, ours.f1, ours.support), each, strict=True):
        assert own == pytest.approx(theirs.tolist(), abs=1e-12)


def test_uneven_batches_give_the_scores_of_the_whole_split():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(103, 7)), dtype=torch.float32)
    labels = torch.tensor(rng.choice(7, 103, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.02]))
    metrics = SplitMetrics(7)
    for part in torch.arange(103).split(32):
        loss = torch.nn.functional.cross_entropy(logits[part], labels[part])
        metrics.update(loss, logits[part], labels[part])
    ours = scores(*metrics.compute())
    _, macro, _ = sklearn_scores(labels, logits.argmax(1), 7)
    assert ours.f1_macro == pytest.approx(macro[2], abs=1e-12)
    assert ours.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert sum(ours.support) == 103


def test_a_loss_that_is_not_a_number_is_not_averaged_away():
    metrics = SplitMetrics(3)
    for loss in (1.0, float("nan"), 2.0):
        metrics.update(torch.tensor(loss), torch.eye(3), torch.arange(3))
    assert metrics.compute()[0].isnan()
