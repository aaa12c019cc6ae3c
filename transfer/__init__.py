"""Transfer learning: a timm backbone as ordered stages, and strategies that say which of them learn."""

from classification import Phase
from transfer.classifier import TransferClassifier
from transfer.stages import Stage, split_into_stages
from transfer.strategies import (
    LPFT,
    AutoRGN,
    BottomUp,
    Explicit,
    Frozen,
    Full,
    Gradual,
    GradualOnPlateau,
    LayerDecay,
    Partial,
    SlidingWindow,
    Strategy,
    Surgical,
)

__all__ = [
    "LPFT",
    "AutoRGN",
    "BottomUp",
    "Explicit",
    "Frozen",
    "Full",
    "Gradual",
    "GradualOnPlateau",
    "LayerDecay",
    "Partial",
    "Phase",
    "SlidingWindow",
    "Stage",
    "Strategy",
    "Surgical",
    "TransferClassifier",
    "split_into_stages",
]
