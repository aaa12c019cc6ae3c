"""A Fashion run leaves the same records by phase and stage as a run of the transfer studies."""

import csv
import json

from experiments.cli import main


def test_phases_and_gradient_norms_are_recorded(sample_root, tmp_path):
    args = ["--data.root", sample_root, "--run.root", tmp_path, "--trainer.max_epochs", 2, "--model.width", 8]
    args += ["--trainer.logger", "false", "--trainer.accelerator", "cpu", "--data.num_workers", 0]
    for command in ("fit", "test"):
        checkpoint = ["--ckpt_path", "last"] if command == "test" else []
        main([command, "--config", "configs/fashion_plain.yaml", *map(str, [*args, *checkpoint])])
    folder = tmp_path / "fashion/plain/seed0"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [float(row["phase"]) for row in rows] == [1, 1]
    for stage in ("conv1", "conv2", "conv3", "classifier"):
        assert all(float(row[f"gradient_norm/{stage}"]) > 0 for row in rows)
    assert not any(name.startswith("distance/") for name in rows[0])  # nothing was pretrained
    (phase,) = json.loads((folder / "metrics.json").read_text())["phases"]
    assert phase["reason"] == "the run began"
    assert phase["stages"] == ["conv1", "conv2", "conv3", "classifier"]
