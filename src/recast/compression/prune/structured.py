"""Cut whole neurons, channels and attention heads, so that shapes shrink; then repair what reads them.

Importance of a unit: the norm of all that makes it (L1: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017;
BatchNormalization scale: Liu et al., Network Slimming, ICCV 2017; activation: Hu et al., Network Trimming, 2016).
Summed over its group as in DepGraph (Fang et al., CVPR 2023, eq. 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from recast.compression._method import Needs, Plan, Skip, Statistics
from recast.compression.apply import apply
from recast.compression.groups import Group, Groups, find
from recast.compression.prune import _importance, _repair, _statistics
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

Criterion = Literal["l1", "l2", "bn-scale", "activation"]
PASSES = ("drop_dropout", "inline_functions", "fold_constants", "clean")


@dataclass(frozen=True)
class Structured:
    """Cut units of every group.

    Attributes:
        amount: share of the units to cut, 0–1 (exclusive).
        criterion: what makes a unit important.
        scope: ``uniform``: the same share of each group; ``global``: the least important of all groups.
        multiple: keep a multiple of so many (8 suits most kernels); small groups keep at least one unit.
        most: of one group, at most this share goes (``global`` only).
        repair: ``least-squares``: readers take over what the cut units gave, as far as the kept ones tell it, and
            normalisations get new statistics; ``none``.
        samples: that the repair and the activation criterion look at.
    """

    amount: float = 0.5
    criterion: Criterion = "l2"
    scope: Literal["uniform", "global"] = "uniform"
    multiple: int = 1
    most: float = 0.9
    repair: Literal["least-squares", "none"] = "least-squares"
    samples: int = 256

    passes: ClassVar[tuple[str, ...]] = PASSES

    def __post_init__(self) -> None:
        if not 0 < self.amount < 1:
            raise BadRecipe(f"amount {self.amount}", fix="a share between 0 and 1")
        if self.criterion not in _importance.CRITERIA:
            raise BadRecipe(f"criterion '{self.criterion}'", fix=f"one of {', '.join(_importance.CRITERIA)}")
        if self.multiple < 1:
            raise BadRecipe(f"multiple {self.multiple}", fix="1, 8, 16 …")

    def needs(self, model: ir.Model) -> Needs:
        """Samples for the repair."""
        wanted = self.repair != "none" or self.criterion == "activation"
        return Needs(samples=self.samples if wanted else 0)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Which units go, what that cuts, and the readers' new weights."""
        groups = find(model)
        values = _importance.measure(model, groups, self.criterion, statistics)
        chosen = choose(groups.groups, values, self)
        gone = {int(u) for units in chosen for u in units}
        if not gone:
            return Plan("structured", skips=(Skip("the whole model", _why(groups, self)),))
        edits = groups.edits(gone)
        findings: tuple[Finding, ...] = ()
        if self.repair != "none":
            repaired, findings = _repair.edits(model, groups, gone, statistics)
            edits = [*repaired, *edits]
            if statistics.samples is not None:
                cut = apply(model, Plan("structured", tuple(edits)))
                edits += _statistics.edits(cut, statistics.samples)
        table = {g.name: [len(g.units), len(g.units) - len(u)] for g, u in zip(groups.groups, chosen, strict=True)}
        skips = tuple(Skip(g.name, "too few units") for g, u in zip(groups.groups, chosen, strict=True) if not len(u))
        notes: dict[str, Any] = {"units before and after": table, "cut": len(gone)}
        return Plan("structured", tuple(edits), skips, findings, notes)


def choose(groups: tuple[Group, ...], values: list[np.ndarray], options: Structured) -> list[np.ndarray]:
    """The units of each group that go: the least important ones."""
    if options.scope == "global":
        scaled = [v / max(float(v.mean()), 1e-30) for v in values]
        every = np.concatenate(scaled) if scaled else np.zeros(0)
        limit = np.sort(every)[int(len(every) * options.amount)] if len(every) else 0.0
        wanted = [int((s < limit).sum()) for s in scaled]
    else:
        wanted = [round(len(g.units) * options.amount) for g in groups]
    found = []
    for group, value, count in zip(groups, values, wanted, strict=True):
        size = len(group.units)
        most = int(size * options.most) if options.scope == "global" else size - 1
        keep = size - max(0, min(count, most))
        if options.multiple > 1:
            keep = min(size, -(-keep // options.multiple) * options.multiple)
        order = np.argsort(value, kind="stable")
        found.append(group.units[order[: size - keep]])
    return found


def _why(groups: Groups, options: Structured) -> str:
    if not groups.groups:
        return "no channels, neurons or heads can be cut: every axis reaches an input, an output or an unknown operator"
    return f"amount {options.amount} of the largest group's {max(len(g.units) for g in groups.groups)} units is none"


METHODS = {"structured": Structured}
