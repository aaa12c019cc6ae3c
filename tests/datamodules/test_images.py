import json
import os
import pickle
import threading

import cv2
import numpy as np
import pytest

from basics.errors import UserError
from datamodules.images import MappedImages, cached, decode_files, fingerprint, read_image, resize, source_key


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


def builder(text="contents"):
    def build(folder):
        build.calls += 1
        (folder / "data").write_text(text)
        (folder / "meta.json").write_text(json.dumps({"text": text}))

    build.calls = 0
    return build


def names_in(folder):
    """What is in a folder, but for the locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


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


def test_a_cache_is_built_once(tmp_path):
    build = builder()
    for _ in range(2):
        assert cached(tmp_path / "parent" / "cache", "key", build)["text"] == "contents"
    assert build.calls == 1
    assert names_in(tmp_path / "parent") == ["cache"]


def test_a_cache_with_another_key_is_replaced(tmp_path):
    cached(tmp_path / "cache", "old", builder("old"))
    (tmp_path / "cache" / "left over").touch()
    assert cached(tmp_path / "cache", "new", builder("new"))["text"] == "new"
    assert names_in(tmp_path / "cache") == ["data", "meta.json"]
    assert names_in(tmp_path) == ["cache"]


def test_a_failed_build_leaves_no_folder(tmp_path):
    def build(folder):
        (folder / "data").write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cached(tmp_path / "cache", "key", build)
    assert not names_in(tmp_path)


def test_a_failed_build_leaves_the_cache_that_was_there(tmp_path):
    def build(folder):
        raise RuntimeError("power cut")

    cached(tmp_path / "cache", "old", builder("old"))
    with pytest.raises(RuntimeError, match="power cut"):
        cached(tmp_path / "cache", "new", build)
    assert (tmp_path / "cache" / "data").read_text() == "old"
    assert names_in(tmp_path) == ["cache"]


def test_two_that_build_the_same_cache_at_once_build_it_once(tmp_path):
    def run(folder):
        barrier.wait()
        try:
            given.append(cached(folder, "key", build)["text"])
        except Exception as error:
            given.append(error)

    for number in range(40):
        build, barrier, given = builder(), threading.Barrier(2), []
        threads = [threading.Thread(target=run, args=(tmp_path / f"{number:02d}",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert given == ["contents", "contents"]
        assert build.calls == 1
    assert names_in(tmp_path) == [f"{number:02d}" for number in range(40)]


def test_a_cache_that_cannot_be_written_says_which_option_moves_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the cache .*--data\.cache_dir"):
        cached(tmp_path / "file" / "cache", "key", builder())


def test_the_key_of_a_source_changes_with_its_size_and_time(tmp_path):
    source = tmp_path / "source"
    source.write_text("a")
    keys = [source_key([source])]
    os.utime(source, ns=(1, 1))
    keys.append(source_key([source]))
    source.write_text("ab")
    os.utime(source, ns=(1, 1))
    keys.append(source_key([source]))
    assert len(set(keys)) == 3
    assert source_key([source]) == keys[-1]


def test_the_key_of_sources_covers_every_file(tmp_path):
    sources = [tmp_path / name for name in "abc"]
    for source in sources:
        source.write_text("a")
        os.utime(source, ns=(5, 5))
    keys = [source_key(sources), source_key(sources[:2]), source_key(sources[1:])]
    for source in sources:
        os.utime(source, ns=(1, 1))  # older than the others, then as old as they are
        keys.append(source_key(sources))
        os.utime(source, ns=(5, 5))
    assert source_key(sources) == keys[0]
    assert len(set(keys)) == 6


def test_a_source_that_is_missing_is_named(tmp_path):
    (tmp_path / "there").touch()
    with pytest.raises(UserError, match=f"^no file {tmp_path}/absent: .*incomplete.*$"):
        source_key([tmp_path / "there", tmp_path / "absent"])


def test_the_fingerprint_follows_values_and_names():
    numbers = np.arange(6).reshape(2, 3)
    first = fingerprint(numbers, ["a", "b"])
    assert len(first) == 16
    assert fingerprint(numbers.copy(order="F"), ["a", "b"]) == first
    assert fingerprint(numbers + 1, ["a", "b"]) != first
    assert fingerprint(numbers, ["a", "c"]) != first


def test_fingerprints_of_runs_and_caches_that_exist_stay_valid():
    numbers = np.arange(6).reshape(2, 3)
    floats, none = np.asfortranarray(numbers.astype(np.float32)), np.zeros((0, 3), np.uint8)
    assert fingerprint(numbers, ["a", "b"]) == "f36aa7196c029c2a"
    assert fingerprint(floats, none, ["ä", ""], [], numbers[:, ::2]) == "2caefa9fe426ac16"
    assert fingerprint() == "e3b0c44298fc1c14"


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


def test_decoded_files_keep_their_order(tmp_path):
    files = [write(tmp_path / f"{value}.png", np.full((6, 8), value, np.uint8)) for value in range(30, 0, -1)]
    decode_files(tmp_path / "images.bin", files, 1, 6)
    stored = np.fromfile(tmp_path / "images.bin", np.uint8).reshape(30, 6, 6, 1)
    np.testing.assert_array_equal(stored, np.arange(30, 0, -1).reshape(30, 1, 1, 1) * np.ones_like(stored))
