"""The record of a run inside its checkpoints."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import Callback


class Provenance(Callback):
    """Keeps in every checkpoint the names of its run, and the commit and versions it was trained with.

    Args:
        record: Study, strategy, seed, fold, git commit, versions.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    def state_dict(self) -> dict[str, Any]:
        """The record."""
        return self.record
