import pytest

from classification import Phase
from experiments.table.budget import ArmCost, epochs_at_cost, learning_rates, read_arm, shared_number

HEAD, ALL = Phase({"head": 1.0}, until=0.2), Phase({"head": 1.0, "body": 0.1})


def test_cost_of_phases_by_hand():
    """10 epochs, a fifth of them the head's: 2 at 0.25 and 8 at 1."""
    assert ArmCost([HEAD, ALL], [0.25, 1.0]).total(10) == pytest.approx(2 * 0.25 + 8 * 1.0)


@pytest.mark.parametrize(
    ("phases", "costs", "cost", "epochs"),
    [
        ([ALL], [1.0], 10, 10),
        ([ALL], [0.4], 10, 25),
        ([ALL], [0.3], 10, 33),  # 9.9; 34 would be 10.2
        ([ALL], [0.7], 10, 14),  # 9.8; 15 would be 10.5
        ([ALL], [0.6], 1, 2),  # 1.2 is nearer than 0.6
        ([HEAD, ALL], [0.25, 1.0], 10, 11),  # 2 x 0.25 + 9 = 9.5; 12 is as near, and dearer
        ([Phase({"head": 1.0}, until=3), ALL], [0.1, 1.0], 2, 5),  # 3 x 0.1 + 2 = 2.3; 4: 1.3
    ],
)
def test_epochs_at_the_cost_of_the_reference(phases, costs, cost, epochs):
    assert epochs_at_cost(ArmCost(phases, costs), cost) == epochs


def test_phases_that_cost_more_than_the_reference_are_refused(capsys):
    with pytest.raises(SystemExit):
        epochs_at_cost(ArmCost([Phase({"head": 1.0}, until=3), ALL], [0.4, 1.0]), 1)  # 4 epochs cost 2.2
    assert "2 phases do not fit into 1 epochs: raise trainer.max_epochs" in capsys.readouterr().err


def test_an_arm_is_read_through_the_command_line(lightning, fails):
    config, arm = read_arm(["--config", "configs/fer_lpft.yaml"])
    assert [phase.until for phase in arm.phases] == [0.2, None]
    assert arm.costs[1] == 1.0
    assert config["data"]["class_path"] == "datamodules.FER2013"
    assert arm.total(20) == pytest.approx(4 * arm.costs[0] + 16)
    assert epochs_at_cost(arm, 20) > 20


def test_what_arms_share():
    trees = {"frozen": {"trainer": {"max_epochs": 5}}, "full": {"trainer": {"max_epochs": 5}}}
    assert shared_number("epochs", trees) == 5
    trees["frozen"]["trainer"] = {"max_epochs": 7, "max_steps": 100}
    assert shared_number("cost", trees) == 5
    trees["full"]["trainer"]["max_steps"] = 100
    assert shared_number("steps", trees) == 100


@pytest.mark.parametrize(
    ("budget", "trees", "line"),
    [
        ("epochs", {"a": {"trainer": {"max_epochs": 5}}, "b": {"trainer": {"max_epochs": 6}}}, "a has 5, b has 6"),
        ("steps", {"a": {"trainer": {"max_epochs": 5}}}, "--budget steps needs trainer.max_steps: give it"),
        ("cost", {"a": {"trainer": {"max_epochs": 5}}}, "counts in epochs of the arm full: add it"),
    ],
)
def test_arms_that_share_nothing_are_refused(budget, trees, line, capsys):
    with pytest.raises(SystemExit) as stopped:
        shared_number(budget, trees)
    assert stopped.value.code == 2
    assert line in capsys.readouterr().err


def test_learning_rates_are_three_times_each_other():
    assert learning_rates(0.003, 3) == ["0.001", "0.003", "0.009"]
    assert learning_rates(0.001, 2) == ["0.000577", "0.00173"]
    assert learning_rates(0.001, 0) == []
