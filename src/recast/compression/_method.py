"""The contract of a compression method: what it needs, and a plan as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression.edits import Edit
    from recast.measure.data import Samples
    from recast.measure.histogram import Histogram


@dataclass(frozen=True)
class Needs:
    """What a method wants to know before it plans.

    Attributes:
        values: names of values whose distribution (``Histogram``) is wanted.
        samples: how many samples it looks at; 0: it works without data.
        training: how many it learns from, besides.
    """

    values: tuple[str, ...] = ()
    samples: int = 0
    training: int = 0


@dataclass(frozen=True)
class Statistics:
    """What was measured for a method.

    Attributes:
        values: distributions by value name.
        samples: real samples, or generated ones (``samples.real`` tells); with labels where the data have them.
        target: name of the format that will be written ("" unknown): rules of integer kernels differ.
        seed: for whatever is random.
        training: samples to learn from, where a method asked for them.
        original: the model before the first step.
    """

    values: Mapping[str, Histogram] = field(default_factory=dict)
    samples: Samples | None = None
    target: str = ""
    seed: int = 0
    training: Samples | None = None
    original: ir.Model | None = None


@dataclass(frozen=True)
class Skip:
    """Something that the method would have changed but did not, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What a method will do; printable before anything happens.

    Attributes:
        method: its name.
        edits: in the order in which they are applied.
        skips: what is left alone.
        findings: what the user must know.
        notes: figures about the plan (bits, ratios, chosen ranges …), JSON-ready.
    """

    method: str
    edits: tuple[Edit, ...] = ()
    skips: tuple[Skip, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without the arrays."""
        return {
            "method": self.method,
            "edits": [e.told() for e in self.edits],
            "skips": [vars(s) for s in self.skips],
            "notes": dict(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{self.method}: {len(self.edits)} edits, {len(self.skips)} skips"]
        lines += [f"  {e.told()}" for e in self.edits]
        lines += [f"  skip {s.where}: {s.why}" for s in self.skips]
        return "\n".join(lines)


class Method(Protocol):
    """A frozen dataclass (at most 7 fields, each with a default) whose fields are its options.

    Attributes:
        passes: names of ``recast.passes`` to run on the model before ``needs`` and ``plan`` see it. After
            ``FUSED`` the graph is channels-first, without Dropout, BatchNormalization and functions. They run with
            ``pass_options`` (a ``passes.PassOptions``) if the method has such.
    """

    passes: ClassVar[tuple[str, ...]]

    def needs(self, model: ir.Model) -> Needs:
        """What to measure."""
        ...

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Decide; the model is not changed."""
        ...


PLAIN = ("fold_constants", "clean")
FUSED = ("drop_dropout", "inline_functions", "fold_constants", "layout", "fuse_batchnorm", "clean")
