"""FER2013 is what its CSV says, in either variant of the file; a mistake in it is named by its line."""

import os
import pickle

import numpy as np
import pytest

from basics.errors import UserError
from datamodules import FER2013, fer2013, fer2013_csv

ROW = "0,{},Training".format(" ".join(["7"] * 2304))  # line 2 of the tables below
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


def load(root, **options):
    data = FER2013(root=str(root), **options)
    data.prepare_data()
    data.setup("fit")
    return data


def write(root, text, name="fer2013.csv"):
    (root / "fer2013").mkdir(exist_ok=True)
    (root / "fer2013" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / "fer2013" / name


def rows_of(sample_root):
    lines = (sample_root / "fer2013" / "fer2013.csv").read_text().splitlines()
    return [line.split(",") for line in lines[1:]]


def left_in(cache):
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


def arrays(data):
    return {name: (split.images.array[split.rows], split.labels) for name, split in data.splits.items()}


@pytest.fixture
def small(sample_root, tmp_path):
    """A root whose CSV has three rows of each usage; and those rows."""
    rows = rows_of(sample_root)
    rows = [row for usage in USAGES.values() for row in [row for row in rows if row[2] == usage][:3]]
    write(tmp_path, "emotion,pixels,Usage\n" + "".join(",".join(row) + "\n" for row in rows))
    return tmp_path, rows


def test_splits_pixels_and_labels_are_those_of_the_csv(sample_root, tmp_path):
    data = load(sample_root, cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 140, "val": 35, "test": 35}
    rows = rows_of(sample_root)
    for name, (pixels, labels) in arrays(data).items():
        expected = [row for row in rows if row[2] == USAGES[name]]
        assert labels.tolist() == [int(row[0]) for row in expected]
        assert pixels.shape == (len(expected), 48, 48, 1)
        np.testing.assert_array_equal(pixels.reshape(-1, 2304), [np.array(row[1].split(), int) for row in expected])


def test_names_are_lines_of_the_csv(small):
    root, _ = small
    data = load(root)
    lines = (root / "fer2013" / "fer2013.csv").read_text().splitlines()
    for split in data.splits.values():
        for name, label in zip(split.names, split.labels, strict=True):
            file, number = name.split(":")
            assert file == "fer2013.csv"
            assert int(lines[int(number) - 1].split(",")[0]) == label
    assert data.splits["train"].names[0] == "fer2013.csv:2"


def test_blank_lines_do_not_shift_the_names(small):
    root, rows = small
    text = "".join("\n" * (number % 3) + ",".join(row) + "\n" for number, row in enumerate(rows))
    lines = write(root, "emotion,pixels,Usage\n" + text).read_text().splitlines()
    splits = load(root).splits
    for split in splits.values():
        for row, name, label in zip(split.rows, split.names, split.labels, strict=True):
            emotion, pixels, _ = lines[int(name.removeprefix("fer2013.csv:")) - 1].split(",")
            assert int(emotion) == label
            np.testing.assert_array_equal(split.images.array[row].ravel(), np.array(pixels.split(), int))
    assert splits["train"].names == ["fer2013.csv:2", "fer2013.csv:4", "fer2013.csv:7"]


def test_both_variants_of_the_csv_give_the_same_arrays(small, tmp_path_factory):
    root, rows = small
    other = tmp_path_factory.mktemp("icml")
    write(other, "emotion, Usage, pixels\n" + "".join(f"{e}, {u}, {p}\n" for e, p, u in rows), "icml_face_data.csv")
    first, second = load(root), load(other)
    for name, (pixels, labels) in arrays(first).items():
        np.testing.assert_array_equal(arrays(second)[name][0], pixels)
        np.testing.assert_array_equal(arrays(second)[name][1], labels)
    assert second.images_fingerprint == first.images_fingerprint


def test_quotes_and_windows_line_ends_do_not_matter(small, tmp_path_factory):
    root, rows = small
    quoted = tmp_path_factory.mktemp("quoted")
    write(quoted, '"emotion","pixels","Usage"\r\n' + "".join(f'"{e}","{p}","{u}"\r\n' for e, p, u in rows))
    assert load(quoted).images_fingerprint == load(root).images_fingerprint


def test_a_second_start_does_not_parse_again(small, monkeypatch):
    first = arrays(load(small[0]))
    monkeypatch.setattr(fer2013, "parse_csv", lambda *_: pytest.fail("it parses again"))
    second = arrays(load(small[0]))
    np.testing.assert_array_equal(first["train"][0], second["train"][0])


def test_a_changed_csv_is_parsed_again(small):
    root, rows = small
    before = load(root)
    rows[0][1] = " ".join(["9"] * 2304)
    write(root, "emotion,pixels,Usage\n" + "".join(",".join(row) + "\n" for row in rows))
    after = load(root)
    assert (arrays(after)["train"][0][0] == 9).all()
    assert after.fingerprint != before.fingerprint


def test_a_csv_of_the_same_size_and_another_time_is_parsed_again(small):
    root, rows = small
    load(root)
    for row in rows:
        row[0] = str((int(row[0]) + 1) % 7)
    os.utime(write(root, "emotion,pixels,Usage\n" + "".join(",".join(row) + "\n" for row in rows)), ns=(1, 1))
    assert load(root).splits["train"].labels.tolist() == [int(row[0]) for row in rows[:3]]


def test_a_missing_file_says_kaggle_and_where_to_put_it(tmp_path):
    with pytest.raises(UserError, match="kaggle") as caught:
        load(tmp_path)
    assert str(tmp_path / "fer2013") in str(caught.value)
    assert "put fer2013.csv or icml_face_data.csv there" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its header has ; expected emotion, pixels and Usage"),
        ("emotion,image,Usage\n", "its header has emotion, image, usage; expected emotion, pixels and Usage"),
        (b"PK\x03\x04\xff\xfe\x00,\x80\nmore", "its header has .*; expected emotion, pixels and Usage"),
        ("emotion,pixels,Usage\n", "has no row for one of Training, PublicTest, PrivateTest"),
        (f"emotion,pixels,Usage\n{ROW}\n", "has no row for one of Training, PublicTest, PrivateTest"),
        (f"emotion,pixels,Usage\n{ROW}\n{ROW.replace(' 7', '', 1)}\n", "line 3: .* 2303 pixels"),
        (f"emotion,pixels,Usage\n{ROW}\n{ROW}\n{ROW.replace(' 7', ' 256', 1)}\n", "line 4: .* values of 0 to 255"),
        (f"emotion,pixels,Usage\n{ROW.replace(' 7', ' 65536', 1)}\n", "line 2: .* values of 0 to 255"),
        (f"emotion,pixels,Usage\n\n{ROW}\n  \n\n{ROW.replace(' 7', ' -1', 1)}\n", "line 6: .* values of 0 to 255"),
        (f"emotion,pixels,Usage\n\n\n{ROW}\nhappy{ROW[1:]}\n", "line 5: .*happy"),
        (f"emotion,pixels,Usage\n{ROW.replace(' 7', ' -1', 1)}\n", "line 2: .* values of 0 to 255"),
        (f"emotion,pixels,Usage\n{ROW.replace(' 7', ' x', 1)}\n", "line 2: "),
        (f"emotion,pixels,Usage\n{ROW}\n{ROW.replace('Training', 'Testing')}\n", "line 3: .*Testing"),
        (f"emotion,pixels,Usage\n{ROW}\n7{ROW[1:]}\n", "line 3: emotion 7"),
        (f"emotion,pixels,Usage\n{ROW}\nhappy{ROW[1:]}\n", "line 3: .*happy"),
        (f"emotion,pixels,Usage\n{ROW}\n0,7 7 7\n", "line 3: "),
    ],
)
def test_an_error_in_the_csv_is_one_line_that_names_the_place(tmp_path, text, message):
    csv = write(tmp_path, text)
    with pytest.raises(UserError, match=f"^{csv}.*{message}") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert not left_in(tmp_path / ".decoded")


def test_blanks_between_pixels_may_be_any(tmp_path):
    text = "emotion,pixels,Usage\n" + "".join(f"{ROW.replace('Training', usage)}\n" for usage in fer2013_csv.USAGES)
    write(tmp_path, text.replace("7 7", "7  7").replace(" 7", " 007", 1))
    assert (load(tmp_path).splits["train"].images.array == 7).all()


def test_an_interrupted_build_leaves_nothing_and_the_next_start_builds(small, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fer2013_csv, "fingerprint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load(small[0])
    assert not left_in(small[0] / ".decoded")
    assert len(load(small[0]).splits["train"]) == 3


def test_parsed_images_pickle_without_their_contents(sample_root, tmp_path):
    data = load(sample_root, cache_dir=str(tmp_path))
    assert data.splits["train"].images.array.nbytes > 400_000
    assert len(pickle.dumps(data.splits["train"].images)) < 1000
