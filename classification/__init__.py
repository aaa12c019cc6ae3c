"""What every classifier shares: the base LightningModule, phases and their schedules, metrics."""

from classification.classifier import Batch, Classifier
from classification.metrics import Scores, scores
from classification.phased import PhasedModule
from classification.phases import Phase, check_phases, phase_ends
from classification.schedules import MONITOR

__all__ = ["MONITOR", "Batch", "Classifier", "Phase", "PhasedModule", "Scores", "check_phases", "phase_ends", "scores"]
