"""Every shipped arm of the transfer studies works with every family of networks, through the command line."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IMAGE_SIZES = {"test_resnet": 32, "test_efficientnet": 32, "test_convnext": 32, "test_vit": 160}
BACKBONES = list(IMAGE_SIZES)
CONFIGS = sorted(path for study in ("fer", "deepweeds") for path in ROOT.glob(f"configs/{study}_*.yaml"))


def options(backbone):
    return ["--model.backbone", backbone, "--model.weights", "none", "--data.image_size", IMAGE_SIZES[backbone]]


def cases(study=""):
    """Every arm with every backbone; the quick cases have every arm and every backbone at least once."""
    for number, config in enumerate(path for path in CONFIGS if path.name.startswith(study)):
        for backbone in BACKBONES:
            marks = [] if backbone == BACKBONES[number % len(BACKBONES)] else [pytest.mark.slow]
            yield pytest.param(config, backbone, marks=marks, id=f"{config.stem}-{backbone}")


@pytest.mark.parametrize(("config", "backbone"), cases())
def test_the_plan_of_every_arm_fits_every_backbone(config, backbone, lightning, tiny, capsys):
    lightning("plan", "--config", config, *tiny, "--trainer.max_epochs", 12, *options(backbone))
    title = capsys.readouterr().out.splitlines()[0]
    assert title.strip().startswith(config.stem.split("_")[1] + ": ")


@pytest.mark.parametrize(("config", "backbone"), cases("fer_"))
def test_every_arm_trains_every_backbone(config, backbone, lightning, tiny, tmp_path):
    short = ["--trainer.max_epochs", 5, "--data.train_fraction", 0.1]  # gradual has 5 phases
    lightning("fit", "--config", config, *tiny, *short, *options(backbone))
    (folder,) = (tmp_path / "runs/fer").glob("*/seed0")
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == 5
    assert float(rows[-1]["gradient_norm/head"]) > 0
    assert (folder / "checkpoints/last.ckpt").is_file()
