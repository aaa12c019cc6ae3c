"""How a training ended, as `fit` says it itself in the run's folder: nobody has to read its log."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from basics.files import write_json

Ending = Literal["finished", "stopped early", "signal", "error", "diverged"]


@dataclass(frozen=True)
class FitEnd:
    """The content of fit.json.

    Attributes:
        ending: finished: all planned epochs or steps were trained. stopped early: training ended well before them, for
            example by EarlyStopping. signal, error: it was interrupted and can be resumed. diverged: the last training
            loss is not a finite number.
        epoch: Number of epochs trained.
        epochs: Number of epochs planned; None if the run was limited by steps alone.
        reason: Name of the signal, or type and message of the error; else empty.
    """

    ending: Ending
    epoch: int
    epochs: int | None
    reason: str = ""

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "FitEnd | None":
        """Read the file; None if there is none, because training has not ended or was killed."""
        return cls(**json.loads(path.read_text())) if path.is_file() else None
