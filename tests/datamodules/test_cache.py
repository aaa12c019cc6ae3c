"""Caches are whole or absent, built once, and built anew when their sources change."""

import json
import os
import threading

import numpy as np
import pytest

from basics.errors import UserError
from datamodules.cache import cached, fingerprint, source_key


def builder(text="contents"):
    def build(folder):
        build.calls += 1
        (folder / "data").write_text(text)
        (folder / "meta.json").write_text(json.dumps({"text": text}))

    build.calls = 0
    return build


def names_in(folder):
    """Names of the files in a folder, without the locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


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
        build = builder()
        barrier = threading.Barrier(2)
        given = []
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
    floats = np.asfortranarray(numbers.astype(np.float32))
    none = np.zeros((0, 3), np.uint8)
    assert fingerprint(numbers, ["a", "b"]) == "f36aa7196c029c2a"
    assert fingerprint(floats, none, ["ä", ""], [], numbers[:, ::2]) == "2caefa9fe426ac16"
    assert fingerprint() == "e3b0c44298fc1c14"
