"""configs/sweeps: what `wandb agent` would run is a command line that the parser takes."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from basics.names import MONITOR
from experiments.cli import main

SWEEPS = sorted(Path("configs/sweeps").glob("*.yaml"))
TRIAL = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "trial1"}  # what the agent sets for each trial


def typed(sweep, values, folder, **trial):
    """What the project's command line gets of a trial: wandb fills in the command, and a real `sh` runs it."""
    from wandb.sdk.launch.sweeps import utils

    flags = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})["args"]
    command = []
    for word in utils.create_sweep_command(sweep["command"]):  # as wandb.wandb_agent.Agent._command_run does it
        command += flags if word == "${args}" else [word]
    python = folder / "python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"")
    python.chmod(0o755)
    env = {**os.environ, **TRIAL, **trial, "PATH": f"{folder}:{os.environ['PATH']}"}
    words = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[:3] == ["-m", "experiments.cli", "fit"]
    return words[2:]


def parsed(args, capsys):
    """The values that the real parser makes of a command line, which is not run."""
    with pytest.raises(SystemExit) as ended:
        main([*args, "--print_config"])
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    return yaml.safe_load(said.out)


def value_at(config, key):
    section, _, name = key.partition(".")
    return config["model"]["init_args"][name] if section == "model" else config[section][name]


@pytest.mark.parametrize("end", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_key_is_one_of_the_command_line(path, end, tmp_path, capsys):
    sweep = yaml.safe_load(path.read_text())
    values = {key: sweep["parameters"][key]["values"][end] for key in sorted(sweep["parameters"])}
    config = parsed(typed(sweep, values, tmp_path), capsys)
    for key in values.keys() - {"config"}:
        assert value_at(config, key) == values[key], key
    assert config["run"]["root"] == "runs/sweeps/sweep1/trial1"


def test_a_key_that_the_command_line_does_not_have_is_found(tmp_path, fails):
    sweep = yaml.safe_load(Path("configs/sweeps/fashion.yaml").read_text())
    assert "did you mean lr?" in fails(*typed(sweep, {"model.lrr": 0.1}, tmp_path))


def test_trials_have_folders_of_their_own(tmp_path):
    sweep = yaml.safe_load(Path("configs/sweeps/fer_lr.yaml").read_text())
    ids = itertools.product(("s1", "s2"), ("t1", "t2"))
    roots = {typed(sweep, {}, tmp_path, WANDB_SWEEP_ID=s, WANDB_RUN_ID=t)[-1] for s, t in ids}
    assert len(roots) == 4


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_chooses_on_validation_with_as_many_trials_for_each_arm(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": MONITOR, "goal": "maximize"}
    assert sweep["method"] == "grid"
    study = path.stem.removesuffix("_lr")
    arms = sweep["parameters"].get("config", {}).get("values", [])
    assert {Path(arm) for arm in arms} == (
        set() if study == "fashion" else set(Path("configs").glob(f"{study}_*.yaml"))
    )
