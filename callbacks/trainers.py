"""Lightning's trainer does not say which attributes it has; these are the ones we read, with their types."""

from typing import Any

import lightning.pytorch as L

from datamodules import ImageDataModule


def image_data(trainer: L.Trainer) -> ImageDataModule | None:
    """The data module of the present run; None if the run has none, or one that is not of this project."""
    data: Any = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ImageDataModule) else None
