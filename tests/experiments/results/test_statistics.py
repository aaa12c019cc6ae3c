"""Statistics against scipy, scikit-learn and values by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from experiments.results import statistics
from experiments.results.records import Interval, SeedTest


def test_mean_and_interval_are_those_of_scipy():
    values = [0.50, 0.53, 0.55, 0.49]
    found = statistics.mean_interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found.mean == pytest.approx(0.5175)
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert found.ci95 == pytest.approx((low, high))
    assert statistics.mean_interval([0.5]) == Interval(mean=0.5, std=None, ci95=None)


def sklearn_f1(labels, predicted, average=None):
    return f1_score(labels, predicted, labels=range(4), average=average, zero_division=0)


def test_f1_is_that_of_sklearn_also_of_absent_classes():
    labels, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 0])  # 2 is never true, 3 does not occur
    assert statistics.f1_per_class(labels, predicted, 4) == pytest.approx(sklearn_f1(labels, predicted))


def test_resampled_f1_is_f1_of_the_drawn_images(monkeypatch):
    random = np.random.default_rng(1)
    labels, predictions = random.integers(0, 3, 40), random.integers(0, 4, (2, 40))
    monkeypatch.setattr(statistics, "CELLS", 120)  # three resamples at a time
    found = statistics.resampled_f1(labels, predictions, 4, resamples=8, seed=(0, 2))
    drawn = np.random.default_rng((0, 2)).integers(0, 40, (8, 40))
    for r, k in np.ndindex(8, 2):
        assert found[r, k] == pytest.approx(sklearn_f1(labels[drawn[r]], predictions[k, drawn[r]]))


def test_all_runs_share_the_resamples():
    random = np.random.default_rng(1)
    labels, one, other = random.integers(0, 3, (3, 50))
    together = statistics.resampled_f1(labels, np.stack([one, other, one]), 3, resamples=20)
    assert np.array_equal(together[:, 0], together[:, 2])
    assert np.array_equal(together[:, 1], statistics.resampled_f1(labels, other[None], 3, resamples=20)[:, 0])


def test_bootstrap_agrees_with_the_normal_approximation():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    predicted = np.where(random.random(400) < 0.8, labels, 1 - labels)
    drawn = statistics.resampled_f1(labels, predicted[None], 2, resamples=4000)[:, 0].mean(1)
    low, high = statistics.percentiles(drawn)
    assert high - low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 400) ** 0.5, rel=0.1)  # near that of accuracy


def test_bootstrap_p_counts_the_rarer_side_twice():
    assert statistics.bootstrap_p(np.array([1.0] * 98 + [-1.0])) == pytest.approx(2 * 2 / 100)
    assert statistics.bootstrap_p(np.ones(9999)) == pytest.approx(2 / 10_000)
    assert statistics.bootstrap_p(np.zeros(50)) == 1


def test_paired_t_is_that_of_scipy():
    a, b = np.array([0.6, 0.62, 0.58]), np.array([0.5, 0.55, 0.49])
    found = statistics.compare(a - b, np.full(100, 0.1))
    assert found.seeds.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.seeds.ci95 == pytest.approx(stats.ttest_rel(a, b).confidence_interval())


def test_p_is_the_larger_of_both_sources_of_chance():
    certain, doubtful = np.linspace(0.05, 0.15, 999), np.linspace(-0.1, 0.3, 999)
    steady, erratic = [0.10, 0.101, 0.099], [0.3, -0.1, 0.1]
    assert statistics.compare(steady, certain).p < 0.01
    assert statistics.compare(erratic, certain).p == statistics.compare(erratic, certain).seeds.p > 0.3
    assert statistics.compare(steady, doubtful).p == statistics.compare(steady, doubtful).p_images > 0.3
    alone = statistics.compare([0.1], certain)
    assert alone.p == alone.p_images
    assert alone.seeds == SeedTest(difference=0.1, ci95=None, p=None)


def test_equal_runs_are_not_apart():
    assert statistics.compare([0.0, 0.0], np.zeros(99)).p == 1


def test_a_resampled_sum_has_the_mean_and_the_spread_of_a_sum():
    scores = np.repeat([1.0, 0.5, 0.0, -1.0], [30, 10, 40, 20])
    drawn = statistics.resampled_sum(scores, 20_000)
    assert drawn.mean() == pytest.approx(scores.sum(), abs=0.3)
    assert drawn.std() == pytest.approx(10 * scores.std(), rel=0.03)
    assert np.array_equal(statistics.resampled_sum(scores, 50), statistics.resampled_sum(scores, 50))
    assert not statistics.resampled_sum(np.zeros(0), 5).any()


def test_mcnemar_by_hand():
    a, b = np.repeat([True, True, False, False], [5, 10, 2, 4]), np.repeat([True, False, True, False], [5, 10, 2, 4])
    assert statistics.mcnemar(a, b) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert statistics.mcnemar(a, a) == 1


def test_dependent_p_values_are_twice_their_mean():
    assert statistics.combined_p([0.01, 0.03]) == pytest.approx(0.04)
    assert statistics.combined_p([0.9, 0.8]) == 1
    assert statistics.combined_p([0.03]) == 0.03


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


def test_letters_by_hand():
    apart = [("A", "C"), ("A", "D"), ("B", "D")]
    assert statistics.letters("ABCD", apart) == {"A": "a", "B": "ab", "C": "bc", "D": "c"}
    assert statistics.letters("AB", []) == {"A": "a", "B": "a"}
