"""Verdicts on the statements of the original study, from runs whose answers are drawn."""

from pathlib import Path

import numpy as np
import pytest

from experiments.results import hypotheses
from experiments.results.comparison import Comparison
from experiments.results.finished_runs import FinishedRun
from experiments.runs import RunFolder
from experiments.studies import STUDIES

CLASSES = ("Shirt", "Coat", "Bag", "Dress")
IMAGES = 800
LABELS = np.random.default_rng(0).choice(4, IMAGES, p=[0.4, 0.35, 0.15, 0.1])
DIFFICULTY = np.random.default_rng(1).random(IMAGES)


def run_of(strategy, seed, quality, mistake=None):
    """A run that classifies the easiest images correctly: a share of all, or of every class."""
    own = np.random.default_rng([seed, *strategy.encode()])
    share = np.broadcast_to(quality, 4)[LABELS] + own.normal(0, 0.01, IMAGES)
    wrong = (LABELS + own.integers(1, 4, IMAGES)) % 4 if mistake is None else np.array(mistake)[LABELS]
    probabilities = np.eye(4)[np.where(share > DIFFICULTY, LABELS, wrong)]
    folder = RunFolder(Path(), "fer", strategy, seed)
    return FinishedRun(folder, {}, {}, None, LABELS, probabilities, np.arange(IMAGES).astype(str))


def compare(mistake=None, seeds=(0, 1, 2), **qualities):
    runs = [run_of(name, seed, quality, mistake) for name, quality in qualities.items() for seed in seeds]
    return Comparison(runs, CLASSES, resamples=500)


@pytest.mark.parametrize(
    ("qualities", "verdict"),
    [
        ({"frozen": 0.4, "partial": 0.6, "full": 0.8}, "supported"),
        ({"frozen": 0.4, "partial": 0.8, "full": 0.6}, "refuted"),
        ({"frozen": 0.4, "partial": 0.7, "full": 0.7}, "open (not distinguishable)"),
        ({"frozen": 0.4, "full": 0.7}, "open (not tested)"),
    ],
)
def test_order_of_the_arms(qualities, verdict):
    found, evidence = hypotheses.ordered(compare(**qualities), ("frozen", "partial", "full"))
    assert found == verdict
    assert ("no runs of partial" if "partial" not in qualities else "frozen 0.") in evidence


@pytest.mark.parametrize(
    ("partial", "full", "verdict"),
    [
        (0.75, 0.8, "supported"),
        (0.45, 0.8, "refuted"),
        (0.6, 0.8, "open (not distinguishable)"),
        (0.4, 0.4, "open (not distinguishable)"),
    ],
)
def test_share_of_the_gain(partial, full, verdict):
    found = compare(frozen=0.4, partial=partial, full=full)
    got, evidence = hypotheses.most_of_the_gain(found, "frozen", "partial", "full")
    assert got == verdict
    assert ("no gain to share" in evidence) == (full == 0.4)


def test_share_of_the_gain_by_hand():
    found = compare(frozen=0.4, partial=0.7, full=0.8)
    share = (found.macro("partial") - found.macro("frozen")) / (found.macro("full") - found.macro("frozen"))
    assert f"partial has {share:.0%} [" in hypotheses.most_of_the_gain(found, "frozen", "partial", "full")[1]


@pytest.mark.parametrize(
    ("frozen", "verdict"), [([0.5, 0.5, 0.1, 0.1], "supported"), ([0.1, 0.1, 0.6, 0.6], "refuted")]
)
def test_gain_of_rare_classes(frozen, verdict):
    found = compare(frozen=frozen, full=0.8)
    got, evidence = hypotheses.helps_most(found, "frozen", "full")
    assert got == verdict
    assert "in Bag, Dress," in evidence
    assert hypotheses.helps_most(found, "frozen", "full", "Dress")[0] == verdict
    assert hypotheses.helps_most(found, "frozen", "full", "Disgust")[0] == "open (not tested)"


def test_hardest_class():
    found = compare(frozen=[0.8, 0.8, 0.8, 0.2], full=[0.9, 0.9, 0.9, 0.3])
    assert hypotheses.hardest(found, "Dress")[0] == "supported"
    assert hypotheses.hardest(found, "Coat")[0] == "refuted"


def test_confusions():
    found = compare(mistake=[1, 0, 0, 0], full=0.6)  # Shirt and Coat are taken for each other
    assert hypotheses.confused(found, "Shirt", "Coat")[0] == "supported"
    verdict, evidence = hypotheses.confused(found, "Shirt", "Bag")
    assert verdict == "refuted"
    images, wrong = (LABELS == 0).sum(), np.mean([(r.predicted[LABELS == 0] == 1).sum() for r in found.runs])
    assert f"of {images} Shirt, 0.0 a run are taken for Bag, {wrong:.1f} for Coat" in evidence


def test_a_confusion_that_the_seeds_do_not_share_is_open():
    towards_coat, towards_bag = [1, 0, 0, 0], [2, 0, 0, 0]
    runs = [run_of("full", seed, 0.6, towards_bag if seed == 2 else towards_coat) for seed in range(3)]
    assert hypotheses.confused(Comparison(runs, CLASSES, resamples=500), "Shirt", "Coat")[0] == hypotheses.OPEN
    assert hypotheses.confused(Comparison(runs[:2], CLASSES, resamples=500), "Shirt", "Coat")[0] == hypotheses.SUPPORTED


def test_one_run_an_arm_is_enough_for_a_verdict_on_the_images():
    found = compare(seeds=(0,), frozen=0.4, partial=0.6, full=0.8)
    assert hypotheses.ordered(found, ("frozen", "partial", "full"))[0] == "supported"


def test_every_study_has_its_statements():
    checked = {study: hypotheses.verdicts(study, compare(plain=0.5, seeds=(0,))) for study in STUDIES}
    assert {study: len(each) for study, each in checked.items()} == {"fashion": 1, "deepweeds": 4, "fer": 6}
    assert all(it.verdict == "open (not tested)" and it.evidence for each in checked.values() for it in each)
    assert hypotheses.verdicts("mine", compare(plain=0.5, seeds=(0,))) == []
