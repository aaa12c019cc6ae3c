"""Batches are the same images a step on any number of devices, each image once, also after a checkpoint."""

import itertools

import pytest
from torch.utils.data import Dataset

from datamodules.samplers import BatchSampler, ResumableLoader

ODD_SIZES = (7, 11, 31, 37, 63, 101)


class Requests(Dataset):
    """Gives back what it is asked for."""

    def __getitem__(self, request):
        return request


def epoch_of(size, batch_size, world, seed=0, epoch=0):
    """The batches of one epoch, for every rank."""
    ranks = []
    for rank in range(world):
        sampler = BatchSampler(size, batch_size, rank, world, seed)
        sampler.set_epoch(epoch)
        ranks.append(list(sampler))
    return ranks


def images(batches):
    return [index for _, indices, _ in batches for index in indices]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("size", ODD_SIZES)
def test_training_gives_every_image_exactly_once_an_epoch(size, world):
    seen = [index for batches in epoch_of(size, 12, world) for index in images(batches)]
    assert sorted(seen) == list(range(size))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("size", [24, 31, 36, 37, 101])
def test_training_steps_hold_the_same_images_whatever_the_number_of_devices(size, world):
    (alone,) = epoch_of(size, 12, 1, epoch=3)
    together = zip(*epoch_of(size, 12, world, epoch=3), strict=True)
    steps = [set(indices) for _, indices, _ in alone]
    if size % 12 == 0 or size % 12 >= 2 * world:
        assert [set(images(parts)) for parts in together] == steps
    else:  # a rest too small for the devices goes to the last step; the steps before are the same
        assert [set(images(parts)) for parts in together][:-1] == steps[: size // 12 - 1]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_steps_are_as_many_on_all_ranks_and_as_len_says(world):
    for size in range(7, 71):
        batches = epoch_of(size, 12, world)
        lengths = {len(BatchSampler(size, 12, rank, world, seed=0)) for rank in range(world)}
        assert {len(rank) for rank in batches} == lengths, size
        assert len(lengths) == 1, size


@pytest.mark.parametrize(("batch_size", "world"), [(4, 1), (4, 2), (6, 3), (12, 1), (12, 2), (12, 3)])
def test_no_rank_trains_on_a_batch_of_fewer_than_two(batch_size, world):
    for size in range(7, 71):
        batches = itertools.chain.from_iterable(epoch_of(size, batch_size, world))
        assert min(len(indices) for _, indices, _ in batches) >= 2, size


def test_a_full_training_batch_is_shared_equally():
    for batches in epoch_of(60, 12, 3):
        assert [len(indices) for _, indices, _ in batches] == [4] * 5


def test_training_order_is_a_function_of_seed_and_epoch():
    first = epoch_of(101, 12, 1, seed=5, epoch=2)
    assert epoch_of(101, 12, 1, seed=5, epoch=2) == first
    others = [epoch_of(101, 12, 1, seed=seed, epoch=epoch) for seed, epoch in ((5, 3), (6, 2))]
    for other in others:
        assert images(other[0]) != images(first[0])


@pytest.mark.parametrize("world", [2, 3])
def test_rank_weights_weigh_an_uneven_last_step_by_images(world):
    """So the mean of the ranks' weighted losses is the mean over the images."""
    for parts in zip(*epoch_of(31, 12, world), strict=True):
        sizes = [len(indices) for _, indices, _ in parts]
        weights = [weight for _, _, weight in parts]
        assert weights == pytest.approx([size * world / sum(sizes) for size in sizes])
    assert len(set(weights)) == 2  # the last step is uneven


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_leaves_out_the_batches_that_are_done(workers):
    done = 0
    sampler = BatchSampler(30, 6, seed=0)
    rest = {"batch_size": None, "num_workers": workers, "persistent_workers": workers > 0}
    loader = ResumableLoader(Requests(), sampler=sampler, done=lambda: done, **rest)
    whole = list(loader)
    assert [epoch for epoch, _, _ in whole] == [0] * 5
    batches = iter(loader)
    sampler.set_epoch(3)  # as Lightning does when it has made the iterator already
    done = 2
    resumed = list(batches)
    done = 0
    assert resumed == list(loader)[2:]
    assert [epoch for epoch, _, _ in resumed] == [3] * 3
    assert len(loader) == 5


def test_requests_carry_the_epoch():
    assert {epoch for epoch, _, _ in epoch_of(30, 6, 1, epoch=4)[0]} == {4}


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [6, 12, 102])
def test_evaluation_gives_every_image_once_in_the_order_of_the_split(world, batch_size):
    ranks = [images(batches) for batches in epoch_of(101, batch_size, world, seed=None)]
    assert sorted(itertools.chain.from_iterable(ranks)) == list(range(101))
    assert all(seen == sorted(seen) for seen in ranks)
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_has_as_many_batches_as_len_says_none_of_them_empty(world):
    for size in (*range(3, 40), 101):
        for rank in range(world):
            sampler = BatchSampler(size, 6, rank, world)
            batches = list(sampler)
            assert len(sampler) == len(batches), (size, rank)
            assert all(1 <= len(indices) <= 6 // world for _, indices, _ in batches), (size, rank)


def test_evaluation_does_not_depend_on_the_epoch():
    first, second = (epoch_of(20, 6, 2, seed=None, epoch=epoch) for epoch in (0, 1))
    assert [images(rank) for rank in first] == [images(rank) for rank in second]
