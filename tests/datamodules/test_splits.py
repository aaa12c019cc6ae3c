"""What is known from training is found, and training on a part takes the part that it should."""

import time

import numpy as np
import pytest

from basics.errors import UserError
from datamodules import FER2013, DeepWeeds
from datamodules.images import MappedImages, Split
from datamodules.splits import same_pixels, shots_within


def split(pixels, rows):
    images = MappedImages("nowhere", pixels.shape, _array=pixels)
    return Split(images, np.array(rows), np.zeros(len(rows), int), [str(row) for row in rows])


def test_a_test_image_that_is_a_training_image_is_found_in_whatever_file_it_lies():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    pixels[4] = pixels[1]
    other = pixels[[1, 5]].copy()
    other[1, 0, 0, 0] += 1
    train = split(pixels, [0, 1, 2])
    assert same_pixels(train, split(pixels, [3, 4, 5])).tolist() == [False, True, False]
    assert same_pixels(train, split(other, [0, 1])).tolist() == [True, False]


def test_shots_are_near_by_seconds_and_camera():
    train = ["20170714-110407-3.jpg", "20170714-235950-0.jpg"]
    test = {
        "20170714-110437-3.jpg": True,  # 30 s
        "20170714-110438-3.jpg": False,
        "20170714-110337-3.jpg": True,  # before it
        "20170714-110407-1.jpg": False,  # another camera
        "20170715-000020-0.jpg": True,  # the next day
        "20180714-110407-3.jpg": False,  # the next year
        "weed.jpg": False,
    }
    assert shots_within(30, train, list(test)).tolist() == list(test.values())
    assert shots_within(30, [], list(test)).tolist() == [False] * len(test)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin"])
def test_clocks_of_the_machine_do_not_move_shots(zone, monkeypatch):
    """Both pairs are 20 s apart; in New York and in Berlin the clocks are put back between the shots of one."""
    train, test = ["20161106-015950-0.jpg", "20161030-025950-0.jpg"], ["20161106-020010-0.jpg", "20161030-030010-0.jpg"]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        found = shots_within(30, train, test).tolist()
    time.tzset()
    assert found == [True, True]


def load(kind, root, tmp_path, **options):
    data = kind(root=str(root), cache_dir=str(tmp_path), **options)
    data.prepare_data()
    data.setup("fit")
    return data


def test_a_part_of_the_training_split_has_its_classes_and_is_judged_by_the_whole(sample_root, tmp_path):
    whole, part = (load(FER2013, sample_root, tmp_path, train_fraction=fraction) for fraction in (1.0, 0.5))
    names = set(part.splits["train"].names)
    assert len(names) == len(part.splits["train"]) == len(whole.splits["train"]) // 2
    assert names < set(whole.splits["train"].names)
    for half, all_of_it in zip(part.class_counts, whole.class_counts, strict=True):
        assert abs(half - all_of_it / 2) < 1
    for name in ("val", "test"):
        np.testing.assert_array_equal(part.splits[name].rows, whole.splits[name].rows)
    assert part.fingerprint != whole.fingerprint
    again = load(FER2013, sample_root, tmp_path, train_fraction=0.5)
    assert again.splits["train"].names == part.splits["train"].names
    other = load(FER2013, sample_root, tmp_path, train_fraction=0.5, split_seed=1)
    assert set(other.splits["train"].names) != names

    left_out = sorted(set(whole.splits["train"].rows) - set(part.splits["train"].rows))
    part.splits["test"] = split(whole.splits["train"].images.array, left_out[:2])
    assert part.leaked().tolist() == [True, True]


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_a_fraction_is_one(fraction):
    with pytest.raises(UserError, match=f"train_fraction is above 0 and at most 1, not {fraction}"):
        FER2013(train_fraction=fraction)


def test_deepweeds_leaks_by_time_and_camera(sample_root, tmp_path):
    data = load(DeepWeeds, sample_root, tmp_path, download=False)
    assert not data.leaked().any()
    day, time, camera = data.splits["test"].names[2].split("-")
    data.whole_train.names[0] = f"{day}-{int(time) + 1:06}-{camera}"
    assert np.flatnonzero(data.leaked()).tolist() == [2]
    assert "30 s" in data.leak_rule
