"""A run of a table: states, command lines, values, processes."""

import json
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from basics.fit_end import FitEnd
from experiments.table import cells
from experiments.table.budget import read_arm
from experiments.table.cells import BUSY, Cell, run_cell
from tests.experiments.table.plain import plain_config

ROOT = Path(__file__).parents[3]


def cell_of(study, strategy, seed, fold=0, overrides=(), **rest):
    config = plain_config(["--config", f"configs/{study}_{strategy}.yaml", *overrides])
    return Cell(study, strategy, seed, fold, overrides=tuple(overrides), arm_config=config, **rest)


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def fake(monkeypatch):
    """Processes of milliseconds."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cells, "LIGHTNING", (sys.executable, str(Path(__file__).with_name("fake_lightning.py"))))


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def test_states_follow_from_the_files_and_say_what_is_left(tmp_path):
    cell = cell_of("deepweeds", "full", 1, 3, root=tmp_path)
    assert cell.run.path == tmp_path / "deepweeds/full/seed1-fold3"
    assert cell.state() == "new"
    fit, test = cell.commands()
    assert fit[:3] == ["fit", "--config", "configs/deepweeds_full.yaml"]
    assert " ".join(fit).endswith("--run.overwrite false")
    assert test == ["test", "--config", f"{cell.run.path}/config.yaml", "--ckpt_path", "best"]
    touch(cell.run.path / "config.yaml")
    assert cell.state() == "begun"
    assert next(cell.commands())[-2:] == ["--run.overwrite", "true"]
    touch(cell.run.path / "checkpoints/last.ckpt")
    assert cell.state() == "interrupted"
    assert next(cell.commands())[-2:] == ["--ckpt_path", f"{cell.run.path}/checkpoints/last.ckpt"]
    FitEnd("finished", 20, 20).write(cell.run.fit_end)
    assert cell.state() == "trained"
    assert list(cell.commands()) == [test]
    touch(cell.run.path / "metrics.json")
    assert cell.state() == "finished"
    assert list(cell.commands()) == []


def test_a_trial_has_a_place_of_its_own_and_is_not_tested(tmp_path):
    cell = cell_of("fer", "full", 0, root=tmp_path, trial="0.003")
    assert cell.run.path == tmp_path / "lr_trials/fer/full-lr0.003/seed0"
    assert [args[0] for args in cell.commands()] == ["fit"]
    assert cell.expected["model"]["init_args"]["lr"] == 0.003
    FitEnd("finished", 20, 20).write(cell.run.fit_end)
    assert cell.state() == "finished"


def test_an_overlay_cannot_take_a_run_out_of_the_table(tmp_path):
    cell = cell_of("fer", "full", 2, root=tmp_path, overrides=("--config", "configs/debug/fast.yaml"))
    fit = next(cell.commands())
    assert fit[-2:] == ["--run.overwrite", "false"]
    assert fit.index("--run.root") > fit.index("configs/debug/fast.yaml")
    assert fit[fit.index("--run.root") + 1] == str(tmp_path)
    assert cell.expected["trainer"]["max_epochs"] == 5


def test_the_real_command_line_takes_them_and_saves_what_is_asked(lightning, tiny_transfer, tmp_path):
    overrides = [*map(str, tiny_transfer[2:]), "--model.lr", "5e-4", "--trainer.max_epochs", "2"]
    config, _ = read_arm(["--config", "configs/fer_lpft.yaml", *overrides])
    cell = Cell("fer", "lpft", 1, root=tmp_path / "runs", overrides=tuple(overrides), arm_config=config)
    lightning(*next(cell.commands()))
    assert cell.state() == "trained"
    assert cell.other_value() is None
    assert cell.expected["model"]["init_args"]["lr"] == 5e-4
    cell.run.fit_end.unlink()  # as if it had been killed after its last epoch
    assert cell.state() == "interrupted"
    rows, best = cell.run.rows(), (cell.run.path / "checkpoints/best.ckpt").read_bytes()
    resume, test = cell.commands()
    lightning(*resume)
    assert cell.state() == "trained"
    assert str(cell.run.rows()) == str(rows)
    assert (cell.run.path / "checkpoints/best.ckpt").read_bytes() == best
    lightning(*test)
    assert cell.state() == "finished"
    assert cell.run.seconds() > 0


def test_a_process_that_is_ended_leaves_a_run_that_goes_on(fake, tmp_path):
    cell = cell_of("fer", "full", 0, root=tmp_path)
    (tmp_path / "trouble.json").write_text('{"fer/full/seed0": "hang"}')
    processes, codes = [], []
    thread = threading.Thread(target=lambda: codes.append(run_cell(cell, started=processes.append)))
    thread.start()
    deadline = time.monotonic() + 20
    while not (cell.run.path / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run_cell(cell) == BUSY  # while another is at it
    cells.end(processes[0])
    thread.join(20)
    assert codes == [-signal.SIGTERM]
    assert cell.state() == "interrupted"
    (tmp_path / "trouble.json").unlink()
    assert run_cell(cell) == 0
    assert cell.state() == "finished"
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert calls[1].endswith(f"--ckpt_path {cell.run.path}/checkpoints/last.ckpt")


def test_a_fit_that_was_stopped_and_exits_with_0_is_not_tested(fake, tmp_path):
    """Lightning ends so after SIGTERM."""
    cell = cell_of("fer", "full", 0, root=tmp_path)
    (tmp_path / "trouble.json").write_text('{"fer/full/seed0": "stop"}')
    assert run_cell(cell) == 128 + signal.SIGTERM
    assert cell.state() == "interrupted"


def test_a_worker_does_not_take_a_run_of_other_values(fake, tmp_path):
    assert run_cell(cell_of("fer", "full", 0, root=tmp_path, overrides=("--model.lr", "1"))) == 0
    other = cell_of("fer", "full", 0, root=tmp_path, overrides=("--model.lr", "2"))
    assert run_cell(other) == 2
    assert "has model.lr 1.0, and this table asks for 2.0" in other.log_end()[-1]


@pytest.mark.slow  # four processes that import everything anew
def test_a_killed_run_ends_as_one_that_was_not(tiny_transfer, tmp_path):
    overrides = (*map(str, tiny_transfer[2:]), "--trainer.max_epochs", "4")
    config, _ = read_arm(["--config", "configs/fer_full.yaml", *overrides])
    scores = []
    for name, kills in (("whole", False), ("killed", True)):
        cell = Cell("fer", "full", 0, root=tmp_path / name, overrides=overrides, arm_config=config)

        def kill(process, cell=cell):
            while len(cell.run.rows()) < 2 or not (cell.run.path / "checkpoints/last.ckpt").is_file():
                time.sleep(0.005)
            process.kill()

        if kills:
            assert run_cell(cell, started=kill) == -signal.SIGKILL
            assert cell.state() == "interrupted"
        assert run_cell(cell) == 0, cell.log_end()
        record = json.loads((cell.run.path / "metrics.json").read_text())
        scores.append([record["test"], [row["val/loss"] for row in cell.run.rows()]])
    assert scores[0] == scores[1]
