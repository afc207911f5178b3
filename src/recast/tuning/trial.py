"""What one trial gave, as data that is stored; judged anew wherever it is read, so that a budget may change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from recast.compression.gate import DISAGREE, DROP, ERROR, SLOWER, Comparison, Limits, reasons

_TIE = 1e-3  # weight of the outputs' error beside lost accuracy: few samples leave many recipes without any loss
_SLOWEST = 2.0  # over the original's time: where the budget allows more, the search still sees no good in it
_BROKEN = 10.0  # violation of a recipe that gave nothing to measure


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        choices: what was chosen in the space, by name.
        steps: the recipe, JSON-ready.
        words: the recipe for people.
        comparison: what was measured; None where the recipe was refused.
        refused: why there is nothing to measure.
        digest: SHA-256 of the main file.
        seconds: how long it took.
    """

    choices: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    words: str
    comparison: Comparison | None = None
    refused: str = ""
    digest: str = ""
    seconds: float = field(default=0.0, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Row:
        """The inverse of ``as_dict`` (through JSON)."""
        found: dict[str, Any] | None = told["comparison"]
        if found is not None:
            found = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        compared = None if found is None else Comparison(**found)
        return cls(**{**told, "steps": tuple(told["steps"]), "comparison": compared})

    @property
    def size(self) -> int:
        """Bytes of the result."""
        return self.comparison.size_bytes[1] if self.comparison else 0

    @property
    def loss(self) -> float:
        """What it lost (0: nothing): accuracy where there are labels, else answers that changed, else output error.

        A thousandth of the output error is added: it tells recipes apart that lose nothing on few samples.
        """
        found = self.comparison
        if found is None:
            return math.inf
        error = min(found.error if found.error is not None else 0.0, 10.0)
        if found.accuracy is not None:
            return max(found.accuracy[0] - found.accuracy[1], 0.0) + _TIE * error
        return found.disagree + _TIE * error if found.disagree is not None else error

    @property
    def slowdown(self) -> float | None:
        """Time of a run over the original's; None where it was not timed."""
        return self.comparison.slowdown if self.comparison else None


@dataclass(frozen=True)
class Judge:
    """A budget, and whether the data are the user's."""

    limits: Limits
    real: bool

    def reasons(self, row: Row) -> list[str]:
        """Why a result does not meet the budget; [] if it does."""
        if row.comparison is None:
            return [row.refused]
        return reasons(row.comparison, self.limits, self.real)

    def open(self, row: Row) -> bool:
        """Whether only its speed is missing: it meets every other part of the budget and was not timed."""
        return self.limits.timed and row.slowdown is None and not self.reasons(row)

    def meets(self, row: Row) -> bool:
        """Whether it meets the budget, speed included."""
        return not self.reasons(row) and not self.open(row)

    def box(self, rows: Sequence[Row]) -> tuple[float, float, float]:
        """The most that the budget allows of bytes over the original's, of loss, and of time over the original's."""
        limits, found = self.limits, next((r.comparison for r in rows if r.comparison is not None), None)
        if found is None:
            return 1.0, DROP, SLOWER
        share = 1.0 if limits.size_bytes is None else min(1.0, limits.size_bytes / found.size_bytes[0])
        if found.accuracy is not None:
            loss = DROP if limits.drop is None else limits.drop
        elif found.disagree is not None:
            loss = DISAGREE if limits.disagree is None else limits.disagree
        else:
            loss = ERROR if limits.error is None else limits.error
        times = [r.comparison.latency_s[0] for r in rows if r.comparison is not None and r.comparison.latency_s]
        slowdown = limits.slower or SLOWER
        if limits.latency_s is not None and times:
            slowdown = min(slowdown, limits.latency_s / sorted(times)[len(times) // 2])
        return share, max(loss, _TIE), min(slowdown, _SLOWEST)

    def violations(self, row: Row) -> dict[str, float]:
        """How far a result is from each part of the budget, relative; at most 0 where it meets it."""
        found, limits = row.comparison, self.limits
        if found is None:
            return {"refused": _BROKEN}
        old, new = found.size_bytes
        far = {"smaller": new / old - 1 + 1e-9}
        if limits.size_bytes is not None:
            far["size"] = new / max(limits.size_bytes, 1) - 1
        if found.accuracy is not None:
            drop = limits.drop if limits.drop is not None else DROP
            far["drop"] = (found.accuracy[0] - found.accuracy[1] - drop) / max(drop, 0.01)
        elif found.disagree is not None and self.real:
            most = limits.disagree if limits.disagree is not None else DISAGREE
            far["disagree"] = (found.disagree - most) / max(most, 0.01)
        elif found.error is not None:
            error = limits.error if limits.error is not None else ERROR
            far["error"] = min((found.error - error) / max(error, 0.01), _BROKEN)
        if limits.latency_s is not None and found.latency_s is not None:
            far["latency"] = min(found.latency_s[1] / max(limits.latency_s, 1e-9) - 1, _BROKEN)
        if found.slowdown is not None:
            far["slower"] = found.slowdown / (limits.slower or SLOWER) - 1
        if all(v <= 0 for v in far.values()) and self.reasons(row):  # a part that was asked for besides these
            far["other"] = 1.0
        return {k: _BROKEN if math.isnan(v) else v for k, v in far.items()}
