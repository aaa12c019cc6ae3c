"""What a checkpoint may be used for, and what is then written where."""

import csv
import json
import shutil

import pytest
import torch
import yaml

FER = ["--config", "configs/fer_partial.yaml"]


@pytest.fixture
def trained(lightning, tiny_transfer, tmp_path):
    """The folder of a tiny run with seed 1, and the arguments that made it."""
    args = [*FER, *tiny_transfer, "--seed_everything", 1, "--run.overwrite", "true"]
    lightning("fit", *args)
    return tmp_path / "runs/fer/partial/seed1", args


def test_the_saved_config_neither_resumes_nor_overwrites(trained, lightning):
    folder, args = trained
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["run"]["overwrite"] is False
    lightning("fit", *args, "--ckpt_path", "last", "--trainer.max_epochs", 2)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["ckpt_path"] is None
    assert saved["trainer"]["max_epochs"] == 2


def test_best_last_and_last_ckpt_are_those_of_the_run(trained, lightning, fails):
    folder, args = trained
    for number, name in enumerate(("last", "last.ckpt"), 2):
        lightning("fit", *args, "--ckpt_path", name, "--trainer.max_epochs", number)
        assert len((folder / "metrics.csv").read_text().splitlines()) == number + 1
    line = fails("fit", *args, "--ckpt_path", "last", "--trainer.max_epochs", 1)
    assert "but you have set Trainer(max_epochs=1)" in line


def test_a_run_is_resumed_under_its_own_names_and_values(trained, fails):
    folder, args = trained
    last = folder / "checkpoints/last.ckpt"
    before = (folder / "config.yaml").read_bytes()
    assert "is of the run fer/partial/seed1, and this is fer/partial/seed2" in fails(
        "fit", *args, "--seed_everything", 2, "--ckpt_path", last
    )
    other = [value if value != FER[1] else "configs/fer_frozen.yaml" for value in args]
    assert "and this is fer/frozen/seed1" in fails("fit", *other, "--ckpt_path", last)
    assert "model.lr is 0.5, and 0.001 in" in fails("fit", *args, "--model.lr", 0.5, "--ckpt_path", last)
    assert "data.split_seed is 1, and 0 in" in fails("fit", *args, "--data.split_seed", 1, "--ckpt_path", last)
    assert "trainer.precision is 16-mixed, and None in" in fails(
        "fit", *args, "--trainer.precision", "16-mixed", "--ckpt_path", last
    )
    assert (folder / "config.yaml").read_bytes() == before


def test_a_checkpoint_that_has_left_its_folder_still_knows_the_values_of_model_and_data(trained, fails, tmp_path):
    folder, args = trained
    copy = tmp_path / "copy.ckpt"
    shutil.copy(folder / "checkpoints/last.ckpt", copy)
    assert f"data.split_seed is 1, and 0 in {copy}" in fails("fit", *args, "--data.split_seed", 1, "--ckpt_path", copy)
    assert f"model.lr is 0.5, and 0.001 in {copy}" in fails("fit", *args, "--model.lr", 0.5, "--ckpt_path", copy)


def test_a_test_is_recorded_under_the_names_of_the_run(trained, lightning):
    folder, _ = trained
    lightning("test", "--ckpt_path", folder / "checkpoints/best.ckpt", "--trainer.logger", "false")
    record = json.loads((folder / "metrics.json").read_text())
    assert (record["seed"], record["strategy"]) == (1, "partial")
    assert record["git_commit"] == record["tested_with"]["git_commit"]
    assert record["cost"] == json.loads((folder / "cost.json").read_text())


def test_a_checkpoint_of_many_phases_is_tested_under_the_config_of_one(lightning, tiny_transfer, tmp_path):
    two = [*tiny_transfer, "--model.strategy", "transfer.LPFT", "--trainer.max_epochs", 2]
    lightning("fit", "--config", "configs/fer_full.yaml", *two)
    folder = tmp_path / "runs/fer/lpft/seed0"
    last = folder / "checkpoints/last.ckpt"
    lightning("test", "--config", "configs/fer_full.yaml", *tiny_transfer, "--ckpt_path", last)
    record = json.loads((folder / "metrics.json").read_text())
    assert [(phase["phase"], phase["epoch"], phase["stages"][0]) for phase in record["phases"]] == [
        (1, 0, "head"),
        (2, 1, "stem"),
    ]


def test_a_part_of_the_test_split_is_not_recorded(trained, lightning, capsys):
    folder, _ = trained
    best = ["test", "--config", folder / "config.yaml", "--ckpt_path", "best"]
    for part in (["--trainer.limit_test_batches", 1], ["--trainer.fast_dev_run", "true"]):
        lightning(*best, *part)
        assert "a part of the test split only" in capsys.readouterr().out
    assert not (folder / "metrics.json").exists()


def test_a_checkpoint_alone_is_enough_to_classify_a_folder(trained, lightning, sample_root, tmp_path):
    folder, _ = trained
    moved = tmp_path / "model.ckpt"
    shutil.move(folder / "checkpoints/best.ckpt", moved)
    out = tmp_path / "out.csv"
    photos = sample_root / "shapes/test"
    args = ["--data.predict_folder", photos, "--data.root", "nowhere", "--run.predictions", out]
    lightning("predict", f"--ckpt_path={moved}", *args)
    assert len(list(csv.DictReader(out.open()))) == len(list(photos.rglob("*.png")))


def test_files_that_are_not_checkpoints_are_one_line(fails, tmp_path):
    for name, content in (("state.pt", {"x": torch.zeros(1)}), ("list.pt", [1])):
        torch.save(content, tmp_path / name)
        assert "is not a checkpoint of `lightning fit`" in fails("predict", "--ckpt_path", tmp_path / name)
    (tmp_path / "text.ckpt").write_text("hello")
    assert "is not a checkpoint" in fails(
        "test", *FER, "--ckpt_path", tmp_path / "text.ckpt", "--trainer.logger", "false"
    )


def test_a_checkpoint_of_other_classes_is_refused(trained, fails, sample_root):
    folder, _ = trained
    data = ["--data", "datamodules.ImageFolder", "--data.root", sample_root / "shapes", "--data.channels", 1]
    line = fails(
        "predict", *FER, "--model.backbone", "test_resnet", *data, "--ckpt_path", folder / "checkpoints/best.ckpt"
    )
    assert "the checkpoint knows the classes Angry, Disgust" in line


def test_without_checkpoints_and_in_pure_bfloat16(lightning, tiny_transfer, tmp_path):
    options = ["--trainer.enable_checkpointing", "false", "--trainer.precision", "bf16-true"]
    lightning("fit", *FER, *tiny_transfer, *options, "--trainer.limit_train_batches", 2)
    folder = tmp_path / "runs/fer/partial/seed0"
    assert (folder / "metrics.csv").is_file()
    assert not (folder / "checkpoints").exists()


def test_scores_of_an_epoch_without_validation_are_empty(lightning, tiny_transfer, tmp_path):
    options = ["--trainer.max_epochs", 3, "--trainer.check_val_every_n_epoch", 2, "--trainer.limit_train_batches", 2]
    lightning("fit", *FER, *tiny_transfer, *options)
    rows = list(csv.DictReader((tmp_path / "runs/fer/partial/seed0/metrics.csv").open()))
    assert [bool(row["val/f1_macro"]) for row in rows] == [False, True, False]
    assert all(row["train/f1_macro"] for row in rows)


def test_images_of_another_shape_than_the_networks(fails, tiny):
    line = fails("fit", "--config", "configs/fashion_plain.yaml", *tiny, "--data.image_size", 32)
    assert line.endswith("made for 1 x 28 x 28: pass --model.in_channels 1 --model.image_size 32")
