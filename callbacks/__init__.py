"""What happens around the training: phases, the records of a run, predictions."""

from callbacks.epoch_table import EpochTable
from callbacks.phases import PhaseCallback
from callbacks.predictions import PredictionWriter
from callbacks.provenance import Provenance
from callbacks.stage_table import StageTable
from callbacks.test_report import TestReport

__all__ = ["EpochTable", "PhaseCallback", "PredictionWriter", "Provenance", "StageTable", "TestReport"]
