from pathlib import Path
from typing import Any

import lightning.pytorch as L

from basics.files import write_csv
from callbacks.gather import GatheringCallback


class PredictionWriter(GatheringCallback):
    """Writes predictions.csv: image, predicted class, probability of every class; in the order of the split.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather those of all ranks and write the file (rank 0)."""
        found = self.gathered(trainer)
        if found is None:
            return
        classes: list[str] = pl_module.class_names  # type: ignore[assignment]
        loader: Any = trainer.predict_dataloaders
        names = loader.dataset.split.names
        rows = (
            [names[i], classes[p.argmax()], *(f"{value:.6f}" for value in p.tolist())]
            for i, p in zip(found["index"].tolist(), found["probabilities"], strict=True)
        )
        write_csv(self.path, ["image", "predicted", *classes], rows)
        print(f"wrote {self.path} ({len(found['index']):,} images)")
