"""Rounding of one matrix: against exhaustive search, and against rounding to nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from recast.compression.quantize._rounding import Grid, expanded, fitted, hqq, nearest, refitted


def _inputs(rng: np.random.Generator, columns: int, count: int = 997) -> np.ndarray:
    mixed = rng.standard_normal((columns, columns)) * 0.5 + np.eye(columns)
    return rng.standard_normal((count, columns)) @ mixed


def _error(w: np.ndarray, v: np.ndarray, x: np.ndarray) -> float:
    return float(np.square(x @ (v - w).T).mean())


def test_small_rows_reach_the_exhaustive_optimum(rng: np.random.Generator) -> None:
    grid, x = Grid(-1, 1), _inputs(rng, 5)
    h = x.T @ x / len(x)
    w = rng.standard_normal((7, 5))
    q, s = fitted(w, h, (grid, 0))
    for row in range(7):
        best = np.inf
        for choice in itertools.product((-1, 0, 1), repeat=5):
            t = np.array(choice, float)
            below = t @ h @ t
            scale = (t @ h @ w[row]) / below if below > 0 else 0.0
            if scale >= 0:
                d = scale * t - w[row]
                best = min(best, d @ h @ d)
        d = q[row] * s[row] - w[row]
        assert d @ h @ d <= 1.5 * best + 1e-9  # near it for every row; nearest rounding is not (below)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("block", [0, 8])
def test_fitting_beats_nearest_on_the_outputs(rng: np.random.Generator, bits: int, block: int) -> None:
    grid, x = Grid.symmetric(bits), _inputs(rng, 37)
    w = rng.standard_normal((11, 37))
    h = x.T @ x / len(x)
    errors = []
    for q, s in (nearest(w, grid, block), fitted(w, h, (grid, block))):
        assert np.array_equal(q, np.rint(q))
        assert q.min() >= grid.low
        assert q.max() <= grid.high
        errors.append(_error(w, q * expanded(s, 37, block), x))
    assert errors[1] < errors[0] * 0.8


def test_hqq_resists_outliers(rng: np.random.Generator) -> None:
    w = rng.standard_normal((5, 64))
    w[:, 7] *= 30
    grid = Grid.symmetric(4)
    losses = [np.median(np.abs(q * expanded(s, 64, 0) - w)) for q, s in (nearest(w, grid), hqq(w, grid))]
    assert losses[1] < losses[0]


def test_rows_of_zeros_stay_zero() -> None:
    grid, w = Grid.symmetric(4), np.zeros((3, 8))
    for q, s in (nearest(w, grid), hqq(w, grid), fitted(w, np.eye(8), (grid, 0))):
        assert not (q * s).any()
        assert (s > 0).all()


def test_refitting_undoes_a_change_of_the_inputs(rng: np.random.Generator) -> None:
    x, w = _inputs(rng, 13), rng.standard_normal((5, 13))
    changed = x * np.linspace(0.5, 1.5, 13)
    y = x @ w.T
    moved = refitted(w, changed.T @ changed / len(x), y.T @ changed / len(x), trust=1e-9)
    np.testing.assert_allclose(changed @ moved.T, y, atol=1e-4)


def test_a_pruned_matrix_stays_pruned(rng: np.random.Generator) -> None:
    grid, x = Grid.symmetric(3), _inputs(rng, 37)
    w = rng.standard_normal((11, 37))
    zeros = rng.random(w.shape) < 0.7
    w[zeros] = 0
    h = x.T @ x / len(x)
    q, s = fitted(w, h, (grid, 0), zeros=zeros)
    assert not q[zeros].any()
    plain_q, plain_s = nearest(w, grid)
    assert _error(w, q * s, x) < 0.8 * _error(w, plain_q * plain_s, x)
