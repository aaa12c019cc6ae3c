"""Test images that are known from training are found."""

import time

import numpy as np
import pytest

from datamodules import DeepWeeds
from datamodules.images import MappedImages
from datamodules.leaks import same_pixels, shots_within
from datamodules.splits import Split


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
    train = ["20161106-015950-0.jpg", "20161030-025950-0.jpg"]
    test = ["20161106-020010-0.jpg", "20161030-030010-0.jpg"]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        found = shots_within(30, train, test).tolist()
    time.tzset()
    assert found == [True, True]


def test_deepweeds_leaks_by_time_and_camera(sample_root, tmp_path):
    data = DeepWeeds(root=str(sample_root), cache_dir=str(tmp_path), download=False)
    data.prepare_data()
    data.setup("fit")
    assert not data.leaked().any()
    day, time, camera = data.splits["test"].names[2].split("-")
    data.whole_train.names[0] = f"{day}-{int(time) + 1:06}-{camera}"
    assert np.flatnonzero(data.leaked()).tolist() == [2]
    assert "30 s" in data.leak_rule
