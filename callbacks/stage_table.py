from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table


class StageTable(Callback):
    """Prints, when training starts, every stage with its parameters, how many of them train, and its learning rate."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the table (rank 0)."""
        if not trainer.is_global_zero:
            return
        classifier: Any = pl_module
        table = Table(
            "stage", title=f"{classifier.strategy_name}: {type(classifier.network).__name__}", title_justify="left"
        )
        for column in ("parameters", "trainable", "learning rate"):
            table.add_column(column, justify="right")
        rates, sums = classifier.learning_rates(), [0, 0]
        for name, parameters in classifier.stages().items():
            size = sum(parameter.numel() for parameter in parameters)
            trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
            table.add_row(name, f"{size:,}", f"{trainable:,}", f"{rates[name]:.2g}" if trainable else "frozen")
            sums = [sums[0] + size, sums[1] + trainable]
        table.add_section()
        table.add_row("all", f"{sums[0]:,}", f"{sums[1]:,}")
        Console().print(table)
