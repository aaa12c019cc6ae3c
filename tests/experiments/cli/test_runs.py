"""Whole runs in processes of their own: two CPU processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIGHTNING = Path(sys.executable).with_name("lightning")


def shell(*args, check=True, **rest):
    command = [str(arg) for arg in (LIGHTNING, *args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **rest)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.mark.slow  # Lightning starts the second process, which imports everything anew
def test_two_processes_train_and_give_the_test_scores_of_one(lightning, tiny_transfer, tmp_path):
    """35 test images: an even sampler would count one of them twice, and one rank has a batch more than the other."""
    two = ["--data.batch_size", 34, "--trainer.devices", 2, "--trainer.strategy", "ddp"]
    shell("fit", "--config", "configs/fer_partial.yaml", *tiny_transfer, *two)
    folder = tmp_path / "runs/fer/partial/seed0"
    best = ["--config", folder / "config.yaml", "--ckpt_path", "best"]
    records = []
    for devices in (1, 2):
        run = shell if devices == 2 else lightning
        run("test", *best, "--trainer.devices", devices, "--trainer.strategy", "ddp" if devices == 2 else "auto")
        records.append(json.loads((folder / "metrics.json").read_text()))
        (folder / "metrics.json").unlink()
    assert records[0]["test"]["images"] == 35
    assert records[0]["confusion_matrix"] == records[1]["confusion_matrix"]
    assert records[0]["per_class"] == records[1]["per_class"]
    assert records[0]["test"]["f1_macro"] == records[1]["test"]["f1_macro"]
    assert abs(records[0]["test"]["loss"] - records[1]["test"]["loss"]) < 1e-5
