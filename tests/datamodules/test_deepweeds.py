"""DeepWeeds is what its tables and photos say; what is missing is fetched or named."""

import csv
import io
import os
import shutil
import zipfile

import cv2
import numpy as np
import pytest

from basics.errors import UserError
from datamodules import DeepWeeds, deepweeds, deepweeds_files, sample_data
from datamodules.images import read_image

PARTS = ("train", "val", "test")


@pytest.fixture
def root(sample_root, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(sample_root / "deepweeds", tmp_path / "deepweeds")
    return tmp_path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(deepweeds_files, "rank_zero_info", lines.append)
    return lines


def load(root, fold=0, download=False, **options):
    data = DeepWeeds(root=str(root), fold=fold, download=download, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def table(root, name):
    with (root / "deepweeds" / "labels" / f"{name}.csv").open(newline="") as file:
        return {row["Filename"]: int(row["Label"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("fold", range(5))
def test_splits_are_those_of_the_fold_and_disjoint(sample_root, cache, fold):
    splits = load(sample_root, fold, cache_dir=cache).splits
    for part in PARTS:
        assert dict(zip(splits[part].names, splits[part].labels.tolist(), strict=True)) == table(
            sample_root, f"{part}_subset{fold}"
        )
    rows = np.concatenate([split.rows for split in splits.values()])
    assert sorted(rows) == list(range(90))


def test_test_sets_of_the_five_folds_cover_all_images_once(sample_root, cache):
    names = [name for fold in range(5) for name in load(sample_root, fold, cache_dir=cache).splits["test"].names]
    assert sorted(names) == sorted(path.name for path in (sample_root / "deepweeds" / "images").iterdir())


def test_pixels_are_those_of_the_named_photo(sample_root, cache):
    for split in load(sample_root, 2, cache_dir=cache).splits.values():
        for row, name in zip(split.rows, split.names, strict=True):
            photo = read_image(sample_root / "deepweeds" / "images" / name, 3)
            np.testing.assert_array_equal(split.images.array[row], photo)


def test_classes_are_in_the_order_of_the_labels(sample_root):
    assert tuple(DeepWeeds.class_names) == (*sample_data.WEEDS, sample_data.NEGATIVE)
    with (sample_root / "deepweeds" / "labels" / "labels.csv").open(newline="") as file:
        named = {int(row["Label"]): row["Species"] for row in csv.DictReader(file)}
    assert [named[label] for label in range(9)] == list(DeepWeeds.class_names)


def test_photos_are_decoded_once_for_all_folds(sample_root, cache, monkeypatch):
    load(sample_root, 0, cache_dir=cache)
    monkeypatch.setattr(deepweeds, "decode_files", lambda *_: pytest.fail("it decodes again"))
    for fold in range(5):
        load(sample_root, fold, cache_dir=cache)


@pytest.mark.parametrize("fold", [5, -1])
def test_a_fold_that_does_not_exist_is_refused(sample_root, fold):
    with pytest.raises(UserError, match=rf"data\.fold must be 0 to 4, not {fold}"):
        DeepWeeds(root=str(sample_root), fold=fold)


def test_folds_have_numbers_and_fingerprints_of_their_own(sample_root, cache):
    modules = [load(sample_root, fold, cache_dir=cache) for fold in range(5)]
    assert [module.fold for module in modules] == [0, 1, 2, 3, 4]
    assert len({module.fingerprint for module in modules}) == 5


def test_a_conflict_of_labels_is_reported_and_the_fold_wins(sample_root, cache, said):
    data = load(sample_root, 1, cache_dir=cache)
    whole = table(sample_root, "labels")
    fold = {n: int(k) for split in data.splits.values() for n, k in zip(split.names, split.labels, strict=True)}
    (name,) = [name for name in fold if fold[name] != whole[name]]
    assert fold[name] == {k: v for part in PARTS for k, v in table(sample_root, f"{part}_subset1").items()}[name]
    names = data.class_names[fold[name]], data.class_names[whole[name]]
    assert said == [f"DeepWeeds: {name} is {names[0]!r} in the folds and {names[1]!r} in labels.csv; the folds win"]


def test_without_labels_csv_there_is_nothing_to_report(root, said):
    (root / "deepweeds" / "labels" / "labels.csv").unlink()
    load(root)
    assert not said


def test_a_missing_table_is_named(root):
    (root / "deepweeds" / "labels" / "val_subset3.csv").unlink()
    with pytest.raises(UserError, match=r"no .*val_subset3\.csv: let --data\.download true fetch it"):
        load(root)


def test_missing_images_are_named_on_one_line(root):
    shutil.rmtree(root / "deepweeds" / "images")
    first = min(table(root, "labels"))
    with pytest.raises(UserError, match=f"^no file .*{first}: ") as caught:
        load(root)
    assert "\n" not in str(caught.value)
    assert not [path for path in (root / ".decoded").glob("*") if path.suffix != ".lock"]


def test_one_missing_image_is_named(root):
    name = sorted(table(root, "labels"))[40]
    (root / "deepweeds" / "images" / name).unlink()
    with pytest.raises(UserError, match=f"^no file .*{name}: "):
        load(root)


def test_a_broken_jpeg_is_named_on_one_line(root):
    name = sorted(table(root, "labels"))[40]
    (root / "deepweeds" / "images" / name).write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(UserError, match=f"{name} is not a readable image") as caught:
        load(root)
    assert "\n" not in str(caught.value)
    assert not [path for path in (root / ".decoded").glob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize("label", ["9", "-1", "weed", ""])
def test_a_label_that_does_not_exist_is_named_with_its_file_and_line(root, label):
    file = root / "deepweeds" / "labels" / "val_subset0.csv"
    lines = file.read_text().splitlines()
    lines[3] = lines[3].split(",")[0] + f",{label}"
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match=f"^{file} line 4: label '{label}', expected 0 to 8$"):
        load(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'Filename'; its header is "),
        ("Filename,Species\na.jpg,Lantana\n", "has no column 'Label'; its header is Filename,Species"),
        ("Filename,Label\n", "has no rows"),
        ("Filename,Label\na.jpg,1\nb.jpg\n", "line 3: 1 cells, expected Filename,Label"),
    ],
)
def test_a_broken_table_is_named(root, text, message):
    file = root / "deepweeds" / "labels" / "test_subset0.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=f"^{file} {message}"):
        load(root)


def test_a_changed_table_is_decoded_again(root):
    before = load(root).splits["train"]
    for fold in range(5):
        for part in PARTS:
            file = root / "deepweeds" / "labels" / f"{part}_subset{fold}.csv"
            file.write_text(file.read_text().replace(f"{before.names[0]},{before.labels[0]}\n", ""))
    after = load(root)
    assert after.splits["train"].names[0] == before.names[1]
    assert len(after.splits["train"].images.array) == 89


@pytest.mark.parametrize("older", [True, False])
def test_a_replaced_photo_is_decoded_again(root, older):
    before = load(root)
    file = root / "deepweeds" / "images" / before.splits["train"].names[0]
    stat = file.stat()
    assert cv2.imwrite(str(file), np.full((32, 32, 3), 9, np.uint8))
    assert file.stat().st_size != stat.st_size
    os.utime(file, ns=(1, 1) if older else (stat.st_atime_ns, stat.st_mtime_ns))
    after = load(root)
    split = after.splits["train"]
    np.testing.assert_array_equal(split.images.array[split.rows[0]], read_image(file, 3))
    assert after.fingerprint != before.fingerprint


def test_only_what_is_missing_is_downloaded_and_unpacked(root, sample_root, monkeypatch):
    def fetch(url, target, sha256=None):
        if not target.is_file():
            fetched.append((url, sha256))
            target.write_bytes(contents[target.name])
        return target

    folder = root / "deepweeds"
    fetched = []
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (folder / "images").iterdir():
            packed.write(file, file.name)
    lost = folder / "labels" / "test_subset4.csv"
    contents = {"images.zip": archive.getvalue(), lost.name: lost.read_bytes()}
    shutil.rmtree(folder / "images")
    lost.unlink()
    monkeypatch.setattr(deepweeds_files, "download", fetch)

    fingerprint = load(root, 4, download=True).fingerprint
    assert fetched == [
        (deepweeds_files.URL_OF_LABELS + lost.name, None),
        (deepweeds_files.URL_OF_IMAGES, deepweeds_files.SHA256_OF_IMAGES),
    ]
    assert not (folder / "images.zip").exists()
    assert load(sample_root, 4, cache_dir=str(root / "other")).fingerprint == fingerprint
    load(root, 4, download=True)
    assert len(fetched) == 2
