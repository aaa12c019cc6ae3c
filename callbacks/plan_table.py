"""The plan of a run as a table."""

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
    """The phases, a row each: stages that learn, learning rates, and cost.

    Args:
        classifier: Classifier with phases.
        ends: First epoch after each phase, at the latest.
    """
    stages = list(classifier.stages())
    total = numel(classifier.network.parameters())
    title = f"{classifier.strategy_name}: {type(classifier.network).__name__}, {total:,} parameters"
    table = Table("phase", "epochs", title=title, title_justify="left", show_lines=len(ends) > 1)
    table.caption = "cost: operations of a step, where one in which everything learns has 100%"
    table.add_column("learning rate")
    for column in ("trainable", "frozen BN", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    begin = 0
    total_cost = 0.0
    rows = zip(classifier.phases, ends, classifier.relative_costs(), strict=False)  # a try has one end
    for number, (phase, end, cost) in enumerate(rows, 1):
        epochs = _span(begin, end, any(earlier.patience for earlier in classifier.phases[:number]))
        rates = _by_rate({name: classifier.lr * factor for name, factor in phase.factors(stages).items()})
        rates += "\nat most (AutoRGN)" if phase.auto_rgn else ""
        trainable = f"{numel(classifier.learning_parameters(phase)):,}"
        batch_norm = classifier.shown_batch_norm(phase)
        table.add_row(f"{number}/{len(ends)}", epochs, rates, trainable, batch_norm, f"{cost:.0%}")
        total_cost += cost * (end - begin)
        begin = end
    if len(ends) > 1:
        known = not any(phase.patience for phase in classifier.phases)
        table.add_row("all", f"{ends[-1]}", "", "", "", f"{total_cost / ends[-1]:.0%}" if known else "-")
    return table


def _span(begin: int, end: int, open_ended: bool) -> str:
    """Epochs of a phase; if a plateau may end it, only the last possible epoch is known."""
    if open_ended:
        return f"to {end - 1} at most"
    return f"{begin} to {end - 1}" if end - begin > 1 else f"{begin}"


def _by_rate(rates: Mapping[str, float]) -> str:
    """Stages that learn, head first, neighbours with one rate together: `head 0.001`, `layer3 to layer4 0.0001`."""
    lines = []
    for rate, same in groupby(reversed(list(rates.items())), key=lambda item: item[1]):
        names = [name for name, _ in same]
        if rate:
            lines.append(f"{names[-1]} to {names[0]} {rate:.3g}" if len(names) > 1 else f"{names[0]} {rate:.3g}")
    return "\n".join(lines)
