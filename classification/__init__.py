"""What every classifier shares: the base LightningModule and its metrics."""

from classification.classifier import Batch, Classifier
from classification.metrics import Scores, scores

__all__ = ["Batch", "Classifier", "Scores", "scores"]
