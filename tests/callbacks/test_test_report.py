"""The records of a test are enough to make every score again."""

import base64
import json

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from callbacks.test_report import clean_scores
from classification.metrics import PROBABILITY_SCORES, calibration_error
from experiments.cli import main


@pytest.fixture(scope="module")
def folder(sample_root, tmp_path_factory):
    """A tested run on generated faces, of whose test images two are made training images."""
    import datamodules

    runs = tmp_path_factory.mktemp("runs")
    args = ["--data.root", sample_root, "--run.root", runs, "--trainer.max_epochs", 1, "--model.backbone"]
    args += ["test_resnet", "--model.weights", "none", "--data.image_size", 32, "--trainer.logger", "false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datamodules.FER2013, "leaked", lambda self: np.arange(len(self.splits["test"])) < 2)
        for command, more in (("fit", []), ("test", ["--ckpt_path", "best"])):
            main([command, "--config", "configs/fer_partial.yaml", *map(str, [*args, *more])])
    return runs / "fer" / "partial" / "seed0"


def test_official_and_clean_scores_follow_from_the_probabilities(folder):
    record, saved = json.loads((folder / "metrics.json").read_text()), np.load(folder / "test.npz")
    labels = saved["labels"]
    predicted = saved["probabilities"].argmax(1)
    assert saved["probabilities"].dtype == np.float32
    assert saved["clean"].tolist() == [False, False] + [True] * (len(labels) - 2)
    assert len(set(saved["names"])) == len(labels)
    for name, chosen in (("test", np.ones(len(labels), bool)), ("clean", saved["clean"])):
        scores = record[name]
        assert scores["images"] == chosen.sum()
        assert scores["accuracy"] == pytest.approx((labels == predicted)[chosen].mean())
        f1 = f1_score(labels[chosen], predicted[chosen], labels=range(7), average="macro", zero_division=0)
        assert scores["f1_macro"] == pytest.approx(f1)
        probabilities = torch.from_numpy(saved["probabilities"][chosen])
        assert scores["ece"] == pytest.approx(calibration_error(probabilities, torch.from_numpy(labels[chosen])))
    assert record["class_names"] == list(record["per_class"])
    assert "byte for byte" in record["clean"]["rule"]


def test_the_mistakes_are_the_most_confident_wrong_answers(folder):
    record, saved = json.loads((folder / "mistakes.json").read_text()), np.load(folder / "test.npz")
    names, classes = list(saved["names"]), json.loads((folder / "metrics.json").read_text())["class_names"]
    wrong = np.where(saved["probabilities"].argmax(1) == saved["labels"], 0, saved["probabilities"].max(1))
    expected = np.sort(wrong[wrong > 0])[::-1][:12]
    assert [entry["confidence"] for entry in record["mistakes"]] == pytest.approx(expected, abs=1e-4)
    for entry in record["mistakes"]:
        index = names.index(entry["name"])
        assert entry["true"] == classes[saved["labels"][index]] != entry["predicted"]
        assert entry["predicted"] == classes[saved["probabilities"][index].argmax()]
        for key, channels in (("image", 1), ("cam", 3)):
            encoded = base64.b64decode(entry[key].removeprefix("data:image/png;base64,"))
            picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
            assert picture.reshape(32, 32, -1).shape[2] == channels
    assert record["layer"] in ("stem", "layer1", "layer2", "layer3", "layer4")


def test_calibration_error_of_a_worked_example():
    """Two bins are hit: 0.9 confident and right half of the time, 0.6 confident and always right."""
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert calibration_error(probabilities, torch.tensor([0, 1, 1, 1])) == pytest.approx(0.4)


def test_no_clean_image_has_no_score():
    found = clean_scores(torch.empty(0, dtype=torch.long), torch.empty(0, 3))
    assert found["images"] == 0
    assert found["f1_macro"] is found["ece"] is None


def test_every_score_of_probabilities_is_recorded(monkeypatch):
    monkeypatch.setitem(PROBABILITY_SCORES, "mine", lambda probabilities, labels: 0.25)
    assert clean_scores(torch.tensor([0, 1]), torch.eye(2))["mine"] == 0.25
    assert clean_scores(torch.empty(0, dtype=torch.long), torch.empty(0, 3))["mine"] is None
