"""Callbacks around the training: phases, the records of a run, predictions."""

from callbacks.auto_rgn import AutoRGNCallback
from callbacks.cost_ledger import CostLedger
from callbacks.diagnostics import StageDiagnostics
from callbacks.epoch_table import EpochTable
from callbacks.fit_ending import FitEnding
from callbacks.phases import PhaseCallback
from callbacks.plan_table import PlanTable, plan_table
from callbacks.predictions import PredictionWriter
from callbacks.provenance import Provenance
from callbacks.step_checkpoint import StepCheckpoint
from callbacks.test_report import TestReport
from callbacks.training import training_callbacks

__all__ = [
    "AutoRGNCallback",
    "CostLedger",
    "EpochTable",
    "FitEnding",
    "PhaseCallback",
    "PlanTable",
    "PredictionWriter",
    "Provenance",
    "StageDiagnostics",
    "StepCheckpoint",
    "TestReport",
    "plan_table",
    "training_callbacks",
]
