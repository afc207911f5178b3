"""How sure a measured difference is: intervals and tests on paired samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000
_TAIL = 2.5  # percent on each side: 95 % intervals
_Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, count: int) -> Interval:
    """A proportion with Wilson's score interval (Wilson 1927; Brown, Cai, DasGupta 2001, eq. 4).

    Raises:
        ValueError: there are no samples.
    """
    if count <= 0:
        raise ValueError("a proportion of no samples")
    p = successes / count
    centre = (p + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(p * (1 - p) / count + _Z**2 / (4 * count**2))
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: under no difference, discordant pairs fall either way with chance 1/2.

    Args:
        only_first: samples that only the first model gets right.
        only_second: samples that only the second gets right.
    """
    count, least = only_first + only_second, min(only_first, only_second)
    if count == 0:
        return 1.0
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(least + 1)]
    tail = sum(math.exp(value - count * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def paired_difference(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> Interval:
    """Mean of ``second - first`` over the same samples with its bootstrap percentile interval.

    For right/wrong samples the resampled counts are drawn directly (multinomial), which is the same distribution.

    Args:
        first, second: one number for each sample, same order, shape (n,).
        rng: draws the resamples.
    """
    values = second.astype(np.float64) - first.astype(np.float64)
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= 64:
        draws = rng.multinomial(len(values), counts / len(values), size=_DRAWS) @ levels / len(values)
    else:
        draws = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(_DRAWS)])
    low, high = np.percentile(draws, [_TAIL, 100 - _TAIL])
    return Interval(float(values.mean()), float(low), float(high))


def mean(values: np.ndarray, rng: np.random.Generator) -> Interval:
    """A mean with its bootstrap percentile interval; ``values`` has shape (n,)."""
    return paired_difference(np.zeros(len(values)), values, rng)


def paired_statistic(
    statistic: Callable[[np.ndarray], float], labels: np.ndarray, rng: np.random.Generator, draws: int = _DRAWS
) -> Interval:
    """Bootstrap of any statistic of resampled indices; each class keeps its number of samples.

    Args:
        statistic: takes indices (n,) into the samples, gives a number.
        labels: class of each sample, shape (n,).
        rng: draws the resamples.
        draws: number of resamples.
    """
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    found = []
    for _ in range(draws):
        indices = np.concatenate([g[rng.integers(0, len(g), len(g))] for g in groups])
        found.append(statistic(indices))
    low, high = np.percentile(found, [_TAIL, 100 - _TAIL])
    return Interval(statistic(np.arange(len(labels))), float(low), float(high))
