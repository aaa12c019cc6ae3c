"""Augmentation image by image is a function of (seed, epoch, image), and names mistakes of its description."""

import numpy as np
import pytest

from basics.errors import UserError
from datamodules.augment.albumentations import Augmentation

FLIP = {"HorizontalFlip": {"p": 0.5}}
BRIGHTEN = {"RandomBrightnessContrast": {"brightness_limit": [0.2, 0.2], "contrast_limit": [0.0, 0.0], "p": 0.5}}
LIGHT = {"RandomBrightnessContrast": {"brightness_limit": [-0.3, 0.3], "contrast_limit": [-0.3, 0.3], "p": 1.0}}

# Grey, dark on the left and light on the right: a flip and a change of brightness are told apart.
PICTURE = np.repeat(np.array([[60, 140]], np.uint8), 8, axis=1).repeat(16, axis=0)[..., None]


def augmenter(*transforms, seed=0, image_size=16):
    return Augmentation(transforms, seed, image_size)


def flipped(image):
    return bool(image[:, :8].mean() > image[:, 8:].mean())


def brightened(image):
    return bool(image.mean() > PICTURE.mean() + 1)


def different(images):
    return len({image.tobytes() for image in images})


def test_the_same_seed_epoch_and_index_give_the_same_image_in_any_order():
    keys = [(epoch, index) for epoch in range(3) for index in range(20)]
    augmentation, other = augmenter(FLIP, LIGHT, seed=4), augmenter(FLIP, LIGHT, seed=4)
    there = {key: augmentation(PICTURE, *key) for key in keys}
    for key in reversed(keys):
        np.testing.assert_array_equal(other(PICTURE, *key), there[key])


def test_another_epoch_index_or_seed_gives_another_image():
    augmentation = augmenter(FLIP, LIGHT)
    assert different([augmentation(PICTURE, 0, index) for index in range(40)]) > 30
    assert different([augmentation(PICTURE, epoch, 0) for epoch in range(40)]) > 30
    assert different([augmenter(LIGHT, seed=seed)(PICTURE, 0, 0) for seed in range(10)]) > 7


def test_epoch_and_index_are_not_interchangeable():
    augmentation = augmenter(FLIP, LIGHT)
    pairs = [(augmentation(PICTURE, 0, number), augmentation(PICTURE, number, 0)) for number in range(1, 30)]
    assert sum(one.tobytes() == other.tobytes() for one, other in pairs) < 5


def test_flips_and_brightness_are_drawn_independently():
    augmentation = augmenter(FLIP, BRIGHTEN)
    images = [augmentation(PICTURE, 0, index) for index in range(300)]
    flips = [flipped(image) for image in images]
    lights = [brightened(image) for image in images]
    assert 110 < sum(flips) < 190
    assert 110 < sum(lights) < 190
    assert abs(np.corrcoef(flips, lights)[0, 1]) < 0.2


def test_equal_transforms_in_a_row_are_drawn_independently():
    augmentation = augmenter(FLIP, FLIP)  # equal draws would always cancel out
    assert 110 < sum(flipped(augmentation(PICTURE, 0, index)) for index in range(300)) < 190


def test_the_global_generators_of_numpy_and_python_do_not_matter():
    augmentation = augmenter(FLIP, LIGHT)
    images = []
    for seed in range(2):
        np.random.seed(seed)
        images.append([augmentation(PICTURE, 0, index).tobytes() for index in range(10)])
    assert images[0] == images[1]


def test_the_given_image_is_left_as_it_was():
    before = PICTURE.copy()
    for index in range(10):
        augmenter(FLIP, LIGHT)(PICTURE, 0, index)
    np.testing.assert_array_equal(PICTURE, before)


def test_an_empty_step_takes_the_default_arguments():
    assert augmenter({"HorizontalFlip": None})(PICTURE, 0, 0).shape == PICTURE.shape


def test_a_crop_without_a_size_gives_that_of_the_network():
    crop = {"RandomResizedCrop": {"scale": [0.5, 1.0]}}
    assert augmenter(crop, image_size=12)(PICTURE, 0, 0).shape == (12, 12, 1)
    assert augmenter({"RandomResizedCrop": {"size": [6, 8]}}, image_size=12)(PICTURE, 0, 0).shape == (6, 8, 1)


def test_an_unknown_transform_is_named_with_the_nearest_known():
    with pytest.raises(UserError, match=r"'HorizontalFlp': did you mean HorizontalFlip\?"):
        augmenter({"HorizontalFlp": {"p": 0.5}})


def test_a_transform_unlike_any_other_is_named():
    with pytest.raises(UserError, match="no transform 'Qqqqq'"):
        augmenter({"Qqqqq": {}})


def test_helpers_of_albumentations_are_not_transforms():
    with pytest.raises(UserError, match="no transform 'Compose'"):
        augmenter({"Compose": {"transforms": []}})


@pytest.mark.parametrize(
    ("transform", "argument", "proposed"),
    [("HorizontalFlip", "prob", "p"), ("Rotate", "limits", "limit")],
)
def test_an_unknown_argument_is_named_with_the_nearest_known(transform, argument, proposed):
    message = rf"data\.augment: {transform} has no argument '{argument}': did you mean {proposed}\?$"
    with pytest.raises(UserError, match=message):
        augmenter({transform: {argument: 0.5}})


def test_an_argument_unlike_any_other_is_answered_with_the_list():
    message = r"RandomBrightnessContrast has no argument 'qqqqq': .*brightness_limit, contrast_limit, .*\bp\?$"
    with pytest.raises(UserError, match=message):
        augmenter({"RandomBrightnessContrast": {"qqqqq": 1}})


def test_an_impossible_value_of_an_argument_is_reported_on_one_line():
    with pytest.raises(UserError, match=r"data\.augment: HorizontalFlip: .*\bp\b") as caught:
        augmenter({"HorizontalFlip": {"p": 7}})
    assert "\n" not in str(caught.value)
