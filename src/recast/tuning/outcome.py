"""What a search has found: the best, the Pareto front, and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from recast.compression.gate import Comparison
from recast.report.document import Report
from recast.tuning.job import Job
from recast.tuning.sampling import nondominated, values
from recast.tuning.trial import Judge, Row
from recast.verification.certificate import plain

Prefer = Literal["size", "quality", "latency"]


@dataclass(frozen=True)
class Tuned:
    """The state of a search.

    Attributes:
        job: what was searched for.
        rows: all trials, in order.
        best: place in ``rows`` of what was delivered: the best that meets the budget, or else the nearest; None where
            nothing could be measured.
        files: what was delivered, the main file first; the nearest is called ``NAME.unverified``.
        ended: why the search ended.
    """

    job: Job
    rows: tuple[Row, ...]
    best: int | None = None
    files: tuple[Path, ...] = ()
    ended: str = ""

    @property
    def judge(self) -> Judge:
        """The budget."""
        return Judge(self.job.settings.limits, self.job.real)

    @property
    def passed(self) -> bool:
        """Whether the budget is met (or ``allow_worse`` was given)."""
        if self.best is None:
            return False
        return self.job.settings.limits.allow_worse or self.judge.meets(self.rows[self.best])

    @property
    def front(self) -> list[int]:
        """Places of the trials that none other beats in bytes, loss and time at once, the smallest first.

        Of those that meet the budget; where none does, of all that were measured.
        """
        good = [i for i, r in enumerate(self.rows) if self.judge.meets(r)]
        good = good or [i for i, r in enumerate(self.rows) if r.comparison is not None]
        figures = [values(self.rows[i]) for i in good]
        return [good[p] for p in sorted(nondominated(figures), key=lambda p: figures[p])]

    def report(self) -> Report:
        """Everything, for text, JSON and HTML."""
        from recast import __version__

        measured = [r.comparison for r in self.rows if r.comparison is not None]
        budget = {k: v for k, v in asdict(self.job.settings.limits).items() if v is not None and v is not False}
        data = self.job.settings.data or (self.job.settings.calibration if self.job.real else None)
        told = {
            "recast": __version__,
            "kind": "tuning",
            "source": Path(self.job.source).name,
            "target": self.job.target,
            "data": data.name if data else "generated inputs",
            "budget": budget,
            "ended": self.ended,
            "passed": self.passed,
            "files": [f.name for f in self.files],
            "original": _original(measured),
            "trials": [self._row(i) for i in range(len(self.rows))],
            "front": self.front,
            "best": self.best,
        }
        return Report(plain(told))

    def _row(self, place: int) -> dict[str, Any]:
        row = self.rows[place]
        told: dict[str, Any] = {
            "recipe": row.words,
            "steps": row.steps,
            "meets": self.judge.meets(row),
            "reasons": self.judge.reasons(row),
            "seconds": round(row.seconds, 2),
            "loss": row.loss if row.comparison else None,
        }
        found = row.comparison
        if found is None:
            return told | {"size_bytes": None, "good": None, "disagree": None, "error": None, "latency_s": None}
        return told | {
            "size_bytes": found.size_bytes[1],
            "good": _good(found),
            "disagree": found.disagree,
            "error": found.error,
            "latency_s": found.latency_s[1] if found.latency_s else None,
            "slowdown": found.slowdown,
        }


def best_of(rows: Sequence[Row], judge: Judge, prefer: Prefer) -> int | None:
    """The place of the best that meets the budget; where none does, of the nearest to it; the earliest of equals."""
    measured = [i for i, r in enumerate(rows) if r.comparison is not None and not judge.open(r)]

    def rank(place: int) -> tuple[float, ...]:
        row = rows[place]
        far = sum(max(v, 0.0) for v in judge.violations(row).values())
        share, loss, slowdown = values(row)
        if not judge.meets(row):
            return (1.0, far, share)
        orders = {
            "size": (share, loss, slowdown),
            "quality": (loss, share, slowdown),
            "latency": (slowdown, share, loss),
        }
        return (0.0, *orders[prefer])

    return min(measured, key=rank, default=None)


def _good(found: Comparison) -> float | None:
    """The figure of the quality axis: accuracy, else agreement, else one minus the output error."""
    if found.accuracy is not None:
        return found.accuracy[1]
    if found.disagree is not None:
        return 1 - found.disagree
    return None if found.error is None or not math.isfinite(found.error) else 1 - found.error


def _original(measured: Sequence[Comparison]) -> dict[str, Any]:
    """The original in the target's format, as it was compared with."""
    if not measured:
        return {"size_bytes": None, "good": None, "metric": "", "latency_s": None}
    first = measured[0]
    metric = first.metric or ("agreement" if first.disagree is not None else "1 − output error")
    times = sorted(c.latency_s[0] for c in measured if c.latency_s)
    return {
        "size_bytes": first.size_bytes[0],
        "good": first.accuracy[0] if first.accuracy else 1.0,
        "metric": metric,
        "latency_s": times[len(times) // 2] if times else None,
    }
