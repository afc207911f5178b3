"""What a verification found, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recast.errors import ParityFailure
from recast.verification.compare import Difference
from recast.verification.tolerances import Tolerance


@dataclass(frozen=True)
class Note:
    """Something worth knowing that decides nothing."""

    what: str
    where: str = ""
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Wrong:
    """Why the verdict is *failed*.

    ``kind``: ``values`` (the target computes something else), ``graph`` (the graph is not what the source's
    runtime computes: a reader's fault), ``target`` or ``source`` (a runtime refused or died), ``signature``, ``feeds``.
    """

    kind: str
    what: str
    where: str = ""
    difference: Difference | None = None


@dataclass(frozen=True)
class FeedRecord:
    """One run. ``varied``: an output was not constant, so the run says something."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    differences: tuple[Difference, ...]
    varied: bool = False

    @property
    def accepted(self) -> bool:
        """Whether every output was accepted."""
        return all(d.accepted for d in self.differences)

    @property
    def counts(self) -> bool:
        """Whether the run proves something: rounding alone could not have moved an output by much of its scale."""
        return bool(self.differences) and not any(d.weak for d in self.differences)


@dataclass
class Report:
    """The whole verification. ``culprit`` names the first operator that diverges, where it was traced."""

    source: str
    target: str
    source_runtime: str = ""
    target_runtime: str = ""
    seed: int = 0
    feeds: list[FeedRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    wrong: Wrong | None = None
    culprit: str = ""
    oracle: str = "not needed"
    tolerances: dict[str, Tolerance] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """The verdict."""
        return self.wrong is None and bool(self.feeds) and all(f.accepted for f in self.feeds)

    @property
    def proofs(self) -> list[FeedRecord]:
        """Runs that count. Constant outputs (saturated, as on large inputs) do only if no varied run fails to count:
        they cannot stand in for what rounding hides there."""
        hidden = any(f.varied and not f.counts for f in self.feeds)
        return [f for f in self.feeds if f.counts and (f.varied or not hidden)]

    @property
    def resolution(self) -> float | None:
        """The best run's allowed error, relative to the outputs' scale: much smaller faults could not be seen."""
        return min((max(d.slack for d in f.differences) for f in self.proofs), default=None)

    @property
    def worst(self) -> Difference | None:
        """The difference that came closest to (or went furthest beyond) what is allowed."""
        found = [d for f in self.feeds for d in f.differences]
        return max(found, key=lambda d: (d.ratio, d.max_abs), default=None)

    def failed(self, wrong: Wrong) -> Report:
        """Record the first reason for failing."""
        if self.wrong is None:
            self.wrong = wrong
        return self

    def summary(self) -> list[str]:
        """The verdict in a few lines of plain text."""
        differences = [d for f in self.feeds for d in f.differences]
        largest = max((d.max_abs for d in differences), default=0.0)
        relative = max((d.relative for d in differences), default=0.0)
        lines = [
            f"{'verified' if self.passed else 'NOT VERIFIED'}: {self.target} against {self.source}",
            f"{len(self.feeds)} inputs, judge {self.source_runtime or '?'}, target {self.target_runtime or '?'}",
            f"largest error {largest:.3g} ({relative:.3g} of the output's scale); float64 tie-breaker {self.oracle}",
        ]
        if self.resolution is not None:
            lines.append(f"faults down to {self.resolution:.2g} of the outputs' scale would have been seen")
        if self.wrong is not None:
            lines.append(f"{self.wrong.what}" + (f" ({self.wrong.where})" if self.wrong.where else ""))
        if self.culprit:
            lines.append(f"first wrong operator: {self.culprit}")
        return lines + [f"{n.level}: {n.what}" + (f": {n.where}" if n.where else "") for n in self.notes]

    def error(self) -> ParityFailure:
        """The failed verdict as an error to raise."""
        wrong = self.wrong or Wrong("values", "an output differs")
        what = {
            "values": "the target does not compute what the source computes: ",
            "graph": "the graph that was read is not what the source's own runtime computes: ",
        }.get(wrong.kind, "")
        places = [p for p in (self.culprit and f"first wrong operator {self.culprit}", wrong.where, self.target) if p]
        return ParityFailure(
            what + wrong.what,
            "; ".join(places),
            "do not use this file; report the operator, or pass --accept-unverified if you know better",
        )
