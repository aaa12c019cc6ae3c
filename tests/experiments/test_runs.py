"""A run's folder: its names, its files, how far it is."""

from math import isnan
from pathlib import Path

import pytest

from basics.errors import UserError
from basics.fit_end import FitEnd
from experiments.runs import RunFolder, fold_of


def test_names_and_path_belong_together():
    run = RunFolder(Path("runs"), "deepweeds", "full", 1, 3)
    assert run.path == Path("runs/deepweeds/full/seed1-fold3")
    assert RunFolder.at(run.path) == run
    assert RunFolder.at(Path("runs/fer/full/seed12")) == RunFolder(Path("runs"), "fer", "full", 12)
    assert RunFolder(Path("runs"), "fer", "full", 0, moved=Path("copy")).config == Path("copy/config.yaml")


@pytest.mark.parametrize(
    "path",
    [
        "runs/fer/full/seed",
        "runs/fer/full/seed1-2",
        "runs/fer/full/0",
        "runs/fer/full/seed00",
        "runs/fer/full/seed1-fold0",
    ],
)
def test_other_folders_are_refused(path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        RunFolder.at(Path(path))


def test_the_state_follows_from_the_files(tmp_path):
    run = RunFolder(tmp_path, "fer", "full", 0)
    assert run.state() == "new"
    run.path.mkdir(parents=True)
    run.config.touch()
    assert run.state() == "begun"
    run.checkpoints.mkdir()
    run.last.touch()
    assert run.state() == "interrupted"
    for ending, state in (
        ("signal", "interrupted"),
        ("error", "interrupted"),
        ("stopped early", "stopped early"),
        ("diverged", "stopped early"),
        ("finished", "trained"),
    ):
        FitEnd(ending, 3, 20).write(run.fit_end)
        assert run.state() == state, ending
    run.scores.touch()
    assert run.state() == "finished"


def test_only_folders_of_runs_are_found(tmp_path):
    for name in ("fer/full/seed1", "fer/full/seed0", "shapes/own/seed0", "fer/full/seedy"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "fer/full/seed2").mkdir()
    assert [run.name for run in RunFolder.find(tmp_path, "fer")] == ["fer/full/seed0", "fer/full/seed1"]
    assert [run.name for run in RunFolder.find(tmp_path)][-1] == "shapes/own/seed0"


def test_rows_are_numbers(tmp_path):
    run = RunFolder(tmp_path, "fer", "full", 0)
    assert run.rows() == []
    run.path.mkdir(parents=True)
    run.epochs.write_text("epoch,val/loss,epoch_seconds\n0,,1.5\n1,0.25,2\n")
    first, second = run.rows()
    assert isnan(first["val/loss"])
    assert second == {"epoch": 1.0, "val/loss": 0.25, "epoch_seconds": 2.0}
    assert run.seconds() == 3.5


def test_the_fold_of_old_and_new_records():
    assert [fold_of(record) for record in ({"fold": 2}, {"variant": ""}, {"variant": "fold4"})] == [2, 0, 4]
