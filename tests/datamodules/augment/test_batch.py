"""Augmentation of whole batches is distributed as that of albumentations, and names what it does not do."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch._subclasses import FakeTensorMode

from basics.errors import UserError
from datamodules.augment.albumentations import Augmentation
from datamodules.augment.batch import BatchAugmentation

CONFIGS = Path(__file__).parents[3] / "configs"
DRAWS = 800  # of one image, in the comparisons of statistics
LEVEL = 1 / 255


def from_config(name):
    return yaml.safe_load((CONFIGS / f"data/{name}.yaml").read_text())["init_args"]["augment"]


def picture(side=24, channels=3, seed=0):
    """Smooth, so that how often it is interpolated does not matter, and unlike any of its mirror images."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(-0.8, 0.8, (channels, 3))]
    return np.stack([130 + 70 * wave + 30 * x for wave in waves], 2).round().astype(np.uint8)


def batch(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def augment(transforms, images, indices=None, epoch=0, seed=0, image_size=None):
    augmentation = BatchAugmentation(transforms, seed, image_size or images.shape[-1])
    return augmentation(images, augmentation.draws(epoch, range(len(images)) if indices is None else indices))


def by_albumentations(transforms, image, number, image_size):
    augmentation = Augmentation(transforms, 0, image_size)
    images = [augmentation(image, 0, index).reshape(image_size, image_size, -1) for index in range(number)]
    return batch(images).numpy() / np.float32(255)


def both(transforms, image, number, image_size=None):
    size = image_size or image.shape[0]
    ours = augment(transforms, batch([image] * number), image_size=size).numpy()
    return ours, by_albumentations(transforms, image, number, size)


# Statistics over many draws. The tolerances beyond sampling error: a level for uint8's rounding down at every step.

STATISTICS = {
    "flip": ([{"HorizontalFlip": {"p": 0.3}}], 24, 24),
    "vertical": ([{"VerticalFlip": None}], 24, 24),
    "d4": ([{"D4": None}], 24, 24),
    "d4 sometimes": ([{"D4": {"p": 0.5}}], 24, 24),
    "quarter turns": ([{"RandomRotate90": {"p": 0.8}}], 24, 24),
    "rotate": ([{"Affine": {"rotate": [-40, 20], "p": 0.7}}], 24, 24),
    "scale": ([{"Affine": {"scale": [0.7, 1.2], "p": 0.7}}], 24, 24),
    "translate": ([{"Affine": {"translate_percent": [-0.15, 0.2]}}], 24, 24),
    "shear": ([{"Affine": {"shear": [-10, 25], "p": 1.0}}], 24, 24),
    "per axis": ([{"Affine": {"scale": {"x": [0.6, 0.8]}, "translate_percent": {"y": [0, 0.2]}, "p": 1}}], 24, 24),
    "keep ratio": ([{"Affine": {"scale": [0.7, 1.3], "keep_ratio": True, "p": 1.0}}], 24, 24),
    "crop by default": ([{"RandomResizedCrop": None}], 24, 24),
    "crop to another size": ([{"RandomResizedCrop": {"scale": [0.3, 0.9], "ratio": [0.5, 1.5]}}], 24, 20),
    "crop that never fits": ([{"RandomResizedCrop": {"scale": [0.9, 1.0], "ratio": [2.0, 3.0]}}], 48, 48),
    "pad and crop": ([{"Pad": {"padding": 2}}, {"RandomCrop": {"height": 24, "width": 24}}], 24, 24),
    "crop alone": ([{"RandomCrop": {"height": 20, "width": 20}}, {"HorizontalFlip": {}}], 24, 20),
    "brightness": ([{"RandomBrightnessContrast": {"brightness_limit": 0.3, "p": 0.6}}], 24, 24),
    "jitter": ([{"ColorJitter": {"hue": 0.05, "p": 0.8}}], 24, 24),
    "any hue": ([{"ColorJitter": {"brightness": 0, "contrast": 0, "saturation": 0, "p": 1.0}}], 24, 24),
    "holes": ([{"CoarseDropout": {"num_holes_range": [1, 3], "fill": 200, "p": 0.8}}], 24, 24),
    "holes in pixels": ([{"CoarseDropout": {"hole_height_range": [4, 9], "hole_width_range": [2, 5]}}], 24, 24),
    "affine of a crop": ([{"RandomResizedCrop": {"scale": [0.3, 0.6]}}, {"Affine": {"rotate": 45}}], 24, 24),
    "crop of an affine": ([{"Affine": {"rotate": 45}}, {"RandomResizedCrop": {"scale": [0.6, 1.0]}}], 24, 24),
    "two affines": ([{"Affine": {"translate_percent": 0.3}}, {"Affine": {"translate_percent": -0.3}}], 24, 24),
    "fer": (from_config("fer"), 48, 48),
    "deepweeds": (from_config("deepweeds"), 28, 24),
}


@cache
def samples(name):
    transforms, side, image_size = STATISTICS[name]
    image = picture(side, 1 if name == "fer" else 3)
    return *both(transforms, image, DRAWS, image_size), batch([image]).numpy() / np.float32(255)


@pytest.mark.parametrize("name", STATISTICS)
def test_mean_and_spread_of_every_pixel_are_those_of_albumentations(name):
    ours, theirs, _ = samples(name)
    error = np.sqrt((ours.var(0) + theirs.var(0)) / DRAWS)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 5 * error + 2 * LEVEL).all()
    # The variance of a sample variance is at most that of the square of the deviation.
    square_error = np.sqrt(sum(((one - one.mean(0)) ** 2).var(0) for one in (ours, theirs)) / DRAWS)
    spread = np.maximum(ours.std(0), theirs.std(0))
    assert (np.abs(ours.var(0) - theirs.var(0)) < 5 * square_error + 4 * LEVEL * spread + LEVEL**2).all()


@pytest.mark.parametrize("name", STATISTICS)
def test_the_means_of_images_and_of_their_squares_spread_as_those_of_albumentations(name):
    ours, theirs, _ = samples(name)
    for power in (1, 2):
        one, other = ((images**power).mean((2, 3)) for images in (ours, theirs))
        error = np.sqrt((one.var(0) + other.var(0)) / DRAWS)
        assert (np.abs(one.mean(0) - other.mean(0)) < 4.5 * error + 2 * LEVEL).all()
        assert one.std(0) == pytest.approx(other.std(0), rel=0.12, abs=LEVEL)


@pytest.mark.parametrize("name", STATISTICS)
def test_as_many_images_stay_as_they_are(name):
    ours, theirs, image = samples(name)
    if ours.shape[1:] != image.shape[1:]:
        pytest.skip("another size")
    shares = [(np.abs(images - image).max((1, 2, 3)) < 1e-6).mean() for images in (ours, theirs)]
    share = np.mean(shares)
    assert abs(shares[0] - shares[1]) < 4.5 * np.sqrt(2 * share * (1 - share) / DRAWS) + 0.005


# Transforms without chance: pixel by pixel.

FIXED = [
    ({"HorizontalFlip": {"p": 1}}, 0),
    ({"VerticalFlip": {"p": 1}}, 0),
    ({"Affine": {"rotate": [90, 90], "p": 1}}, 2),
    ({"Affine": {"rotate": 20, "p": 1}}, 2),
    ({"Affine": {"scale": [1.1, 1.1], "p": 1}}, 2),
    ({"Affine": {"scale": 0.8, "shear": {"x": 15}, "p": 1}}, 2),
    ({"Affine": {"shear": {"y": 15}, "translate_percent": {"x": 0.1, "y": -0.2}, "p": 1}}, 2),
    ({"Affine": {"rotate": 30, "scale": {"x": 0.8, "y": 1.2}, "shear": [10, 10], "translate_percent": 0.1, "p": 1}}, 2),
    ({"RandomResizedCrop": {"scale": [1, 1], "ratio": [1, 1]}}, 1),
    ({"RandomResizedCrop": {"scale": [1, 1], "ratio": [0.5, 0.5]}}, 4),
    ({"RandomBrightnessContrast": {"brightness_limit": [0.2, 0.2], "contrast_limit": [0, 0], "p": 1}}, 1),
    ({"RandomBrightnessContrast": {"brightness_limit": [-0.1, -0.1], "contrast_limit": [0.3, 0.3], "p": 1}}, 1),
    ({"ColorJitter": {"brightness": [1.3, 1.3], "contrast": 0, "saturation": 0, "hue": 0, "p": 1}}, 1),
    ({"ColorJitter": {"brightness": 0, "contrast": [0.6, 0.6], "saturation": 0, "hue": 0, "p": 1}}, 1.5),
    ({"ColorJitter": {"brightness": 0, "contrast": 0, "saturation": [1.5, 1.5], "hue": 0, "p": 1}}, 1.5),
    ({"ColorJitter": {"brightness": 0, "contrast": 0, "saturation": 0, "hue": [0.1, 0.1], "p": 1}}, 4),
    ({"ColorJitter": {"brightness": 0, "contrast": 0, "saturation": 0, "hue": [-0.4, -0.4], "p": 1}}, 4),
]


@pytest.mark.parametrize(("transform", "levels"), FIXED, ids=lambda value: str(value)[:80])
def test_transforms_without_chance_give_the_pixels_of_albumentations(transform, levels):
    ours, theirs = both([transform], picture(), 1)
    assert np.abs(ours - theirs).max() <= levels * LEVEL + 1e-6


def test_pads_are_black_and_on_the_side_that_albumentations_has_them():
    ours, theirs = both([{"Pad": {"padding": [1, 2, 5, 4]}}], picture(), 1, image_size=30)
    np.testing.assert_array_equal(ours, theirs)


def test_all_symmetries_of_d4_are_exact():
    image = batch([picture()])
    results = augment([{"D4": {}}], image.expand(200, -1, -1, -1))
    turned = [image.rot90(quarters, (2, 3)) for quarters in range(4)]
    expected = {view.float().div(255).numpy().tobytes() for one in turned for view in (one, one.mT)}
    assert {result.contiguous().numpy().tobytes() for result in results} == expected


@pytest.mark.parametrize("side", [16, 24, 37])
def test_images_that_no_step_moves_are_exactly_the_input(side):
    transforms = [{"Affine": {"rotate": [-30, 30], "shear": [-10, 10], "p": 0.5}}, *from_config("fer")[1:2]]
    images = batch([picture(side, 1, seed) for seed in range(300)])
    same = (augment(transforms, images) == images.float() / 255).all((1, 2, 3))
    assert 10 < same.sum() < 60  # a tenth


def test_a_change_of_size_without_any_transform_is_a_resize():
    flips = [{"HorizontalFlip": {"p": 0.0}}]
    images = batch([picture(48)])
    for size in (24, 96):
        expected = torch.nn.functional.interpolate(images.float() / 255, (size, size), mode="bilinear", antialias=True)
        assert (augment(flips, images, image_size=size) - expected).abs().max() < LEVEL


# The numbers.


def test_draws_are_uniform_and_independent_of_one_another():
    augmentation = BatchAugmentation(from_config("deepweeds"), 3, 24)
    draws = augmentation.draws(5, np.arange(20_000)).numpy()
    assert draws.dtype == np.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in draws.T])
    assert ((counts - 1000) ** 2 / 1000).sum(1).max() < 50  # chi-square of 19 degrees of freedom: 1e-4 a column
    between_columns = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    assert np.abs(between_columns).max() < 0.035  # 5 / sqrt(20,000)


def test_neighbouring_places_epochs_and_seeds_have_unrelated_draws():
    def draws(seed, epoch, first=0):
        return BatchAugmentation(from_config("fer"), seed, 24).draws(epoch, range(first, first + 4000)).numpy()

    here = draws(0, 0)
    for other in (draws(0, 0, first=1), draws(0, 1), draws(1, 0), draws(0, 0, first=4000), draws(2**40, 0)):
        crossed = np.corrcoef(here.T, other.T)[: here.shape[1], here.shape[1] :]
        assert np.abs(crossed).max() < 0.08  # 5 / sqrt(4,000)
    crossed = np.corrcoef(draws(0, 1).T, draws(1, 0).T)[: here.shape[1], here.shape[1] :]
    assert np.abs(crossed).max() < 0.08


def test_draws_do_not_change_with_batches_or_with_the_kind_of_sequence():
    augmentation = BatchAugmentation(from_config("fer"), 1, 24)
    indices = [7, 3, 10_000_000, 0]
    together = augmentation.draws(2, indices)
    assert torch.equal(together, augmentation.draws(2, np.array(indices)))
    assert torch.equal(together, torch.cat([augmentation.draws(2, [index]) for index in indices]))
    assert len(together.flatten().unique()) == together.numel()


@pytest.mark.parametrize("config", ["fer", "deepweeds"])
def test_an_image_is_the_same_in_any_batch(config, monkeypatch):
    images = batch([picture(seed=seed) for seed in range(21)])
    transforms = from_config(config)
    indices = np.arange(100, 121)
    together = augment(transforms, images, indices)
    monkeypatch.setattr("datamodules.augment.batch.PIXELS_A_PASS", 24 * 24 * 4)  # passes of four images
    assert torch.allclose(together, augment(transforms, images, indices), atol=1e-5)
    backwards = augment(transforms, images.flip(0), indices[::-1].copy()).flip(0)
    assert torch.allclose(together, backwards, atol=1e-5)


def test_another_epoch_place_or_seed_gives_another_image():
    images = batch([picture(channels=1)] * 30)
    transforms = from_config("fer")
    here = augment(transforms, images)
    assert len(here.flatten(1).unique(dim=0)) > 24
    for other in (augment(transforms, images, epoch=1), augment(transforms, images, seed=1)):
        assert (here != other).flatten(1).any(1).sum() > 24


# What goes in and comes out.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("config", ["fer", "deepweeds"])
def test_floats_in_channels_last_memory_come_out(config, memory_format, channels):
    images = torch.randint(0, 256, (5, channels, 30, 30), dtype=torch.uint8).contiguous(memory_format=memory_format)
    before = images.clone()
    result = augment(from_config(config), images, image_size=24)
    assert result.shape == (5, channels, 24, 24)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert not result.requires_grad
    assert 0 <= result.min() <= result.max() <= 1
    assert torch.equal(images, before)


def test_an_empty_batch_and_an_empty_pipeline_work():
    assert augment(from_config("deepweeds"), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)).shape == (0, 3, 8, 8)
    images = batch([picture()])
    assert torch.equal(augment([], images), images.float() / 255)


@pytest.mark.parametrize("name", STATISTICS)
def test_nothing_depends_on_values_that_a_device_would_have_to_be_asked_for(name):
    transforms, side, image_size = STATISTICS[name]
    augmentation = BatchAugmentation(transforms, 0, image_size)
    with FakeTensorMode():  # tensors without values: `item`, boolean indexing and branches on them raise
        result = augmentation(
            torch.empty(4, 3, side, side, dtype=torch.uint8, device="cuda"),
            torch.empty(4, augmentation.columns, device="cuda"),
        )
    assert result.shape == (4, 3, image_size, image_size)
    assert result.device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", ["fer", "deepweeds"])
def test_a_gpu_gives_the_same_images_and_nothing_waits_for_it(config):
    images = batch([picture(seed=seed) for seed in range(32)])
    augmentation = BatchAugmentation(from_config(config), 0, 24)
    draws = augmentation.draws(0, range(32))
    there = images.cuda(), draws.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = augmentation(*there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(result.cpu(), augmentation(images, draws), atol=1e-3)


# Mistakes.


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"Posterize": {}}, r"Posterize is not done on whole batches \(HorizontalFlip, .* are\): pass"),
        ({"Affine": {"border_mode": 1}}, r"Affine with border_mode is not done on whole batches \(scale, .*, p are\)"),
        ({"Affine": {"fill": 9, "p": 1}}, r"Affine with fill 9 is not done on whole batches \(fill 0 .* are\)"),
        ({"Pad": {"padding": 2, "p": 0.5}}, r"Pad with p 0.5 is not done on whole batches"),
        ({"CoarseDropout": {"fill": "random"}}, r"CoarseDropout with fill random is not done"),
        ({"RandomBrightnessContrast": {"brightness_by_max": False}}, "with brightness_by_max False is not done"),
        ({"HorizontalFlip": {"p": 7}}, r"HorizontalFlip: p 7 is not in \[0, 1\]$"),
        ({"HorizontalFlip": {"p": "often"}}, "HorizontalFlip: "),
        ({"Affine": {"rotate": [10, -10]}}, r"Affine: rotate \[10.0, -10.0\] is not \[low, high\]$"),
        ({"Affine": {"rotate": "much"}}, r"Affine: rotate much is not a number or \[low, high\]$"),
        ({"RandomCrop": {"height": 3}}, "RandomCrop: missing a required argument: 'width'$"),
        ({"Pad": {"padding": [1, 2, 3]}}, "Pad: padding "),
        ({"CoarseDropout": {"num_holes_range": 2}}, "CoarseDropout: "),
    ],
)
def test_what_is_not_done_on_whole_batches_is_said_in_one_line(transform, message):
    with pytest.raises(UserError, match=rf"^data\.augment: .*{message}") as caught:
        BatchAugmentation([transform], 0, 24)
    assert "\n" not in str(caught.value)
    assert ("--data.augment_with albumentations" in str(caught.value)) == ("not done" in str(caught.value))


def test_sizes_that_do_not_fit_are_said():
    wide = torch.zeros(1, 3, 8, 9, dtype=torch.uint8)
    for transforms in ([{"D4": {}}], [{"D4": {}}, {"Affine": {}}]):
        with pytest.raises(UserError, match="D4 needs square images"):
            augment(transforms, wide)
    with pytest.raises(UserError, match="RandomCrop of 9 x 9 from images of 8 x 9"):
        augment([{"RandomCrop": {"height": 9, "width": 9}}], wide)
    with pytest.raises(TypeError, match="uint8"):
        augment([], torch.zeros(1, 1, 8, 8))
