import sys
import tarfile
import time
from pathlib import Path

import pytest

from experiments.table import cells, clusters, launchers
from experiments.table.cells import Cell, run_cell
from experiments.table.clusters import on_ray, on_slurm, pack, ray_task, unpack
from experiments.table.launchers import local
from tests.experiments.table.plain import plain_config

ROOT = Path(__file__).parents[3]
FAKE = str(Path(__file__).with_name("fake_lightning.py"))


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cells, "LIGHTNING", (sys.executable, FAKE))


@pytest.fixture
def three(tmp_path):
    return [
        Cell("fer", "full", seed, root=tmp_path, arm_config=plain_config(["--config", "configs/fer_full.yaml"]))
        for seed in range(3)
    ]


def test_so_many_run_at_once_as_jobs_says(three, monkeypatch):
    running, most = set(), []
    for cell, code in local(three, jobs=2):
        running ^= {cell}
        most.append(len(running))
        assert code in (None, 0)
    assert max(most) == 2
    assert all(cell.state() == "finished" for cell in three)


def test_a_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert launchers._slots(None) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in launchers._slots(3)] == ["3", "5", "3"]


def test_processes_share_the_cores_of_a_machine_without_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launchers._slots(None) == [{}]
    assert launchers._slots(4) == [{"OMP_NUM_THREADS": "2"}] * 4


def test_a_folder_comes_back_whole_and_without_the_last_checkpoint(three, tmp_path):
    cell = three[0]
    token = tmp_path / "token"
    token.write_text("")
    assert ray_task(cell, token) == (0, None, None)
    code, log, packed = ray_task(cell, tmp_path / "not here")
    assert code == 0
    assert b"trained" in log
    old = cell.run.path / "old.txt"
    old.write_text("")
    unpack(packed, cell.run.path)
    assert cell.state() == "finished"
    assert (cell.run.path / "checkpoints").is_dir()
    assert not (cell.run.path / "checkpoints/last.ckpt").exists()
    assert not old.exists()
    assert [path.name for path in cell.run.path.parent.iterdir()] == ["seed0"]


def test_half_a_folder_replaces_nothing(three):
    cell = three[0]
    run_cell(cell)
    (cell.run.path / "checkpoints/best.ckpt").write_bytes(b"x" * 100_000)
    with pytest.raises(tarfile.ReadError):
        unpack(pack(cell.run.path)[:50_000], cell.run.path)
    assert cell.state() == "finished"
    assert [path.name for path in cell.run.path.parent.iterdir()] == ["seed0"]


def test_a_package_that_is_not_installed_is_one_line(three, monkeypatch, capsys):
    for name, launcher in (("ray", on_ray), ("submitit", on_slurm)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SystemExit) as stopped:
            list(launcher(three))
        assert stopped.value.code == 2
        assert f"error: {name} is not installed: pip install -e '.[cluster]'\n" in capsys.readouterr().err


@pytest.mark.slow  # `make test-slow` installs ray and submitit
def test_a_local_ray_cluster_runs_cells_and_brings_them_back(three, tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(clusters, "ray_task", fake_ray_task)
    (tmp_path / "trouble.json").write_text('{"fer/full/seed1": "fail"}')
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        ends = {cell: code for cell, code in on_ray(three, jobs=2) if code is not None}
        assert [ends[cell] for cell in three] == [0, 1, 0]
        assert (three[0].run.path / "checkpoints/last.ckpt").exists(), "the driver sees the folder"
        (tmp_path / "trouble.json").unlink()
        monkeypatch.setattr(clusters, "ray_task", fake_blind_ray_task)
        assert [code for _, code in on_ray(three[1:2]) if code is not None] == [0]
        assert three[1].state() == "finished"
        assert not (three[1].run.path / "checkpoints/last.ckpt").exists(), "the folder has travelled"
    finally:
        ray.shutdown()
    assert not list((tmp_path / "logs").glob("ray-*"))


@pytest.mark.slow
def test_ray_runs_a_task_again_whose_worker_has_died(three, tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(clusters, "ray_task", fake_deadly_ray_task)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert [code for _, code in on_ray(three[:1]) if code is not None] == [0]
    finally:
        ray.shutdown()
    assert (tmp_path / "died").exists()
    assert three[0].state() == "finished"


def fake_ray_task(cell, token):
    cells.LIGHTNING = (sys.executable, FAKE)
    return ray_task(cell, token)


def fake_blind_ray_task(cell, token):
    return fake_ray_task(cell, token.with_name("of another machine"))


def fake_deadly_ray_task(cell, token):
    import os

    if not (cell.root / "died").exists():
        (cell.root / "died").write_text("")
        os._exit(1)
    return fake_ray_task(cell, token)


@pytest.mark.slow
def test_jobs_are_submitted_once_and_collected_later(three, tmp_path, capsys, monkeypatch):
    import submitit

    (tmp_path / "trouble.json").write_text('{"fer/full/seed1": "fail", "fer/full/seed2": "hang"}')
    monkeypatch.setattr(clusters, "SlurmJob", FakeJob)
    # submitit's local jobs are not in a queue that could be asked for them later.
    monkeypatch.setattr(submitit.LocalJob, "done", lambda job: job.paths.result_pickle.exists())
    assert list(on_slurm(three, cluster="local")) == []
    assert "submitted " in capsys.readouterr().out
    deadline = time.monotonic() + 60
    while three[0].state() != "finished" or not three[1].log_end() or three[2].state() == "new":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    left = three[1:]
    events = []
    while not events and time.monotonic() < deadline:
        time.sleep(0.5)
        events = list(on_slurm(left, cluster="local"))
    assert events == [(three[1], 1)]
    said = capsys.readouterr().out
    assert "in the queue already" in said
    assert "submitted" not in said
    (tmp_path / "trouble.json").unlink()
    while three[2].state() != "finished":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    list(on_slurm(three[1:2], cluster="local"))  # what has failed is submitted anew
    assert "submitted" in capsys.readouterr().out
    while three[1].state() != "finished":
        assert time.monotonic() < deadline
        time.sleep(0.1)


class FakeJob(clusters.SlurmJob):
    def __call__(self, cell):
        cells.LIGHTNING = (sys.executable, FAKE)
        return super().__call__(cell)
