"""What arms of a table share: epochs, optimizer steps or operations; and how many learning rates each may try."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

from basics.errors import stop
from experiments.cli.messages import user_mistake
from experiments.table.asked import look_up

Budget = Literal["epochs", "steps", "cost"]
REFERENCE = "full"
LR_FACTOR = 3.0  # between neighbouring learning rates of a trial


@dataclass(frozen=True)
class Arm:
    """A strategy's phases, and what a training step costs in each.

    Args:
        phases: In order.
        shares: Operations of a step, where one in which everything learns has 1 (transfer/cost.py).
    """

    phases: Sequence[Any]
    shares: Sequence[float]

    def cost(self, epochs: int) -> float:
        """Operations of training on an image of every epoch, in epochs in which everything learns.

        Of phases that wait for a plateau each lasts as long as it may.

        Args:
            epochs: Of the run.
        """
        from classification import phase_ends

        ends = phase_ends(self.phases, epochs)
        return sum(
            share * (last - first) for share, first, last in zip(self.shares, [0, *ends[:-1]], ends, strict=True)
        )


def read_arm(options: Sequence[str]) -> Arm:
    """Ask the command line what an arm's phases are; nothing is loaded or trained.

    So every mistake in an option stops the table before its first run.

    Args:
        options: Of `lightning fit`.
    """
    from experiments.cli.commands import CLI
    from experiments.cli.entry import quieten

    quieten()
    try:
        with redirect_stdout(io.StringIO()):
            cli = CLI(["plan", *options])
    except Exception as error:
        if mistake := user_mistake(error):
            stop(str(mistake))
        raise
    return Arm(cli.model.phases, cli.model.relative_costs())


def check_budget(budget: Budget, wanted: Mapping[str, Mapping[str, Any]]) -> int:
    """The epochs or steps that all arms have; under `cost` the epochs of the reference.

    Args:
        budget: What is shared.
        wanted: By strategy, what is asked for.
    """
    key = "trainer.max_steps" if budget == "steps" else "trainer.max_epochs"
    given = {strategy: look_up(tree, key) for strategy, tree in wanted.items()}
    if budget == "cost":
        if REFERENCE not in given:
            stop(f"--budget cost counts in epochs of the arm {REFERENCE}: add it to --strategies")
        given = {REFERENCE: given[REFERENCE]}
    values = set(given.values())
    number = next(iter(values))
    if len(values) > 1:
        arms = ", ".join(f"{strategy} has {value}" for strategy, value in given.items())
        stop(f"--budget {budget}: {arms}: give all arms the same, with -- --{key} N")
    if not isinstance(number, int) or number < 1:
        stop(f"--budget {budget} needs {key}: give it, with -- --{key} N")
    return number


def epochs_at_cost(arm: Arm, cost: float) -> int:
    """Epochs with which an arm comes nearest to a cost, at most half an epoch of full training above it.

    Args:
        arm: With its phases.
        cost: In epochs in which everything learns.
    """
    most = round((cost + 1) / min(arm.shares))
    costs = {epochs: arm.cost(epochs) for epochs in range(len(arm.phases), most + 1) if _fits(arm, epochs)}
    affordable = {epochs: own for epochs, own in costs.items() if own <= cost + 0.5}
    if not affordable:
        stop(f"--budget cost: {len(arm.phases)} phases do not fit into {cost:g} epochs: raise trainer.max_epochs")
    return min(affordable, key=lambda epochs: (abs(affordable[epochs] - cost), epochs))


def _fits(arm: Arm, epochs: int) -> bool:
    """Whether phases that end at an epoch of their own leave one to each of the others."""
    return all(phase.until is None or phase.until < 1 or phase.until < epochs for phase in arm.phases)


def learning_rates(lr: float, trials: int) -> list[str]:
    """So many values around a learning rate, each three times the one before, as they are typed.

    Args:
        lr: The config's.
        trials: How many; 3 gives a third of it, itself and three times it.
    """
    return [f"{lr * LR_FACTOR ** (place - (trials - 1) / 2):.3g}" for place in range(trials)]
