"""Drawn images have the official formats and follow from the seed."""

import csv
import hashlib
import struct
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules import sample_data
from datamodules.sample_data.__main__ import main
from datamodules.sample_data.drawing import draw_labels
from datamodules.sample_data.faces import EMOTION_SHARES


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_all(root: Path, seed: int) -> None:
    sample_data.write_fashion_mnist(root, 20, 10, seed)
    sample_data.write_fer2013(root, 20, 14, 14, seed)
    sample_data.write_deepweeds(root, 45, 32, seed)
    sample_data.write_shapes(root, 32, 16, seed)


def test_fashion_mnist_is_idx_with_balanced_classes(tmp_path):
    sample_data.write_fashion_mnist(tmp_path, train=40, test=20)
    raw = tmp_path / "FashionMNIST" / "raw"
    for part, count in (("train", 40), ("t10k", 20)):
        images = (raw / f"{part}-images-idx3-ubyte").read_bytes()
        labels = (raw / f"{part}-labels-idx1-ubyte").read_bytes()
        assert struct.unpack(">4i", images[:16]) == (2051, count, 28, 28)
        assert len(images) == 16 + count * 28 * 28
        assert struct.unpack(">2i", labels[:8]) == (2049, count)
        assert Counter(labels[8:]) == dict.fromkeys(range(10), count // 10)


@pytest.mark.parametrize("count", [7, 14, 60])
def test_fer2013_has_every_emotion_in_every_usage(tmp_path, count):
    sample_data.write_fer2013(tmp_path, train=count, val=count, test=count)
    path = tmp_path / "fer2013" / "fer2013.csv"
    assert path.read_text().splitlines()[0] == "emotion,pixels,Usage"
    rows = read(path)
    for usage in ("Training", "PublicTest", "PrivateTest"):
        emotions = [int(row["emotion"]) for row in rows if row["Usage"] == usage]
        assert len(emotions) == count
        assert set(emotions) == set(range(7))
    pixels = np.array([row["pixels"].split(" ") for row in rows], int)
    assert pixels.shape == (3 * count, 48 * 48)
    assert pixels.min() >= 0
    assert pixels.max() <= 255


def test_fer2013_shares_are_those_of_the_original():
    counts = Counter(draw_labels(np.random.default_rng(0), 2800, EMOTION_SHARES))
    assert counts[1] / 2800 == pytest.approx(0.015, abs=0.002)
    assert counts[3] / 2800 == pytest.approx(0.25, abs=0.005)


def test_deepweeds_folds_are_disjoint_stratified_and_cover_all(tmp_path):
    sample_data.write_deepweeds(tmp_path, images=100, size=32)
    folder = tmp_path / "deepweeds"
    whole = {row["Filename"]: row for row in read(folder / "labels" / "labels.csv")}
    assert set(whole) == {path.name for path in (folder / "images").iterdir()}
    assert len(whole) == 100
    assert cv2.imread(str(folder / "images" / min(whole))).shape == (32, 32, 3)
    species = [*sample_data.WEEDS, sample_data.NEGATIVE]
    assert all(row["Species"] == species[int(row["Label"])] for row in whole.values())

    tested: list[str] = []
    for fold in range(5):
        parts = {p: read(folder / "labels" / f"{p}_subset{fold}.csv") for p in ("train", "val", "test")}
        assert [len(rows) for rows in parts.values()] == [60, 20, 20]
        assert all({row["Label"] for row in rows} == set("012345678") for rows in parts.values())
        labels = {row["Filename"]: row["Label"] for rows in parts.values() for row in rows}
        assert set(labels) == set(whole)
        assert sum(labels[name] != whole[name]["Label"] for name in whole) == 1
        assert Counter(labels.values())["8"] == 52
        tested += [row["Filename"] for row in parts["test"]]
    assert sorted(tested) == sorted(whole)


def test_shapes_have_every_class_in_every_part(tmp_path):
    sample_data.write_shapes(tmp_path, train=32, val=16, size=40)
    for part, count in (("train", 32), ("val", 16), ("test", 16)):
        files = list((tmp_path / "shapes" / part).glob("*/*.png"))
        assert len(files) == count
        assert {file.parent.name for file in files} == set(sample_data.SHAPES)
    assert cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED).shape == (40, 40)


def test_the_seed_decides_every_byte(tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        write_all(tmp_path / name, seed)
    first = digests(tmp_path / "first")
    assert digests(tmp_path / "again") == first
    other = set(digests(tmp_path / "other").values())
    assert not other & set(first.values())


def test_a_failed_write_leaves_the_old_folder_and_no_other(tmp_path):
    sample_data.write_fer2013(tmp_path, 14, 14, 14)
    before = digests(tmp_path)
    with pytest.raises(ValueError, match="too few"):
        sample_data.write_fer2013(tmp_path, 14, 14, 3, seed=1)
    assert digests(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["fer2013"]


def test_command_line_writes_all_four(tmp_path, capsys):
    main(["--root", str(tmp_path), "--images", "0"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FashionMNIST", "deepweeds", "fer2013", "shapes"]
    assert len(capsys.readouterr().out.splitlines()) == 4
