"""A run of a table: states, command lines, values, processes."""

import json
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from experiments.table import cells
from experiments.table.asked import asked, differences, drift
from experiments.table.cells import BUSY, FIT_DONE, Cell, run_cell

ROOT = Path(__file__).parents[3]
FULL = ["--config", "configs/fer_full.yaml"]


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
    cell = Cell("deepweeds", "full", 1, 3, tmp_path)
    assert cell.folder == tmp_path / "deepweeds/full/seed1-fold3"
    assert cell.state() == "new"
    fit, test = cell.commands()
    assert fit[:3] == ["fit", "--config", "configs/deepweeds_full.yaml"]
    assert " ".join(fit).endswith("--run.overwrite false")
    assert test == ["test", "--config", f"{cell.folder}/config.yaml", "--ckpt_path", "best"]
    touch(cell.folder / "config.yaml")
    assert cell.state() == "begun"
    assert next(cell.commands())[-2:] == ["--run.overwrite", "true"]
    touch(cell.folder / "checkpoints/last.ckpt")
    assert cell.state() == "interrupted"
    assert next(cell.commands())[-2:] == ["--ckpt_path", f"{cell.folder}/checkpoints/last.ckpt"]
    touch(cell.folder / FIT_DONE)
    assert cell.state() == "trained"
    assert list(cell.commands()) == [test]
    touch(cell.folder / "metrics.json")
    assert cell.state() == "finished"
    assert list(cell.commands()) == []


def test_a_trial_has_a_place_of_its_own_and_is_not_tested(tmp_path):
    cell = Cell("fer", "full", 0, root=tmp_path, trial="0.003")
    assert cell.folder == tmp_path / "lr_trials/fer/full-lr0.003/seed0"
    assert [args[0] for args in cell.commands()] == ["fit"]
    assert cell.wanted["model"]["init_args"]["lr"] == 0.003
    touch(cell.folder / FIT_DONE)
    assert cell.state() == "finished"


def test_an_overlay_cannot_take_a_run_out_of_the_table(tmp_path):
    cell = Cell("fer", "full", 2, root=tmp_path, overrides=("--config", "configs/debug/fast.yaml"))
    assert cell.wanted["run"]["root"] == str(tmp_path)
    assert cell.wanted["trainer"]["max_epochs"] == 5
    assert next(cell.commands())[-2:] == ["--run.overwrite", "false"]


def test_the_real_command_line_takes_them_and_saves_what_is_asked(lightning, tiny_transfer, tmp_path):
    overrides = [*map(str, tiny_transfer[2:]), "--model.lr", "5e-4", "--trainer.max_epochs", "2"]
    cell = Cell("fer", "lpft", 1, root=tmp_path / "runs", overrides=tuple(overrides))
    lightning(*next(cell.commands()))
    assert cell.state() == "interrupted"  # nobody has seen it end
    assert cell.other_values() is None
    assert cell.wanted["model"]["init_args"]["lr"] == "5e-4"
    rows, best = cell.rows(), (cell.folder / "checkpoints/best.ckpt").read_bytes()
    resume, test = cell.commands()
    lightning(*resume)
    assert cell.rows() == rows
    assert (cell.folder / "checkpoints/best.ckpt").read_bytes() == best
    lightning(*test)
    assert cell.state() == "finished"
    assert cell.seconds() > 0


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], None),
        (["--model.strategy", "Full", "--data.root", "elsewhere", "--model.weights=./weights/../w.pt"], None),
        (["--model.lr", "1e-3", "--trainer.logger", "false"], None),
        (["--model.strategy.lr_factor", "0.2"], ("model.strategy.lr_factor", 0.2, 0.1)),
        (["--model.strategy", "transfer.LPFT"], ("model.strategy", "LPFT", "Full")),
        (["--model.strategy", '{"class_path": "transfer.Full", "init_args": {"lr_factor": 1}}'], None),
        (["--data.augment", "[]"], ("data.augment", [], ...)),
        (["--trainer.max_steps=100"], ("trainer.max_steps", 100, -1)),
        (["--trainer.deterministic", "true"], ("trainer.deterministic", True, None)),
    ],
)
def test_values_are_compared_as_they_are_meant(overrides, line):
    saved = yaml.safe_load(Path("configs/fer_full.yaml").read_text())
    saved["model"]["init_args"]["weights"] = str(ROOT / "w.pt")
    saved["trainer"] |= {"max_steps": -1, "logger": None, "deterministic": None}
    if "class_path" in str(overrides):
        saved["model"]["init_args"]["strategy"]["init_args"]["lr_factor"] = 1.0
    found = list(differences(asked([*FULL, *overrides]), saved))
    assert [tuple(x if y is not ... else ... for x, y in zip(row, line, strict=True)) for row in found] == (
        [line] if line else []
    )


def test_lists_and_folds_are_compared_too():
    saved = asked(FULL)
    saved["data"]["init_args"]["augment"][1]["Affine"]["p"] = 0.7
    assert [key for key, _, _ in differences(asked(FULL), saved)] == ["data.augment"]
    assert list(differences(asked([*FULL, "--data.fold", "2"]), asked([*FULL, "--data.fold", "1"])))


def test_what_nobody_asked_for_must_be_the_same_in_all_runs():
    one, other = asked(FULL), asked(["--config", "configs/fer_frozen.yaml"])
    assert list(drift(one, other, [one, other])) == []
    for tree, fraction in ((one, 1.0), (other, 0.25)):
        tree["data"]["init_args"]["train_fraction"] = fraction
    named = [asked(FULL), asked(["--config", "configs/fer_frozen.yaml"])]
    assert list(drift(one, other, named)) == [("data.train_fraction", 1.0, 0.25)]


def test_a_process_that_is_ended_leaves_a_run_that_goes_on(fake, tmp_path):
    cell = Cell("fer", "full", 0, root=tmp_path)
    (tmp_path / "trouble.json").write_text('{"fer/full/seed0": "hang"}')
    processes, codes = [], []
    thread = threading.Thread(target=lambda: codes.append(run_cell(cell, started=processes.append)))
    thread.start()
    deadline = time.monotonic() + 20
    while not (cell.folder / "metrics.csv").is_file() and time.monotonic() < deadline:
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
    assert calls[1].endswith(f"--ckpt_path {cell.folder}/checkpoints/last.ckpt")


def test_a_fit_that_was_stopped_and_exits_with_0_is_not_tested(fake, tmp_path, monkeypatch):
    """Lightning ends so after SIGTERM."""
    cell = Cell("fer", "full", 0, root=tmp_path)
    monkeypatch.setattr(cells, "CLOSING", b"what it does not print")
    assert run_cell(cell) == 128 + signal.SIGTERM
    assert cell.state() == "interrupted"


def test_a_worker_does_not_take_a_run_of_other_values(fake, tmp_path):
    assert run_cell(Cell("fer", "full", 0, root=tmp_path, overrides=("--model.lr", "1"))) == 0
    other = Cell("fer", "full", 0, root=tmp_path, overrides=("--model.lr", "2"))
    assert run_cell(other) == 2
    assert "has model.lr 1, and this table asks for 2" in other.log_end()[-1]


@pytest.mark.slow  # four processes that import everything anew
def test_a_killed_run_ends_as_one_that_was_not(tiny_transfer, tmp_path):
    overrides = (*map(str, tiny_transfer[2:]), "--trainer.max_epochs", "4")
    scores = []
    for name, kills in (("whole", False), ("killed", True)):
        cell = Cell("fer", "full", 0, root=tmp_path / name, overrides=overrides)

        def kill(process, cell=cell):
            while len(cell.rows()) < 2 or not (cell.folder / "checkpoints/last.ckpt").is_file():
                time.sleep(0.005)
            process.kill()

        if kills:
            assert run_cell(cell, started=kill) == -signal.SIGKILL
            assert cell.state() == "interrupted"
        assert run_cell(cell) == 0, cell.log_end()
        record = json.loads((cell.folder / "metrics.json").read_text())
        scores.append([record["test"], [row["val/loss"] for row in cell.rows()]])
    assert scores[0] == scores[1]
