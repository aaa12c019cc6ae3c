"""Transfer learning: a timm backbone as ordered stages, and strategies that say which of them learn."""

from transfer.classifier import TransferClassifier
from transfer.stages import Stage, split_into_stages
from transfer.strategies import Frozen, Full, Partial, Phase, Strategy

__all__ = ["Frozen", "Full", "Partial", "Phase", "Stage", "Strategy", "TransferClassifier", "split_into_stages"]
