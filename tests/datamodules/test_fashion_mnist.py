"""Fashion-MNIST is what its IDX files say; a broken file is named."""

import shutil

import numpy as np
import pytest
import torchvision

from basics.errors import UserError
from datamodules import FashionMNIST


@pytest.fixture
def root(sample_root, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(sample_root / "FashionMNIST", tmp_path / "FashionMNIST")
    return tmp_path


def splits_of(root, **options):
    data = FashionMNIST(root=str(root), **options)
    data.prepare_data()
    data.setup("fit")
    return data.splits


def file_of(root, name):
    return root / "FashionMNIST" / "raw" / name


def test_55_of_60_training_images_are_train_and_the_rest_val(sample_root):
    splits = splits_of(sample_root)
    assert {name: len(split) for name, split in splits.items()} == {"train": 183, "val": 17, "test": 51}
    rows = np.concatenate([splits["train"].rows, splits["val"].rows])
    assert sorted(rows) == list(range(200))


def test_train_and_val_are_stratified_by_class(sample_root):
    splits = splits_of(sample_root)
    for name, share in (("train", 183 / 200), ("val", 17 / 200)):
        assert (np.abs(np.bincount(splits[name].labels, minlength=10) - 20 * share) <= 1).all()


def test_split_seed_decides_which_images_are_val_and_leaves_test_alone(sample_root):
    first, again, other = (splits_of(sample_root, split_seed=seed) for seed in (0, 0, 1))
    assert first["val"].rows.tolist() == again["val"].rows.tolist()
    assert first["val"].rows.tolist() != other["val"].rows.tolist()
    assert first["test"].rows.tolist() == other["test"].rows.tolist() == list(range(51))


def test_pixels_labels_and_names_are_those_of_the_idx_files(sample_root):
    for part, names in (("train", ("train", "val")), ("t10k", ("test",))):
        pixels = np.fromfile(file_of(sample_root, f"{part}-images-idx3-ubyte"), np.uint8, offset=16)
        pixels = pixels.reshape(-1, 28, 28, 1)
        labels = np.fromfile(file_of(sample_root, f"{part}-labels-idx1-ubyte"), np.uint8, offset=8)
        for split in (splits_of(sample_root)[name] for name in names):
            np.testing.assert_array_equal(split.images.array[split.rows], pixels[split.rows])
            np.testing.assert_array_equal(split.labels, labels[split.rows])
            assert list(split.names) == [f"{part}/{row}" for row in split.rows]


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("kept", [0, 3, 4, 10, -1])
def test_a_truncated_file_is_named(root, name, kept):
    file = file_of(root, name)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{name} is not a complete IDX file: remove it") as caught:
        splits_of(root)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_named(root):
    file = file_of(root, "train-labels-idx1-ubyte")
    file.write_bytes(b"\x1f\x8b" + file.read_bytes()[2:])
    with pytest.raises(UserError, match="train-labels-idx1-ubyte is not a complete IDX file"):
        splits_of(root)


def test_labels_for_another_number_of_images_are_refused(root):
    shutil.copy(file_of(root, "t10k-labels-idx1-ubyte"), file_of(root, "train-labels-idx1-ubyte"))
    with pytest.raises(UserError, match="train-labels-idx1-ubyte has 51 labels for 200 images"):
        splits_of(root)


def test_complete_files_are_not_downloaded_again(sample_root, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", lambda *_, **__: pytest.fail("it downloads"))
    splits_of(sample_root)


def test_a_missing_file_is_asked_for_at_its_publisher(root, monkeypatch):
    def publisher(folder, download):
        asked.append((folder, download))
        file_of(folder, "t10k-labels-idx1-ubyte").write_bytes(missing)

    asked = []
    file = file_of(root, "t10k-labels-idx1-ubyte")
    missing = file.read_bytes()
    file.unlink()
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", publisher)
    assert len(splits_of(root)["test"]) == 51
    assert asked == [(root, True)]


def test_a_failed_download_says_where_to_put_the_files(tmp_path, monkeypatch):
    def publisher(folder, download):
        raise RuntimeError("no network")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", publisher)
    with pytest.raises(UserError, match=r"FashionMNIST/raw, .*\(no network\).* put the four IDX files there"):
        splits_of(tmp_path)
