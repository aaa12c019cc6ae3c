"""The command of a table, with runs that are made in milliseconds (fake_lightning.py)."""

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from classification import Phase
from experiments.table import __main__ as table
from experiments.table import budget, cells
from experiments.table.budget import ArmCost
from tests.experiments.table.plain import plain_config

ROOT = Path(__file__).parents[3]


@pytest.fixture
def written(monkeypatch):
    """What the table gives to the statistics."""
    calls = []
    module = types.ModuleType("experiments.results.write")
    module.write = lambda *args: calls.append(args)
    monkeypatch.setitem(sys.modules, "experiments.results.write", module)
    return calls


@pytest.fixture
def run(monkeypatch, tmp_path, capsys, written):
    """A table of frozen and full; gives its exit code and what it printed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cells, "LIGHTNING", (sys.executable, str(Path(__file__).with_name("fake_lightning.py"))))
    monkeypatch.setattr(
        budget,
        "read_arm",
        lambda options: (
            plain_config(options),
            ArmCost([Phase({"head": 1.0})], [0.5 if "frozen" in options[1] else 1.0]),
        ),
    )

    def table_(*args):
        options = ["--study", "fer", "--strategies", "frozen,full", "--root", tmp_path, "--out", tmp_path / "out"]
        code = 0
        try:
            table.main([str(arg) for arg in (*options, *args)])
        except SystemExit as stopped:
            code = stopped.code
        return code, capsys.readouterr()

    return table_


def calls(folder):
    return [" ".join(line.split()[:2]) for line in (folder / "calls.txt").read_text().splitlines()]


def test_every_arm_with_every_seed_is_trained_and_tested_once(run, tmp_path, written):
    code, said = run("--seeds", "0,1")
    assert code == 0
    assert calls(tmp_path) == [
        f"{word} fer/{arm}/seed{seed}" for seed in (0, 1) for arm in ("frozen", "full") for word in ("fit", "test")
    ]
    assert written == [("fer", tmp_path, tmp_path / "out", ["frozen", "full"])]
    assert "0 of 4 done, 0 running, 4 left" in said.out
    assert "fer/frozen/seed0 finished" in said.out
    assert "3 of 4 done, 1 running, 0 left, about" in said.out
    record = json.loads((tmp_path / "fer/table.json").read_text())
    assert record["epochs"] == {"frozen": 20, "full": 20}
    assert record["cost"] == {"frozen": 10, "full": 20}


def test_a_half_finished_table_goes_on_where_it_was(run, tmp_path):
    run("--seeds", "0,1")
    done = [tmp_path / f"fer/{arm}/seed0/metrics.json" for arm in ("frozen", "full")]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in done]
    for arm in ("frozen", "full"):
        (tmp_path / f"fer/{arm}/seed1/metrics.json").unlink()
    (tmp_path / "fer/full/seed1/fit.json").unlink()
    (tmp_path / "calls.txt").unlink()
    _, shown = run("--seeds", "0,1,2", "--plan")
    for state, count in {"finished": 2, "trained": 1, "interrupted": 1, "new": 2}.items():
        assert shown.out.count(f" {state} ") == count, state
    assert "4 of 6 runs are left" in shown.out
    assert not (tmp_path / "calls.txt").exists()
    code, said = run("--seeds", "0,1,2")
    assert code == 0
    assert "2 of 6 done, 0 running, 4 left, about" in said.out
    assert said.out.count(" begins: ") == 4
    assert calls(tmp_path)[:3] == ["test fer/frozen/seed1", "fit fer/full/seed1", "test fer/full/seed1"]
    assert "last.ckpt" in (tmp_path / "calls.txt").read_text().splitlines()[1]
    assert before == [(path.stat().st_ino, path.stat().st_mtime_ns) for path in done]


def test_a_run_that_fails_is_listed_with_its_log_and_stops_no_other(run, tmp_path, written):
    (tmp_path / "trouble.json").write_text('{"fer/frozen/seed0": "fail"}')
    code, said = run("--seeds", "0,1")
    assert code == 1
    assert written == []
    assert "failed: fer/frozen/seed0: exit code 1, the end of" in said.err
    assert "    ValueError: the reason" in said.err
    assert said.err.count("    a line") == 9
    assert "3 of 4 done, 1 failed, 0 running, 0 left" in said.err
    (tmp_path / "trouble.json").unlink()
    (tmp_path / "calls.txt").unlink()
    assert run("--seeds", "0,1")[0] == 0
    assert calls(tmp_path) == ["fit fer/frozen/seed0", "test fer/frozen/seed0"]
    assert len(written) == 1


def test_runs_of_other_values_are_refused_before_anything_runs(run, tmp_path):
    run("--seeds", "0", "--", "--model.lr", "0.5")
    before = calls(tmp_path)
    code, said = run("--seeds", "0,1", "--", "--model.lr=0.25")
    assert code == 2
    line = f"error: {tmp_path}/fer/frozen/seed0 has model.lr 0.5, and this table asks for 0.25: pass another --root"
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    code, said = run("--seeds", "0", "--", "--model.lr", "0.5", "--config", "{trainer: {max_epochs: 5}}")
    assert "has trainer.max_epochs 20, and this table asks for 5" in said.err
    assert calls(tmp_path) == before


def test_runs_with_what_was_asked_before_and_is_not_now_are_refused(run):
    assert run("--seeds", "0", "--", "--data.split_seed", "5", "--data.root", "x")[0] == 0
    assert run("--seeds", "0", "--", "--data.split_seed", "5")[0] == 0
    code, said = run("--seeds", "0")
    assert code == 2
    assert "has data.split_seed 5, and this table asks for 0: pass" in said.err


def test_inline_overlays_count(run, tmp_path):
    assert run("--seeds", "0", "--", "--config", "{trainer: {max_epochs: 3}}")[0] == 0
    assert "max_epochs: 3" in (tmp_path / "fer/full/seed0/config.yaml").read_text()


def test_learning_rates_are_tried_with_one_seed_and_chosen_on_validation(run, tmp_path):
    """The fake is best at 0.003: the middle one for frozen, the highest for full, whose config says 0.001."""
    code, _ = run("--seeds", "4,5", "--lr-trials", "3")
    assert code == 0
    tried = calls(tmp_path / "lr_trials")
    assert tried == [
        *(f"fit fer/frozen-lr{lr}/seed4" for lr in ("0.001", "0.003", "0.009")),
        *(f"fit fer/full-lr{lr}/seed4" for lr in ("0.000333", "0.001", "0.003")),
    ]
    assert len(calls(tmp_path)) == 8
    record = json.loads((tmp_path / "lr_trials/fer/full.json").read_text())
    assert record["lr"] == 0.003
    assert [trial["lr"] for trial in record["trials"]] == [0.000333, 0.001, 0.003]
    assert record["trials"][2] == {
        **{"lr": 0.003, "val_f1_macro": 1.0},
        "folder": str(tmp_path / "lr_trials/fer/full-lr0.003/seed4"),
    }
    assert "lr: 0.003" in (tmp_path / "fer/full/seed5/config.yaml").read_text()
    (tmp_path / "calls.txt").unlink()
    code, said = run("--seeds", "4,5", "--lr-trials", "3")  # the same command again: nothing is left
    assert code == 0
    assert not (tmp_path / "calls.txt").exists()
    assert "10 of 10 done" in said.out


def test_without_its_trials_an_arm_does_not_run(run, tmp_path):
    (tmp_path / "lr_trials").mkdir()
    (tmp_path / "lr_trials/trouble.json").write_text('{"fer/full-lr0.001/seed0": "fail"}')
    code, said = run("--seeds", "0", "--lr-trials", "3")
    assert code == 1
    assert calls(tmp_path) == ["fit fer/frozen/seed0", "test fer/frozen/seed0"]
    assert "failed: fer/full-lr0.001/seed0" in said.err


@pytest.mark.parametrize(
    ("name", "args", "option", "values"),
    [
        ("cost", ["--", "--trainer.max_epochs", 6], "max_epochs", {"frozen": 12, "full": 6}),
        ("steps", ["--", "--trainer.max_steps", 100], "max_steps", {"frozen": 100, "full": 100}),
        ("steps", ["--", "--trainer.max_steps", 100], "max_epochs", {"frozen": -1, "full": -1}),
        ("steps", ["--", "--trainer.max_epochs=-1", "--trainer.max_steps=9"], "max_steps", {"frozen": 9, "full": 9}),
        ("epochs", ["--", "--trainer.max_epochs", 6], "max_epochs", {"frozen": 6, "full": 6}),
    ],
)
def test_what_arms_share_is_what_their_runs_are_given(name, args, option, values, run, tmp_path):
    assert run("--seeds", 0, "--budget", name, *args)[0] == 0
    for arm, value in values.items():
        assert f"{option}: {value}\n" in (tmp_path / f"fer/{arm}/seed0/config.yaml").read_text()
    record = json.loads((tmp_path / "fer/table.json").read_text())
    assert record["budget"] == name
    if option == "max_epochs":
        assert record["epochs"] == values


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--strategies", "fulll"], "error: no config file configs/fer_fulll.yaml: --config takes"),
        (["--seeds", "one"], "error: argument --seeds: invalid _whole_numbers value: 'one'"),
        (["--trainer.max_epochs", 3], "error: unrecognized arguments: --trainer.max_epochs 3; options of lightning"),
        (["--folds", "0,1"], "error: --folds: the data of fer has no folds"),
        (["--lr-trials", 1], "error: --lr-trials: one learning rate is no trial"),
        (["--", "--seed_everything", 3], "error: --seed_everything is not for `--`: a table sets it by --seeds"),
        (["--", "--run.root", "x"], "error: --run.root is not for `--`: a table sets it by --root"),
        (["--", "--config", "nowhere.yaml"], "error: no config file "),
        (["--launcher", "slurm"], "error: --launcher slurm: there is no sbatch here"),
        (["--budget", "steps"], "error: --budget steps needs trainer.max_steps"),
    ],
)
def test_mistakes_are_one_line_and_run_nothing(args, line, run, tmp_path, monkeypatch):
    if "slurm" in args:
        monkeypatch.setitem(sys.modules, "submitit", types.ModuleType("submitit"))
    code, said = run(*args)
    assert code == 2
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    assert not (tmp_path / "calls.txt").exists()


def test_a_wrong_option_of_lightning_stops_the_table_at_once(run, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        table.main(
            ["--study", "fer", "--strategies", "full", "--root", str(tmp_path), "--", "--trainer.max_epoch", "3"]
        )
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())


def test_a_signal_ends_the_runs_and_says_how_to_go_on(run, tmp_path):
    (tmp_path / "trouble.json").write_text('{"fer/full/seed0": "hang"}')
    code = f"""
from experiments.table import __main__ as table
from experiments.table import budget, cells, launchers
from experiments.table.budget import ArmCost
from tests.experiments.table.plain import plain_config
ArmCost.total = lambda self, epochs: epochs  # the real one imports torch
budget.read_arm = lambda options: (plain_config(options), ArmCost([], [1.0]))
launchers._places = lambda jobs: [{{}}]
cells.LIGHTNING = {cells.LIGHTNING!r}
table.main(["--study", "fer", "--strategies", "full,frozen", "--seeds", "0", "--root", {str(tmp_path)!r}])
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + 30
    while not (tmp_path / "fer/full/seed0/metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: the same command goes on from here" in said
    assert calls(tmp_path) == ["fit fer/full/seed0"]
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _names(path, str(tmp_path))]
    assert left == [], "a child lives on"


def _names(path, text):
    try:
        return text in path.read_text() and int(path.parent.name) != os.getpid()
    except OSError:
        return False
