"""The distribution of one tensor over all samples, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 4096  # over [-reach, reach]; an even number, so that doubling the reach merges pairs


@dataclass
class Histogram:
    """Counts of values in equal bins over ``[-reach, reach]``; the reach doubles when a value lies outside.

    Attributes:
        counts: int64, shape (4096,).
        reach: the bound, a power of two; 0 before the first value that is not 0.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    reach: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    squares: float = 0.0
    count: int = 0
    nonfinite: int = 0

    def add(self, array: np.ndarray) -> None:
        """Add all elements; infinities and NaN are counted apart."""
        flat = array.reshape(-1)
        for start in range(0, flat.size, 1 << 18):  # bounds the temporary copies
            self._add(flat[start : start + (1 << 18)])

    def _add(self, flat: np.ndarray) -> None:
        finite = np.isfinite(flat)
        if not finite.all():
            self.nonfinite += int((~finite).sum())
            flat = flat[finite]
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        wide = flat.astype(np.float64)
        self.total += float(wide.sum())
        self.squares += float(np.dot(wide, wide))
        self.count += flat.size
        self._reach_for(max(-low, high))
        if self.reach == 0.0:
            self.counts[BINS // 2] += flat.size
            return
        index = ((wide + self.reach) * (BINS / (2 * self.reach))).astype(np.int64)
        self.counts += np.bincount(np.minimum(index, BINS - 1), minlength=BINS)

    def _reach_for(self, most: float) -> None:
        if most <= self.reach:
            return
        if self.reach == 0.0:
            self.reach = float(2.0 ** np.ceil(np.log2(most)))
            return
        while self.reach < most:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([np.zeros(BINS // 4, np.int64), merged, np.zeros(BINS // 4, np.int64)])
            self.reach *= 2

    def facts(self) -> np.ndarray:
        """Everything but the counts, as float64."""
        held = (self.reach, self.low, self.high, self.total, self.squares, self.count, self.nonfinite)
        return np.array(held, np.float64)

    @classmethod
    def of(cls, counts: np.ndarray, facts: np.ndarray) -> Histogram:
        """From ``counts`` and ``facts()``."""
        reach, low, high, total, squares, count, nonfinite = (float(f) for f in facts)
        return cls(counts, reach, low, high, total, squares, int(count), int(nonfinite))

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return self.total / max(self.count, 1)

    @property
    def std(self) -> float:
        """Standard deviation."""
        return float(np.sqrt(max(self.squares / max(self.count, 1) - self.mean**2, 0.0)))

    def centers(self) -> np.ndarray:
        """Middle of each bin, float64."""
        width = 2 * self.reach / BINS
        middles: np.ndarray = -self.reach + width * (np.arange(BINS) + 0.5)
        return middles

    def quantile(self, share: float) -> float:
        """The value below which a share of all elements lies (upper edge of its bin), within the seen range."""
        passed = np.cumsum(self.counts)
        index = int(np.searchsorted(passed, share * self.count))
        edge = -self.reach + 2 * self.reach / BINS * (min(index, BINS - 1) + 1)
        return min(max(edge, self.low), self.high)
