"""Images are mapped, not copied; files are read in the colours and the size asked for."""

import pickle

import cv2
import numpy as np
import pytest

from basics.errors import UserError
from datamodules.images import MappedImages, read_image, resize


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


def test_mapped_images_read_the_file_from_their_offset_and_cannot_be_written(tmp_path):
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    (tmp_path / "images").write_bytes(b"header" + pixels.tobytes())
    images = MappedImages(tmp_path / "images", pixels.shape, offset=6)
    np.testing.assert_array_equal(images.array, pixels)
    with pytest.raises(ValueError, match="read-only"):
        images.array[0] = 0


def test_mapped_images_pickle_without_their_contents(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 20, 20, 3), np.uint8)
    (tmp_path / "images").write_bytes(pixels.tobytes())
    images = MappedImages(tmp_path / "images", pixels.shape)
    assert images.array.shape == pixels.shape  # it is mapped, and stays so
    pickled = pickle.dumps(images)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).array, pixels)
    assert images._array is not None


def test_colour_images_are_rgb_and_grey_ones_have_one_channel(tmp_path):
    red = write(tmp_path / "red.png", np.full((4, 5, 3), (0, 0, 255), np.uint8))  # OpenCV writes blue first
    colour = read_image(red, 3)
    assert colour.shape == (4, 5, 3)
    assert colour.dtype == np.uint8
    assert colour[0, 0].tolist() == [255, 0, 0]
    grey = read_image(red, 1)
    assert grey.shape == (4, 5, 1)
    assert grey[0, 0].tolist() == [76]
    assert read_image(write(tmp_path / "grey.png", np.full((4, 4), 9, np.uint8)), 3)[0, 0].tolist() == [9, 9, 9]


@pytest.mark.parametrize("shape", [(30, 60), (60, 30)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_middle_square_of_a_long_image_is_kept(tmp_path, shape, channels):
    pixels = np.zeros(shape, np.uint8)
    pixels[shape[0] // 2 - 15 : shape[0] // 2 + 15, shape[1] // 2 - 15 : shape[1] // 2 + 15] = 200
    for size in (10, 30, 45):
        image = read_image(write(tmp_path / "image.png", pixels), channels, size)
        assert image.shape == (size, size, channels)
        assert image[2:-2, 2:-2].min() > 190


def test_shrinking_averages_over_the_area():
    checks = np.indices((32, 32)).sum(0) % 2 * 200
    np.testing.assert_array_equal(resize(checks.astype(np.uint8), 8, 8), np.full((8, 8), 100))


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.png"):
        read_image(tmp_path / "absent.png", 3)


@pytest.mark.parametrize("contents", [b"", b"<html>not found</html>"])
def test_a_broken_image_is_named(tmp_path, contents):
    (tmp_path / "broken.jpg").write_bytes(contents)
    with pytest.raises(UserError, match=r"broken\.jpg is not a readable image"):
        read_image(tmp_path / "broken.jpg", 3)
