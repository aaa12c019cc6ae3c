"""Every image is seen exactly once an epoch, by whatever number of processes."""

import csv
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from datamodules import sample_data

# Odd sizes, so that no number of processes gets even parts; 101 = 4 * 24 + 5, too few for 3 ranks with 2 images each.
SIZES = {"train": 101, "val": 35, "test": 37}


@pytest.fixture(scope="module")
def odd_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    sample_data.write_fer2013(root, **SIZES)
    return root


def seen_twice_or_never(folder):
    """Number of times that an image was seen, by split and epoch and by its index; only numbers other than 1."""
    counts = defaultdict(Counter)
    for file in folder.iterdir():
        for batch in map(json.loads, file.read_text().splitlines()):
            epoch = f" {batch['epoch']}" if batch["split"] in ("train", "val") else ""
            counts[batch["split"] + epoch].update(batch["index"])
    sizes = {name: SIZES[name.split()[0].replace("predict", "test")] for name in counts}
    return {
        name: {index: n for index in {*range(sizes[name]), *count} if (n := count[index]) != 1}
        for name, count in counts.items()
    }


@pytest.mark.parametrize("world", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_image_is_seen_exactly_once_an_epoch(world, launch, tiny_args, odd_root, tmp_path):
    seen = tmp_path / "seen"
    folder = tmp_path / "runs/fer/full/seed0"
    args = [*tiny_args(tmp_path / "runs", odd_root), "--data.batch_size", 24, "--trainer.max_epochs", 2]
    args += ["--trainer.callbacks+=tests.proofs.callbacks.SeenIndices", "--trainer.callbacks.folder", seen]
    launch("fit", *args, world=world)
    assert len(list(seen.iterdir())) == world
    expected = {"train 0": {}, "val 0": {}, "train 1": {}, "val 1": {}}
    assert seen_twice_or_never(seen) == expected
    for command in ("predict", "test"):  # the saved config has the callback
        launch(command, "--config", folder / "config.yaml", "--ckpt_path", "best", world=world)
        expected[command] = {}
        assert seen_twice_or_never(seen) == expected

    record = json.loads((folder / "metrics.json").read_text())
    assert sum(map(sum, record["confusion_matrix"])) == record["test"]["images"] == SIZES["test"]
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    assert len({row["image"] for row in rows}) == len(rows) == SIZES["test"]
    saved = np.load(folder / "test.npz")
    assert saved["names"].tolist() == [row["image"] for row in rows]
    assert (saved["labels"] == saved["probabilities"].argmax(1)).mean() == pytest.approx(record["test"]["accuracy"])
