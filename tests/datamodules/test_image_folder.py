"""Images of the user's own are split as their folders or their table say."""

import os
import shutil

import cv2
import numpy as np
import pytest

from basics.errors import UserError
from datamodules import ImageFolder, image_folder
from datamodules.images import read_image

COLOURS = {"apple": 40, "berry": 120, "cherry": 200}


def load(root, image_size=28, **options):  # 28 is decoded at 32, the size of the shapes
    data = ImageFolder(root=str(root), image_size=image_size, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def draw(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((32, 32, 3), (value, 0, 0), np.uint8))  # blue


@pytest.fixture
def classes(tmp_path):
    """A root with one folder a class, 20 images each."""
    for name, value in COLOURS.items():
        for number in range(20):
            draw(tmp_path / "fruit" / name / f"{number:02d}.png", value + number)
    return tmp_path / "fruit"


def check(data, channels):
    """Every image and label of a split are those of the file that its name says."""
    for split in data.splits.values():
        assert len(split) == len(split.names) == len(split.labels)
        for row, name, label in zip(split.rows, split.names, split.labels, strict=True):
            np.testing.assert_array_equal(split.images.array[row], read_image(data.root / name, channels))
            assert data.class_names[label] == name.split("/")[-2]


@pytest.mark.parametrize("channels", [1, 3])
def test_split_folders_are_the_splits(sample_root, tmp_path, channels):
    data = load(sample_root / "shapes", channels=channels, cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 64, "val": 16, "test": 16}
    assert all(name.startswith(f"{part}/") for part, split in data.splits.items() for name in split.names)
    assert data.splits["train"].images.shape == (96, 32, 32, channels)
    assert data.class_names == sorted(path.name for path in (sample_root / "shapes" / "train").iterdir())
    assert data.study == "shapes"
    check(data, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_class_folders_are_split_stratified(classes, channels):
    data = load(classes, channels=channels)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 42, "val": 9, "test": 9}
    for name, count in (("train", 14), ("val", 3), ("test", 3)):
        assert (np.abs(np.bincount(data.splits[name].labels) - count) <= 1).all()
    assert sorted(name for split in data.splits.values() for name in split.names) == sorted(
        f"{name}/{number:02d}.png" for name in COLOURS for number in range(20)
    )
    check(data, channels)


def test_split_seed_decides_how_class_folders_are_split(classes):
    first, again, other = (load(classes, split_seed=seed) for seed in (0, 0, 1))
    assert first.splits["test"].names == again.splits["test"].names
    assert first.splits["test"].names != other.splits["test"].names
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_colours_are_rgb(classes):
    split = load(classes).splits["train"]
    first = split.images.array[split.rows[0], 0, 0].tolist()
    assert first[:2] == [0, 0]
    assert first[2] >= 40


def test_hidden_folders_and_other_files_are_left_out(classes):
    draw(classes / ".thumbnails" / "00.png", 1)
    (classes / "apple" / "notes.txt").touch()
    data = load(classes)
    assert data.class_names == list(COLOURS)
    assert sum(map(len, data.splits.values())) == 60
    assert data.cache_dir == classes / ".decoded"
    assert load(classes).class_names == list(COLOURS)  # the cache is no class either


def test_a_table_with_splits_says_which_image_is_where(classes, tmp_path):
    names = [(f"{name}/{number:02d}.png", name, number) for name in COLOURS for number in range(20)]
    part = {0: "val", 1: "val", 2: "test"}
    rows = [f"{part.get(number, 'train')}, {path} ,{label},x" for path, label, number in names]
    (tmp_path / "table.csv").write_text("\n".join(["split, image ,label,other", *rows]))
    data = load(classes, csv=str(tmp_path / "table.csv"))
    assert data.splits["val"].names == [path for path, _, number in names if number < 2]
    assert data.splits["test"].names == [path for path, _, number in names if number == 2]
    assert len(data.splits["train"]) == 51
    check(data, 3)


def test_a_table_without_splits_is_split_by_split_seed(classes, tmp_path):
    rows = [f"{name}/{number:02d}.png,{name}" for name in COLOURS for number in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label", *rows]))
    first, other = (load(classes, csv=str(tmp_path / "table.csv"), split_seed=seed) for seed in (0, 1))
    assert {name: len(split) for name, split in first.splits.items()} == {"train": 42, "val": 9, "test": 9}
    assert first.splits["test"].names != other.splits["test"].names
    check(first, 3)


def test_labels_of_a_table_need_not_be_folders(classes, tmp_path):
    rows = [f"apple/{number:02d}.png,{'odd' if number % 2 else 'even'}" for number in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label", *rows]))
    data = load(classes, csv=str(tmp_path / "table.csv"))
    assert data.class_names == ["even", "odd"]
    for split in data.splits.values():
        assert [int(name[-5]) % 2 for name in split.names] == split.labels.tolist()


def test_an_image_that_only_the_table_has_is_named(classes, tmp_path):
    (tmp_path / "table.csv").write_text("image,label\napple/00.png,apple\napple/absent.png,apple\n")
    with pytest.raises(UserError, match=r"^no file .*apple/absent\.png: .*take the file off its list"):
        load(classes, csv=str(tmp_path / "table.csv"))


@pytest.mark.parametrize("value", ["Train", "validation", "tset", ""])
def test_a_split_that_does_not_exist_is_named(classes, tmp_path, value):
    names = [f"{name}/{number:02d}.png,{name}" for name in COLOURS for number in range(20)]
    parts = ["val", "test", value] + ["train"] * 57
    rows = [f"{name},{part}" for name, part in zip(names, parts, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label,split", *rows]))
    with pytest.raises(UserError, match=rf"table\.csv: split '{value}'; expected train, val or test$"):
        load(classes, csv=str(tmp_path / "table.csv"))


def test_a_column_that_only_begins_like_split_is_not_taken_for_it(classes, tmp_path):
    rows = [f"{name}/{number:02d}.png,{name},7" for name in COLOURS for number in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label,split_seed", *rows]))
    data = load(classes, csv=str(tmp_path / "table.csv"))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 42, "val": 9, "test": 9}


def test_a_missing_table_and_a_missing_column_are_named(classes, tmp_path):
    with pytest.raises(UserError, match=r"no table .*table\.csv"):
        load(classes, csv=str(tmp_path / "table.csv"))
    (tmp_path / "table.csv").write_text("image,class\napple/00.png,apple\n")
    with pytest.raises(UserError, match=r"table\.csv has no column 'label'"):
        load(classes, csv=str(tmp_path / "table.csv"))


def test_an_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match=r"no images in .*: expected train/<class>/\*\.jpg or <class>/\*\.jpg"):
        load(tmp_path)


def test_a_split_without_images_is_named(sample_root, tmp_path):
    shutil.copytree(sample_root / "shapes" / "train", tmp_path / "shapes" / "train")
    with pytest.raises(UserError, match="shapes has no images for the split val"):
        load(tmp_path / "shapes")


def test_a_broken_image_is_named(classes):
    (classes / "berry" / "07.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"berry/07\.png is not a readable image"):
        load(classes)


def test_images_are_decoded_once_and_again_when_the_size_or_a_file_changes(classes, monkeypatch):
    def decode(*arguments):
        decoded.append(arguments)
        return original(*arguments)

    decoded = []
    original = image_folder.decode_files
    monkeypatch.setattr(image_folder, "decode_files", decode)
    for _ in range(2):
        assert load(classes).splits["train"].images.shape[1:] == (32, 32, 3)
    assert len(decoded) == 1
    assert load(classes, decode_size=40).splits["train"].images.shape[1:] == (40, 40, 3)
    assert len(decoded) == 2
    draw(classes / "apple" / "20.png", 1)
    assert sum(map(len, load(classes).splits.values())) == 61
    assert len(decoded) == 3


@pytest.mark.parametrize("older", [True, False])
def test_a_replaced_image_is_decoded_again(classes, older):
    before = load(classes)
    file = classes / "berry" / "07.png"
    stat = file.stat()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert cv2.imwrite(str(file), noise)
    assert file.stat().st_size != stat.st_size
    os.utime(file, ns=(1, 1) if older else (stat.st_atime_ns, stat.st_mtime_ns))
    after = load(classes)
    check(after, 3)
    assert after.fingerprint != before.fingerprint


def test_batches_have_the_image_size(classes):
    batch = next(iter(load(classes, image_size=21, batch_size=6, num_workers=0).train_dataloader()))
    assert batch["image"].shape == (6, 3, 21, 21)


def test_the_study_can_be_named(classes):
    assert load(classes).study == "fruit"
    assert load(classes, name="mine").study == "mine"
