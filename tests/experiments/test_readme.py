"""What README.md shows is what there is."""

import os
import re
import shlex
from pathlib import Path

import pytest

README = Path("README.md").read_text()


def between(name):
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.S)[1]


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The strategy of the reader's own, in a file that can be imported; gives the line that plans it."""
    text = between("example")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    assert len(code.splitlines()) <= 20
    (tmp_path / "my_strategies.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return shlex.split(re.search(r"^    lightning (.*)$", text, re.M)[1])


def test_the_example_of_a_strategy_is_planned_and_trained(example, lightning, tiny_transfer, tmp_path, capsys):
    lightning(*example)
    shown = capsys.readouterr().out
    assert "bothends: ResNet" in shown
    assert "│ 1/2   │ 0 to 9 " in shown
    lightning("fit", *example[1:], *tiny_transfer, "--trainer.max_epochs", 2)
    assert "phase 2/2 at epoch 1: stem, layer4 join, " in capsys.readouterr().out
    assert (tmp_path / "runs/fer/bothends/seed0/checkpoints/best.ckpt").is_file()


def test_the_plan_is_what_the_command_prints(lightning, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    lightning("plan", "--config", "configs/fer_gradual.yaml")
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.removeprefix("    ") for line in between("plan").splitlines()] == printed


def test_the_explicit_phases_are_accepted(lightning, tmp_path, capsys):
    (tmp_path / "explicit.yaml").write_text(
        "model:\n  init_args:\n    " + re.search(r"```yaml\n(strategy:.*?)```", README, re.S)[1].replace("\n", "\n    ")
    )
    lightning("plan", "--config", "configs/fer_full.yaml", "--config", tmp_path / "explicit.yaml")
    shown = capsys.readouterr().out
    assert "layer3 9e-05" in shown
    assert "adapt" in shown


def test_every_strategy_is_in_the_table():
    import transfer

    for name, value in vars(transfer).items():
        if isinstance(value, type) and issubclass(value, transfer.Strategy) and name != "Strategy":
            assert f"`{name}" in README, name
