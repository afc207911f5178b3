"""Intervals, tests and ranks against SciPy, scikit-learn and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from recast.measure import intervals, ranking


@pytest.mark.parametrize(("good", "count"), [(0, 7), (7, 7), (171, 200), (1, 2)])
def test_wilson_is_scipys(good: int, count: int) -> None:
    found = intervals.wilson(good, count)
    theirs = stats.binomtest(good, count).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (5, 5), (1, 9), (13, 2), (300, 250), (0, 31)])
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    expected = stats.binomtest(min(a, b), a + b).pvalue if a + b else 1.0
    assert intervals.mcnemar(a, b) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_is_the_enumerated_distribution(rng: np.random.Generator) -> None:
    a, b = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 1, 1, 1, 1])
    found = intervals.paired_difference(a, b, rng)
    every = [np.mean(c) for c in itertools.product(b - a, repeat=6)]
    assert found.value == pytest.approx(np.mean(b - a))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(every, [2.5, 97.5])), abs=1 / 6 + 1e-9)


def test_bootstrap_of_many_levels_covers_the_normal_interval(rng: np.random.Generator) -> None:
    values = rng.standard_normal(997)
    found = intervals.mean(values, rng)
    half = 1.96 * values.std() / np.sqrt(997)
    assert found.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_auc_and_spearman_are_the_known_ones(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = rng.integers(0, 2, 211)
    scores = np.round(rng.standard_normal(211) + labels, 1)  # with ties
    assert ranking.auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    with pytest.raises(ValueError, match="both classes"):
        ranking.auc(scores, np.zeros(211))
    a, b = np.round(rng.standard_normal((3, 101)), 1), np.round(rng.standard_normal((3, 101)), 1)
    b[1] = -(a[1] ** 3)
    expected = [stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert ranking.spearman(a, b) == pytest.approx(expected, abs=1e-12)
    assert ranking.spearman(a, b)[1] == pytest.approx(-1)
    assert np.isnan(ranking.spearman(np.ones((1, 5)), a[:1, :5]))[0]


def test_overlap_of_the_largest() -> None:
    a, b = np.array([[9.0, 8, 7, 1, 0, 2]]), np.array([[9.0, 1, 7, 8, 0, 2]])
    assert ranking.top_overlap(a, b, 3)[0] == pytest.approx(2 / 3)
    assert ranking.top_overlap(a, a, 3)[0] == 1
