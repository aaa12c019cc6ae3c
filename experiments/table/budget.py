"""The budget that arms of a table share: epochs, optimizer steps or operations; trials of learning rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from basics.errors import one_line_mistakes, stop
from experiments.configs import Config, look_up, replaced

Budget = Literal["epochs", "steps", "cost"]
REFERENCE = "full"
LR_FACTOR = 3.0  # between neighbouring learning rates of a trial
NOMINAL_EPOCHS = 20  # of a run that is limited by steps: plans count in epochs


@dataclass(frozen=True)
class ArmCost:
    """Phases of an arm, and what a training step costs in each.

    Attributes:
        phases: Phases in order.
        costs: Operations of a step in each phase, relative to a step in which everything learns.
    """

    phases: Sequence[Any]
    costs: Sequence[float]

    def total(self, epochs: int) -> float:
        """Cost of a run, in epochs in which everything learns; a phase that waits for a plateau lasts its longest.

        Args:
            epochs: Epochs of the run.
        """
        from classification import phase_ends

        ends = phase_ends(self.phases, epochs)
        begins = [0, *ends[:-1]]
        return sum(cost * (end - begin) for cost, begin, end in zip(self.costs, begins, ends, strict=True))


def read_arm(options: Sequence[str]) -> tuple[dict[str, Any], ArmCost]:
    """Ask the command line for the values and the phases of an arm; nothing is loaded or trained.

    So every mistake in an option stops the table before its first run.

    Args:
        options: Options of `lightning fit`.

    Returns:
        The resolved config and the cost of the arm.
    """
    from experiments.cli.commands import Resolved
    from experiments.cli.entry import quieten

    quieten()
    with one_line_mistakes():
        cli = Resolved(["plan", *options])
    return cli.resolved, ArmCost(cli.model.phases, cli.model.relative_costs())


def shared_number(budget: Budget, configs: Mapping[str, Config]) -> int:
    """Epochs or steps that all arms have; under `cost` the epochs of the reference.

    Args:
        budget: What the arms share.
        configs: Resolved config by arm.
    """
    key = "trainer.max_steps" if budget == "steps" else "trainer.max_epochs"
    given = {arm: look_up(config, key) for arm, config in configs.items()}
    if budget == "cost":
        if REFERENCE not in given:
            stop(f"--budget cost counts in epochs of the arm {REFERENCE}: add it to --strategies")
        given = {REFERENCE: given[REFERENCE]}
    number, *others = set(given.values())
    if others:
        arms = ", ".join(f"{arm} has {value}" for arm, value in given.items())
        stop(f"--budget {budget}: {arms}: give all arms the same, with -- --{key} N")
    if not isinstance(number, int) or number < 1:
        stop(f"--budget {budget} needs {key}: give it, with -- --{key} N")
    return number


def within_budget(
    budget: Budget, configs: Mapping[str, dict[str, Any]], costs: Mapping[str, ArmCost]
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Give every arm the length that the budget leaves it.

    Args:
        budget: What the arms share.
        configs: Resolved config by arm.
        costs: Phases and costs by arm.

    Returns:
        By arm, the config with that length, and the cost of a run in epochs in which everything learns.
    """
    number = shared_number(budget, configs)
    lengths: dict[str, dict[str, Any]] = {}
    totals: dict[str, float] = {}
    for arm, config in configs.items():
        epochs = look_up(config, "trainer.max_epochs")
        if budget == "cost":
            epochs = number if arm == REFERENCE else epochs_at_cost(costs[arm], number)
        elif budget == "steps" and not (isinstance(epochs, int) and epochs > 0):
            epochs = NOMINAL_EPOCHS
        # Epochs must not end a run before its steps.
        lengths[arm] = replaced(config, "trainer.max_epochs", -1 if budget == "steps" else epochs)
        totals[arm] = costs[arm].total(epochs)
    return lengths, totals


def epochs_at_cost(arm: ArmCost, cost: float) -> int:
    """Epochs with which an arm comes nearest to a cost, at most half an epoch of full training above it.

    Args:
        arm: Phases and costs of the arm.
        cost: Cost in epochs in which everything learns.
    """
    most = round((cost + 1) / min(arm.costs))
    totals = {epochs: arm.total(epochs) for epochs in range(len(arm.phases), most + 1) if _fits(arm, epochs)}
    affordable = {epochs: own for epochs, own in totals.items() if own <= cost + 0.5}
    if not affordable:
        stop(f"--budget cost: {len(arm.phases)} phases do not fit into {cost:g} epochs: raise trainer.max_epochs")
    return min(affordable, key=lambda epochs: (abs(affordable[epochs] - cost), epochs))


def _fits(arm: ArmCost, epochs: int) -> bool:
    """True if phases that end at an epoch of their own leave one to each of the others."""
    return all(phase.until is None or phase.until < 1 or phase.until < epochs for phase in arm.phases)


def learning_rates(lr: float, trials: int) -> list[str]:
    """Learning rates around a given one, each three times the one before, as they are typed.

    Args:
        lr: Learning rate of the config.
        trials: Number of rates; 3 gives a third of it, itself and three times it.
    """
    return [f"{lr * LR_FACTOR ** (index - (trials - 1) / 2):.3g}" for index in range(trials)]
