"""Rounding a weight matrix so that the layer's *output* changes least.

The error of a layer is ``tr((V - W) H (V - W)ᵀ)`` with ``H = E[x xᵀ]`` (Frantar et al. 2022, "GPTQ", eq. 1): columns
are rounded one after another and what was lost is given to those that remain (eq. 2, with the Cholesky factor of
``H⁻¹``); then single integers move wherever that lowers the error (coordinate descent, Behdin et al. 2023, "QuantEase",
eq. 7), and the scales are refitted to the integers in closed form. The scale of every row is the one with the least
output error among several shrunk ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_DAMP = 0.01  # of H's mean diagonal, as in GPTQ
_PASSES = 4


@dataclass(frozen=True)
class Grid:
    """Integers ``low`` … ``high``; symmetric: ``real = scale * integer``."""

    low: int
    high: int

    @classmethod
    def symmetric(cls, bits: int) -> Grid:
        """-(2^(bits-1) - 1) … 2^(bits-1) - 1, as integer kernels want."""
        most = 2 ** (bits - 1) - 1
        return cls(-most, most)

    def round(self, values: np.ndarray) -> np.ndarray:
        """The nearest integers, half to even."""
        rounded: np.ndarray = np.clip(np.rint(values), self.low, self.high)
        return rounded


def scales_of(w: np.ndarray, grid: Grid, block: int = 0) -> np.ndarray:
    """The scale of each row and block, shape (rows, blocks), whose range just holds it; 1 where all is 0."""
    rows, columns = w.shape
    size = block or columns
    padded = np.pad(np.abs(w), [(0, 0), (0, -columns % size)])
    most = padded.reshape(rows, -1, size).max(axis=2)
    return np.where(most > 0, most / grid.high, 1.0)


def expanded(scale: np.ndarray, columns: int, block: int) -> np.ndarray:
    """One scale an element, (rows, columns)."""
    return np.repeat(scale, block or columns, axis=1)[:, :columns]


def nearest(w: np.ndarray, grid: Grid, block: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Integers (rows, columns) and scales (rows, blocks) by rounding to nearest."""
    scale = scales_of(w, grid, block)
    return grid.round(w / expanded(scale, w.shape[1], block)), scale


def hqq(w: np.ndarray, grid: Grid, block: int = 0, steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Without data, robust to outliers: half-quadratic splitting of ``|W - s q|_p`` with p = 0.7.

    Badri and Shaji 2023, "HQQ": the error is split off by the generalised soft threshold (their eq. 4), then the
    integers are rounded anew and the scale (here instead of the zero point) is solved for in closed form (their eq. 5).
    """
    p, beta = 0.7, 10.0
    columns = w.shape[1]
    size = block or columns
    scale = scales_of(w, grid, block)
    best, least = (grid.round(w / expanded(scale, columns, block)), scale), np.inf

    def summed(values: np.ndarray) -> np.ndarray:
        total: np.ndarray = np.pad(values, [(0, 0), (0, -columns % size)]).reshape(len(w), -1, size).sum(axis=2)
        return total

    for _ in range(steps):
        wide = expanded(scale, columns, block)
        q = grid.round(w / wide)
        lost = w - q * wide
        error = float((np.abs(lost) ** p).sum())
        if error < least:
            best, least = (q, scale), error
        unit = float(np.abs(w).mean()) or 1.0
        size_of = np.abs(lost) / unit
        keep = np.maximum(size_of - np.power(np.maximum(size_of, 1e-8), p - 1) / beta, 0) * unit * np.sign(lost)
        above, below = summed(q * (w - keep)), summed(q * q)
        scale = np.where((below > 0) & (above > 0), above / np.where(below > 0, below, 1.0), scale)
        beta *= 1.05
    return best


def fitted(
    w: np.ndarray,
    h: np.ndarray,
    goal: tuple[Grid, int],
    shrinks: tuple[float, ...] = SHRINKS,
    zeros: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Integers (rows, columns) and scales (rows, blocks) of least output error.

    Args:
        w: float64 (rows, columns).
        h: float64 (columns, columns), the inputs' second moments.
        goal: the integers, and the columns that share a scale (0: all).
        shrinks: the ranges that are tried, as shares of the largest weight.
        zeros: bool (rows, columns): elements that must stay 0 (a pruned matrix stays pruned).
    """
    grid, block = goal
    free = np.ones(w.shape, bool) if zeros is None else ~zeros
    w = np.where(free, w, 0.0)
    damped = h + np.eye(len(h)) * (_DAMP * max(float(np.trace(h)) / len(h), 1e-12))
    factor = _factor(damped)
    base = scales_of(w, grid, block)
    best_q, best_s = nearest(w, grid, block)
    best = _errors(w, best_q * expanded(best_s, w.shape[1], block), damped)
    for shrink in shrinks:
        scale = base * shrink
        q = _gptq(w, factor, expanded(scale, w.shape[1], block), (grid, free))
        q, scale = _descend((w, damped, free), (q, scale), grid, block)
        error = _errors(w, q * expanded(scale, w.shape[1], block), damped)
        better = error < best
        best_q[better], best_s[better], best[better] = q[better], scale[better], error[better]
    return best_q, best_s


def _factor(h: np.ndarray) -> np.ndarray:
    """Upper Cholesky factor of the inverse."""
    inverse = np.linalg.inv(h)
    factor: np.ndarray = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return factor


def _gptq(w: np.ndarray, factor: np.ndarray, scale: np.ndarray, allowed: tuple[Grid, np.ndarray]) -> np.ndarray:
    rest, q = w.copy(), np.empty_like(w)
    grid, free = allowed
    for j in range(w.shape[1]):
        q[:, j] = np.where(free[:, j], grid.round(rest[:, j] / scale[:, j]), 0.0)
        lost = (rest[:, j] - q[:, j] * scale[:, j]) / factor[j, j]
        rest[:, j + 1 :] -= np.outer(lost, factor[j, j + 1 :])
    return q


def _descend(
    layer: tuple[np.ndarray, np.ndarray, np.ndarray], start: tuple[np.ndarray, np.ndarray], grid: Grid, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinate descent over the integers, then the scales of whole rows; as long as something moves."""
    (w, h, free), (q, scale) = layer, start
    wh = w @ h
    for _ in range(_PASSES):
        if scale.shape[1] == 1:
            above, below = (q * wh).sum(axis=1, keepdims=True), (q * (q @ h)).sum(axis=1, keepdims=True)
            scale = np.where((below > 0) & (above > 0), above / np.where(below > 0, below, 1.0), scale)
        wide = expanded(scale, w.shape[1], block)
        slope = wh - (q * wide) @ h  # minus half the gradient
        moved = False
        for j in range(w.shape[1]):
            new = np.where(free[:, j], grid.round(q[:, j] + slope[:, j] / (h[j, j] * wide[:, j])), 0.0)
            step = (new - q[:, j]) * wide[:, j]
            rows = np.flatnonzero(step)
            if rows.size:
                moved = True
                q[rows, j] = new[rows]
                slope[rows, j + 1 :] -= np.outer(step[rows], h[j, j + 1 :])  # earlier columns wait for the next pass
        if not moved:
            break
    return q, scale


def _errors(w: np.ndarray, v: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The output error of each row."""
    d = v - w
    error: np.ndarray = ((d @ h) * d).sum(axis=1)
    return error


def refitted(w: np.ndarray, h: np.ndarray, cross: np.ndarray, trust: float = 0.05) -> np.ndarray:
    """The weights that give the original's outputs from the *changed* inputs, pulled towards the old ones.

    ``argmin_V E|y - V x'|² + λ|V - W|²`` with ``cross = E[y x'ᵀ]``, ``h = E[x' x'ᵀ]``, λ a share of h's mean diagonal
    (the correction of asymmetric calibration: Li et al. 2025, "GPTAQ", in closed form).
    """
    pull = trust * max(float(np.trace(h)) / len(h), 1e-12)
    made: np.ndarray = np.linalg.solve(h + np.eye(len(h)) * pull, (cross + pull * w).T).T
    return made
