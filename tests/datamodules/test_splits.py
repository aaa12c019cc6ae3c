"""Parts of a data set have the classes of the whole, and training on a part takes the part that it should."""

import numpy as np
import pytest

from basics.errors import UserError
from datamodules import FER2013
from datamodules.splits import Split, stratified_split


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_their_sizes_and_are_disjoint(seed):
    labels = np.random.default_rng(seed).integers(0, 5, 101)
    parts = stratified_split(labels, [70, 16, 15], seed)
    assert [len(part) for part in parts] == [70, 16, 15]
    assert sorted(np.concatenate(parts)) == list(range(101))
    assert all((np.diff(part) > 0).all() for part in parts)


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_equal_classes_in_proportion_within_one_image(seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(7), 15))
    for part in stratified_split(labels, [73, 16, 16], seed):
        share = len(part) / len(labels)
        assert (np.abs(np.bincount(labels[part], minlength=7) - 15 * share) <= 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_unequal_classes_in_proportion_within_two_images(seed):
    counts = np.array([4, 51, 48, 8, 53, 23, 8])
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(7), counts))
    for part in stratified_split(labels, [137, 29, 29], seed):
        share = len(part) / len(labels)
        assert (np.abs(np.bincount(labels[part], minlength=7) - counts * share) < 2).all()


def test_parts_are_a_function_of_the_seed():
    labels = np.arange(100) % 5
    first, again, other = (stratified_split(labels, [80, 20], seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def load(root, tmp_path, **options):
    data = FER2013(root=str(root), cache_dir=str(tmp_path), **options)
    data.prepare_data()
    data.setup("fit")
    return data


def test_a_part_of_the_training_split_has_its_classes_and_is_judged_by_the_whole(sample_root, tmp_path):
    whole, part = (load(sample_root, tmp_path, train_fraction=fraction) for fraction in (1.0, 0.5))
    names = set(part.splits["train"].names)
    assert len(names) == len(part.splits["train"]) == len(whole.splits["train"]) // 2
    assert names < set(whole.splits["train"].names)
    for half, all_of_it in zip(part.class_counts, whole.class_counts, strict=True):
        assert abs(half - all_of_it / 2) < 1
    for name in ("val", "test"):
        np.testing.assert_array_equal(part.splits[name].rows, whole.splits[name].rows)
    assert part.fingerprint != whole.fingerprint
    again = load(sample_root, tmp_path, train_fraction=0.5)
    assert again.splits["train"].names == part.splits["train"].names
    other = load(sample_root, tmp_path, train_fraction=0.5, split_seed=1)
    assert set(other.splits["train"].names) != names

    left_out = sorted(set(whole.splits["train"].rows) - set(part.splits["train"].rows))
    part.splits["test"] = Split(whole.splits["train"].images, np.array(left_out[:2]), np.zeros(2, int), ["a", "b"])
    assert part.leaked().tolist() == [True, True]


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_a_fraction_is_one(fraction):
    with pytest.raises(UserError, match=f"train_fraction is above 0 and at most 1, not {fraction}"):
        FER2013(train_fraction=fraction)
