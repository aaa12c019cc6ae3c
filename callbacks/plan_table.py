from collections.abc import Mapping
from itertools import groupby

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from callbacks.files import is_dev_run
from callbacks.phases import numel
from classification import Classifier


class PlanTable(Callback):
    """Prints the plan when training starts."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the table (rank 0)."""
        assert isinstance(pl_module, Classifier)
        if trainer.is_global_zero:
            ends = pl_module.phase_ends()
            Console().print(plan_table(pl_module, ends[:1] if is_dev_run(trainer) else ends))


def plan_table(classifier: Classifier, ends: list[int]) -> Table:
    """What learns when, how fast, and at what cost: a row a phase.

    Args:
        classifier: With its phases.
        ends: First epoch after each of them, at the latest.
    """
    stages, shares = classifier.stages(), classifier.training_shares()
    total = numel(classifier.network.parameters())
    title = f"{classifier.strategy_name}: {type(classifier.network).__name__}, {total:,} parameters"
    table = Table("phase", "epochs", title=title, title_justify="left", show_lines=len(ends) > 1)
    table.caption = "cost: operations of a step, where one in which everything learns has 100%"
    table.add_column("learning rate")
    for column in ("trainable", "frozen BN", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    begin, cost = 0, 0.0
    for number, (phase, end, share) in enumerate(zip(classifier.phases, ends, shares, strict=False), 1):
        rates = {name: classifier.lr * factor for name, factor in phase.factors(list(stages)).items()}
        table.add_row(
            f"{number}/{len(ends)}",
            _span(begin, end, any(earlier.patience for earlier in classifier.phases[:number])),
            _by_rate(rates) + ("\nat most (AutoRGN)" if phase.auto_rgn else ""),
            f"{numel(classifier.learning_parameters(phase)):,}",
            classifier.shown_batch_norm(phase),
            f"{share:.0%}",
        )
        begin, cost = end, cost + share * (end - begin)
    if len(ends) > 1:
        known = not any(phase.patience for phase in classifier.phases)
        table.add_row("all", f"{ends[-1]}", "", "", "", f"{cost / ends[-1]:.0%}" if known else "-")
    return table


def _span(begin: int, end: int, open_ended: bool) -> str:
    """Epochs of a phase; after a plateau only the last that they can be is known."""
    if open_ended:
        return f"to {end - 1} at most"
    return f"{begin} to {end - 1}" if end - begin > 1 else f"{begin}"


def _by_rate(rates: Mapping[str, float]) -> str:
    """What learns, head first, neighbours with one rate together: `head 0.001`, `layer3 to layer4 0.0001`."""
    lines = []
    for rate, same in groupby(reversed(list(rates.items())), key=lambda item: item[1]):
        names = [name for name, _ in same]
        if rate:
            lines.append(f"{names[-1]} to {names[0]} {rate:.3g}" if len(names) > 1 else f"{names[0]} {rate:.3g}")
    return "\n".join(lines)
