"""Images are decoded once, in order, and again when a source changes."""

import os

import cv2
import numpy as np

from datamodules.decoded import decode_files, decode_once


def write(path, value):
    assert cv2.imwrite(str(path), np.full((6, 8), value, np.uint8))
    return path


def test_decoded_files_keep_their_order(tmp_path):
    files = [write(tmp_path / f"{value}.png", value) for value in range(30, 0, -1)]
    decode_files(tmp_path, files, 1, 6)
    stored = np.fromfile(tmp_path / "images.bin", np.uint8).reshape(30, 6, 6, 1)
    np.testing.assert_array_equal(stored, np.arange(30, 0, -1).reshape(30, 1, 1, 1) * np.ones_like(stored))


def test_images_are_decoded_once_and_again_when_a_source_changes(tmp_path):
    def decode(folder):
        decoded.append(folder)
        pixels = decode_files(folder, files, 1, 6)
        return {"shape": pixels.shape, "fingerprint": f"made {len(decoded)}", "names": ["a", "b"]}

    decoded = []
    files = [write(tmp_path / f"{value}.png", value) for value in (3, 5)]
    for _ in range(2):
        images, meta = decode_once(tmp_path / "cache", files, decode)
        assert images.array[:, 0, 0, 0].tolist() == [3, 5]
        assert images.fingerprint == "made 1"
        assert meta["names"] == ["a", "b"]
    os.utime(write(files[0], 9), ns=(1, 1))
    images, _ = decode_once(tmp_path / "cache", files, decode)
    assert images.array[:, 0, 0, 0].tolist() == [9, 5]
    assert images.fingerprint == "made 2"
