"""Every config that is shipped goes through the real command line: fit, test, predict."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml

CONFIGS = sorted(Path("configs").glob("*.yaml"))
assert len(CONFIGS) >= 13
EPOCHS = {"gradual": 5, "lpft": 2}  # one for each phase


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_fit_test_predict(config, lightning, tiny, tiny_transfer, tmp_path, capsys):
    transfer = "transfer." in config.read_text()
    epochs = EPOCHS.get(config.stem.split("_")[1], 1)
    lightning("fit", "--config", config, *(tiny_transfer if transfer else tiny), "--trainer.max_epochs", epochs)
    (folder,) = (tmp_path / "runs").glob("*/*/seed0")
    saved, best = folder / "config.yaml", folder / "checkpoints" / "best.ckpt"
    assert f"lightning test --config {saved} --ckpt_path {best}" in capsys.readouterr().out
    assert (folder / "checkpoints" / "last.ckpt").is_file()

    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == epochs
    assert {"train/loss", "val/loss", "val/f1_macro", "val/accuracy", "lr/head" if transfer else "lr/conv1"} <= rows[
        0
    ].keys()

    lightning("test", "--config", saved, "--ckpt_path", best)
    assert "macro average" in capsys.readouterr().out
    record = json.loads((folder / "metrics.json").read_text())
    assert record["seed"] == 0
    assert record["backbone"] == ("test_resnet" if transfer else None)
    assert sum(map(sum, record["confusion_matrix"])) == record["test"]["images"]
    assert record["data_fingerprint"]
    assert {"git_commit", "versions", "weights", "per_class"} <= record.keys()
    assert (folder / "confusion_matrix.png").read_bytes()[:4] == b"\x89PNG"

    lightning("predict", "--config", saved, "--ckpt_path", "best")
    predictions = list(csv.DictReader((folder / "predictions.csv").open()))
    assert len(predictions) == record["test"]["images"]
    names = list(record["per_class"])
    for row in predictions:
        probabilities = [float(row[name]) for name in names]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert row["predicted"] == names[max(range(len(names)), key=probabilities.__getitem__)]


@pytest.mark.parametrize("arm", ["frozen", "partial", "full"])
def test_stages_outside_the_arm_are_bit_identical_after_training(arm, lightning, tiny_transfer, tmp_path):
    """Parameters and buffers: the batch norm statistics of a frozen stage must not drift."""
    start = tmp_path / "start.ckpt"
    torch.manual_seed(3)
    import timm

    network = timm.create_model("test_resnet", num_classes=7)
    torch.save(network.state_dict(), start)
    args = [*tiny_transfer, "--model.weights", start, "--model.lr", 0.1]
    lightning("fit", "--config", f"configs/fer_{arm}.yaml", *args)
    last = torch.load(tmp_path / "runs/fer" / arm / "seed0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    learns = {"frozen": ("fc",), "partial": ("layer4", "fc"), "full": ("",)}[arm]
    for name, before in network.state_dict().items():
        after = last[f"network.{name}"]
        if not name.startswith(learns):
            assert torch.equal(before, after), f"{name} moved"
        elif "num_batches" not in name:
            assert not torch.equal(before, after), f"{name} did not learn"


def test_a_readers_own_folder_of_images_needs_only_another_data_section(
    lightning, tiny_transfer, sample_root, tmp_path
):
    shapes = [sample_root / "shapes" if value == sample_root else value for value in tiny_transfer]
    data = tmp_path / "own.yaml"
    data.write_text("data: {class_path: datamodules.ImageFolder, init_args: {decode_size: 36, channels: 3, root: x}}")
    lightning("fit", "--config", "configs/deepweeds_partial.yaml", "--config", data, *shapes)
    checkpoint = tmp_path / "runs/shapes/partial/seed0/checkpoints/best.ckpt"
    out = tmp_path / "out.csv"
    folder = sample_root / "shapes/test"
    lightning("predict", "--ckpt_path", checkpoint, "--data.predict_folder", folder, "--run.predictions", out)
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == len(list(folder.glob("*/*.png")))
    assert (folder / rows[0]["image"]).is_file()
    assert "ring" in rows[0]


def test_overlays_compose(lightning, tiny_transfer, tmp_path, monkeypatch):
    args = [arg for arg in tiny_transfer if arg not in ("--trainer.max_epochs", 1)]
    lightning("fit", "--config", "configs/fer_full.yaml", "--config", "configs/debug/fast.yaml", *args)
    saved = yaml.safe_load((tmp_path / "runs/fer/full/seed0/config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 5
    assert saved["trainer"]["limit_train_batches"] == 2
    assert saved["model"]["init_args"]["strategy"]["class_path"] == "transfer.Full"


def test_the_demo_configs_pretrain_and_transfer(lightning, tiny, sample_root, tmp_path):
    shapes = [sample_root / "shapes" if value == sample_root else value for value in tiny]
    lightning("fit", "--config", "configs/demo/pretrain.yaml", *shapes)
    weights = tmp_path / "runs/shapes/pretrain/seed0/checkpoints/best.ckpt"
    overlay = ["--config", "configs/fer_partial.yaml", "--config", "configs/demo/faces.yaml"]
    lightning("fit", *overlay, *tiny, "--model.weights", weights)
    assert (tmp_path / "runs/fer/partial/seed0/checkpoints/best.ckpt").is_file()
