"""One list says in which values two runs may differ."""

import pytest
import yaml

from experiments.cli.commands import Resolved
from experiments.configs import Difference, differences, flat, look_up, replaced, short
from experiments.studies import STUDIES

CONFIG = {
    "seed_everything": 0,
    "run": {"root": "runs"},
    "trainer": {"max_epochs": 20, "devices": "auto", "callbacks": None},
    "model": {
        "class_path": "transfer.TransferClassifier",
        "init_args": {
            "lr": 1e-3,
            "weights": "w.pt",
            "strategy": {"class_path": "transfer.Full", "init_args": {"lr_factor": 0.1}},
        },
    },
    "data": {"class_path": "datamodules.DeepWeeds", "init_args": {"root": "data", "fold": 0, "augment": [{"D4": {}}]}},
}


@pytest.mark.parametrize(
    ("key", "value", "between", "differ"),
    [
        ("run.root", "elsewhere", (), False),
        ("trainer.devices", 2, (), False),
        ("data.init_args.root", "/data", (), False),
        ("model.init_args.weights", "./x/../w.pt", (), False),
        ("model.init_args.weights", "v.pt", ("arms", "repetitions"), True),
        ("seed_everything", 1, (), True),
        ("seed_everything", 1, ("repetitions",), False),
        ("data.init_args.fold", 1, ("repetitions",), False),
        ("model.init_args.strategy", {"class_path": "transfer.Frozen"}, ("repetitions",), True),
        ("model.init_args.strategy", {"class_path": "transfer.Frozen"}, ("arms",), False),
        ("model.init_args.strategy.init_args.lr_factor", 0.2, ("arms",), False),
        ("model.init_args.lr", 1e-4, ("arms",), False),
        ("model.init_args.lr", 1e-4, (), True),
        ("trainer.max_epochs", 5, ("arms",), True),
        ("trainer.max_epochs", 5, ("lengths",), False),
        ("data.init_args.augment", [{"D4": {"p": 0.5}}], ("arms", "repetitions", "lengths"), True),
        ("trainer.callbacks", [], ("arms", "repetitions", "lengths"), True),
    ],
)
def test_a_value_may_differ_or_not(key, value, between, differ):
    other = replaced(CONFIG, key, value)
    assert bool(list(differences(CONFIG, other, *between))) == differ
    assert bool(list(differences(other, CONFIG, *between))) == differ


def test_a_key_that_only_one_config_has_is_a_difference():
    trainer = {name: value for name, value in CONFIG["trainer"].items() if name != "callbacks"}
    assert list(differences(CONFIG, {**CONFIG, "trainer": trainer})) == [
        Difference("trainer.callbacks", None, "absent")
    ]


def test_a_copy_with_another_value_leaves_the_original():
    other = replaced(CONFIG, "data.init_args.fold", 3)
    assert look_up(other, "data.init_args.fold") == 3
    assert look_up(CONFIG, "data.init_args.fold") == 0
    assert look_up(CONFIG, "data.init_args.foldd") is None


def resolved(*args):
    return Resolved(["plan", *map(str, args)]).resolved


def test_two_arms_of_a_study_differ_in_their_strategy_only(monkeypatch):
    """A shipped config that says more than its strategy would make the table a comparison of something else."""
    for study in STUDIES.values():
        configs = {arm: resolved("--config", study.config(arm)) for arm in study.arms}
        first = configs[study.arms[0]]
        for arm, config in configs.items():
            assert [short(found.key) for found in differences(first, config, "arms")] == [], arm


def test_an_arm_with_another_value_would_be_found(tmp_path):
    other = resolved("--config", "configs/fer_full.yaml", "--data.augment", "[]", "--model.lr", 0.1)
    found = [short(found.key) for found in differences(resolved("--config", "configs/fer_frozen.yaml"), other, "arms")]
    assert found == ["data.augment"]


def test_values_are_compared_as_the_parser_means_them(tmp_path):
    """Numbers that YAML takes for text, a class by its name alone, a file for a section."""
    (tmp_path / "data.yaml").write_text(
        "class_path: FER2013\ninit_args: {image_size: 48, batch_size: 64, augment: []}\n"
    )
    plain = ["--config", "configs/fer_full.yaml", "--data.batch_size", 64, "--data.augment", "[]"]
    same = ["--config", "configs/fer_full.yaml", "--model.lr", "1e-3", "--model.strategy", "Full"]
    assert list(differences(resolved(*plain), resolved(*same, "--data", tmp_path / "data.yaml"))) == []


def test_the_saved_config_holds_every_value_in_whatever_way_it_was_given(lightning, tiny_transfer, tmp_path):
    """A path in place of the values would hide all of them from a comparison."""
    data = tmp_path / "own.yaml"
    data.write_text("class_path: datamodules.FER2013\ninit_args: {split_seed: 7}\n")
    runs = ["--run.strategy", "typed"], ["--run.strategy", "file"]
    lightning("fit", "--config", "configs/fer_frozen.yaml", "--data", data, *tiny_transfer, *runs[1])
    saved = yaml.safe_load((tmp_path / "runs/fer/file/seed0/config.yaml").read_text())
    values = dict(flat(saved))
    assert values["data.class_path"] == "datamodules.FER2013"
    assert values["data.init_args.split_seed"] == 7
    assert values["data.init_args.train_fraction"] == 1.0
    lightning("fit", "--config", "configs/fer_frozen.yaml", "--data.split_seed", 7, *tiny_transfer, *runs[0])
    typed = yaml.safe_load((tmp_path / "runs/fer/typed/seed0/config.yaml").read_text())
    assert list(differences(typed, saved)) == []
