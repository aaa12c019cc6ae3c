"""Batches, workers, augmentation and fingerprints of every data set."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from basics.errors import UserError
from datamodules import DeepWeeds, FashionMNIST, ImageFolder

AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomBrightnessContrast": {"brightness_limit": [-0.3, 0.3], "contrast_limit": [0.0, 0.0], "p": 1.0}},
]


@pytest.fixture(autouse=True)
def run_seed(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")


def fashion(root, rank=0, world=1, augment_with="albumentations", **options):
    data = FashionMNIST(root=str(root), augment_with=augment_with, **options)
    progress = SimpleNamespace(current=SimpleNamespace(ready=0))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world, fit_loop=fit_loop, strategy=strategy)
    data.prepare_data()
    data.setup("fit")
    return data


def epoch_of(loader, epoch=0):
    """The images and labels of an epoch by their index."""
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    index, images, labels = (torch.cat([batch[key] for batch in batches]) for key in ("index", "image", "label"))
    order = index.argsort()
    assert index[order].tolist() == list(range(len(index)))
    return images[order], labels[order]


def test_a_batch_size_that_does_not_divide_by_the_devices_is_refused(sample_root):
    with pytest.raises(UserError, match=r"data\.batch_size 32 .* 3 devices: choose a multiple of 3"):
        fashion(sample_root, world=3, batch_size=32)


def test_a_split_with_fewer_images_than_devices_is_refused(sample_root):
    data = fashion(sample_root, world=18, batch_size=36)  # val has 17
    with pytest.raises(UserError, match="the val split has 17 images for 18 devices"):
        data.val_dataloader()


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_the_batch_size_is_that_of_all_devices_together(sample_root, rank, world):
    batch = next(iter(fashion(sample_root, rank, world, batch_size=20).train_dataloader()))
    assert len(batch["label"]) == 20 // world


def test_grey_batches_are_uint8_with_one_channel(sample_root):
    batch = next(iter(fashion(sample_root, batch_size=20).train_dataloader()))
    assert batch.pop("rank_weight") == 1.0
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "image": (20, 1, 28, 28),
        "label": (20,),
        "index": (20,),
    }
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].dtype == batch["index"].dtype == torch.int64


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_colour_batches_lie_in_memory_channels_last(sample_root, tmp_path, augment):
    options = {"image_size": 32, "batch_size": 8, "augment": augment, "num_workers": 0, "download": False}
    data = DeepWeeds(root=str(sample_root), cache_dir=str(tmp_path), **options)
    data.prepare_data()
    data.setup("fit")
    image = next(iter(data.train_dataloader()))["image"]
    assert image.shape == (8, 3, 32, 32)
    assert image.dtype == torch.uint8
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_images_and_labels_are_those_of_the_split(sample_root):
    data = fashion(sample_root, batch_size=20)
    for name in ("train", "val", "test"):
        images, labels = epoch_of(getattr(data, f"{name}_dataloader")())
        split = data.splits[name]
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1), split.images.array[split.rows])
        np.testing.assert_array_equal(labels, split.labels)


def test_images_are_resized_to_the_size_asked_for(sample_root):
    images, _ = epoch_of(fashion(sample_root, batch_size=20, image_size=14, num_workers=0).val_dataloader())
    original, _ = epoch_of(fashion(sample_root, batch_size=20).val_dataloader())
    assert images.shape == (17, 1, 14, 14)
    halves = torch.nn.functional.avg_pool2d(original.float(), 2)
    assert (images - halves).abs().max() <= 1


def test_training_images_are_resized_after_augmentation(sample_root):
    options = {"batch_size": 20, "image_size": 20, "num_workers": 0}
    crop = [{"RandomCrop": {"height": 24, "width": 24, "p": 1.0}}]
    images, _ = epoch_of(fashion(sample_root, augment=crop, **options).train_dataloader())
    assert images.shape == (183, 1, 20, 20)


def test_workers_do_not_change_an_augmented_image(sample_root):
    alone = fashion(sample_root, batch_size=20, augment=AUGMENT, num_workers=0).train_dataloader()
    shared = fashion(sample_root, batch_size=20, augment=AUGMENT, num_workers=2).train_dataloader()
    for epoch in range(2):  # the second epoch reaches workers that were started for the first
        alone.sampler.set_epoch(epoch)
        shared.sampler.set_epoch(epoch)
        for one, other in zip(alone, shared, strict=True):
            assert all(torch.equal(one[key], other[key]) for key in ("image", "label", "index"))


def test_augmented_images_differ_between_epochs(sample_root):
    loader = fashion(sample_root, batch_size=20, augment=AUGMENT, num_workers=0).train_dataloader()
    first, second = epoch_of(loader, 0)[0], epoch_of(loader, 1)[0]
    same = (first == second).flatten(1).all(1)
    assert same.sum() < 0.1 * len(first)
    assert torch.equal(epoch_of(loader, 0)[0], first)


def test_devices_do_not_change_an_augmented_image(sample_root):
    options = {"batch_size": 20, "augment": AUGMENT, "num_workers": 0}
    images, _ = epoch_of(fashion(sample_root, **options).train_dataloader())
    for rank in range(2):
        for batch in fashion(sample_root, rank, 2, **options).train_dataloader():
            assert torch.equal(batch["image"], images[batch["index"]])


def test_the_seed_of_the_run_decides_order_and_augmentation(sample_root, monkeypatch):
    loaders = []
    for seed in ("7", "7", "8"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        loaders.append(fashion(sample_root, batch_size=183, augment=AUGMENT, num_workers=0).train_dataloader())
    first, again, other = (next(iter(loader)) for loader in loaders)
    assert torch.equal(first["index"], again["index"])
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["index"], other["index"])
    by_index = [batch["image"][batch["index"].argsort()] for batch in (first, other)]
    assert not torch.equal(*by_index)


@pytest.mark.parametrize("name", ["val", "test", "predict"])
def test_only_training_images_are_augmented_and_shuffled(sample_root, name):
    plain, augmented = (fashion(sample_root, batch_size=20, num_workers=0, augment=a) for a in (None, AUGMENT))
    before, after = (list(getattr(data, f"{name}_dataloader")()) for data in (plain, augmented))
    assert torch.cat([batch["index"] for batch in after]).diff().eq(1).all()
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one["image"], other["image"])
    trained = (epoch_of(data.train_dataloader())[0] for data in (plain, augmented))
    assert not torch.equal(*trained)


def test_evaluation_gives_every_image_once_over_all_devices(sample_root):
    seen = [batch["index"] for rank in range(2) for batch in fashion(sample_root, rank, 2).test_dataloader()]
    assert sorted(torch.cat(seen).tolist()) == list(range(51))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_generator_alone(sample_root, workers):
    loader = fashion(sample_root, batch_size=20, num_workers=workers).train_dataloader()
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_workers_are_started_for_mere_copies(sample_root):
    assert fashion(sample_root).train_dataloader().num_workers == 0
    assert fashion(sample_root, augment=AUGMENT).train_dataloader().num_workers > 0
    assert fashion(sample_root, image_size=14).val_dataloader().num_workers > 0
    assert fashion(sample_root, augment=AUGMENT, num_workers=3).train_dataloader().num_workers == 3


def test_class_counts_are_those_of_training(sample_root, tmp_path):
    data = ImageFolder(root=str(sample_root / "shapes"), image_size=28, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert data.class_counts == [4] * 16
    data.splits["train"].labels[:] = 2
    assert data.class_counts == [0, 0, 64, *[0] * 13]


def test_the_fingerprint_is_stable_and_follows_splits_and_pixels(sample_root, tmp_path):
    data = fashion(sample_root)
    fingerprint = data.fingerprint
    assert fashion(sample_root).fingerprint == fingerprint
    assert fashion(sample_root, batch_size=64, image_size=14).fingerprint == fingerprint
    assert fashion(sample_root, split_seed=1).fingerprint != fingerprint
    data.splits["test"].labels[0] ^= 1
    assert data.fingerprint != fingerprint

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (sample_root / "FashionMNIST" / "raw").iterdir():
        contents = bytearray(file.read_bytes())
        if file.name == "train-images-idx3-ubyte":
            contents[-1] ^= 1
        (raw / file.name).write_bytes(contents)
    assert fashion(tmp_path).fingerprint != fingerprint


def test_the_fingerprint_changes_when_two_images_of_a_class_trade_splits(sample_root):
    data = fashion(sample_root)
    train, val = data.splits["train"], data.splits["val"]
    fingerprint = data.fingerprint
    index = train.labels.tolist().index(val.labels[0])
    train.rows[index], val.rows[0] = val.rows[0], train.rows[index]
    assert data.fingerprint != fingerprint


def test_a_folder_of_images_can_be_predicted_without_the_data_set(tmp_path):
    for number in range(3):
        (tmp_path / "mine" / "deeper").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "mine" / "deeper" / f"{number}.png"), np.full((40, 30, 3), 50 * number, np.uint8))
    (tmp_path / "mine" / "notes.txt").touch()
    data = fashion(tmp_path / "no data set", predict_folder=str(tmp_path / "mine"))
    (batch,) = data.predict_dataloader()
    assert batch["image"].shape == (3, 1, 28, 28)
    assert batch["image"].flatten(1).float().mean(1).tolist() == [0, 50, 100]
    assert data.splits["predict"].names == [f"deeper/{number}.png" for number in range(3)]


def test_a_folder_without_images_cannot_be_predicted(tmp_path):
    with pytest.raises(UserError, match=r"data\.predict_folder"):
        fashion(tmp_path, predict_folder=str(tmp_path))


def test_whole_batches_are_augmented_on_their_device_and_need_no_workers(sample_root):
    data = fashion(sample_root, augment_with="batch", augment=[{"HorizontalFlip": {"p": 1.0}}])
    loader = data.train_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    augmented = data.on_after_batch_transfer(batch, 0)
    assert "draws" not in augmented
    torch.testing.assert_close(augmented["image"], batch["image"].flip(3) / 255)
    plain = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(plain, 0) is plain


def test_a_view_of_the_whole_split_is_what_that_epoch_trains_on(sample_root):
    data = fashion(sample_root, augment_with="batch", augment=[{"Affine": {"rotate": [-30, 30]}}])
    loader = data.train_dataloader()
    loader.sampler.set_epoch(3)
    batch = data.on_after_batch_transfer(next(iter(loader)), 0)
    view = torch.cat([data.on_after_batch_transfer(part, 0)["image"] for part in data.whole_split("train", 3)])
    torch.testing.assert_close(batch["image"], view[batch["index"]])
    assert not torch.equal(
        next(iter(data.whole_split("train", 2)))["draws"], next(iter(data.whole_split("train", 3)))["draws"]
    )


def test_batches_without_images_say_the_rest(sample_root):
    data = fashion(sample_root, augment=[{"HorizontalFlip": {}}], num_workers=2)
    with_images = next(iter(data.train_dataloader()))
    data.without_images.add("train")
    batch = next(iter(data.train_dataloader()))
    assert batch.keys() == {"label", "index", "rank_weight"}
    assert torch.equal(batch["index"], with_images["index"])
    assert "image" in next(iter(data.val_dataloader()))


def test_images_kept_on_the_device_that_trains_give_the_same_batches(sample_root, monkeypatch):
    def batches(device):
        monkeypatch.setattr(FashionMNIST, "_gpu_for", lambda self, split: device)
        data = fashion(sample_root, batch_size=16, augment=AUGMENT, augment_with="batch")
        return [batch for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]

    mapped, resident = batches(None), batches(torch.device("cpu"))
    assert len(mapped) == len(resident) > 2
    for one, other in zip(mapped, resident, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)
        assert one["image"].stride() == other["image"].stride()
