"""The common base of all classifiers: the LightningModule, phases and their schedules, metrics."""

from classification.classifier import Batch, Classifier
from classification.frozen_part import FrozenPart
from classification.metrics import Scores, scores
from classification.phased import PhasedModule
from classification.phases import Phase, check_phases, phase_ends

__all__ = [
    "Batch",
    "Classifier",
    "FrozenPart",
    "Phase",
    "PhasedModule",
    "Scores",
    "check_phases",
    "phase_ends",
    "scores",
]
