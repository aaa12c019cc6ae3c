"""The file that `lightning predict` leaves."""

from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L

from basics.files import write_csv
from callbacks.gather import GatheringCallback
from classification import Classifier


class PredictionWriter(GatheringCallback):
    """Writes predictions.csv: image, predicted class, probability of every class; in the order of the split.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the predictions of all ranks and write the file (rank 0)."""
        found = self.gathered(trainer)
        if found is None:
            return
        classes = cast(Classifier, pl_module).class_names
        names = cast(Any, trainer.predict_dataloaders).dataset.split.names
        rows = (
            [names[index], classes[values.argmax()], *(f"{value:.6f}" for value in values.tolist())]
            for index, values in zip(found["index"].tolist(), found["probabilities"], strict=True)
        )
        write_csv(self.path, ["image", "predicted", *classes], rows)
        print(f"wrote {self.path} ({len(found['index']):,} images)")
