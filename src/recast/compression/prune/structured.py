"""Cut whole neurons, channels and attention heads, so that shapes shrink; then repair what reads them.

Importance of a unit: the norm of all that makes it (L1: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017;
BatchNormalization scale: Liu et al., Network Slimming, ICCV 2017; activation: Hu et al., Network Trimming, 2016).
Summed over its group as in DepGraph (Fang et al., CVPR 2023, eq. 5). Taylor: Molchanov et al., CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from recast.compression._method import Needs, Plan, Skip, Statistics
from recast.compression.apply import apply
from recast.compression.groups import Group, Groups, find
from recast.compression.prune import _budget, _importance, _repair, _statistics
from recast.errors import BadRecipe
from recast.graph.finding import Finding
from recast.passes import PassOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

Criterion = Literal["l1", "l2", "bn-scale", "activation", "taylor"]
Scope = Literal["uniform", "global"]
DEFAULT = 0.5  # amount
MOST = 0.9  # of one group goes at most this share where all groups are ranked together
PASSES = ("drop_dropout", "decompose", "inline_functions", "fold_constants", "clean", "refine_shapes")
OPTIONS = PassOptions(native=lambda node: node.op_type != "Attention", keep_tied=True)  # plainer than ONNX's own body


@dataclass(frozen=True)
class Structured:
    """Cut units of every group.

    Attributes:
        amount: share of the units to cut, 0–1 (exclusive); without a budget 0.5.
        criterion: what makes a unit important; ``activation`` and ``taylor`` look at samples.
        scope: ``uniform``: the same share of each group; ``global``: the least important of all groups, by importance
            over the mean of what is then left of the group; ``taylor`` by importance as it is, with a budget for what
            cutting a unit saves (of several budgets each counts as much as it has to, so that as little importance as
            possible is lost).
        multiple: keep a multiple of so many (8 suits most kernels); small groups keep at least one unit.
        repair: ``least-squares``: readers take over what the cut units gave, as far as the kept ones tell it, and
            normalisations get new statistics; ``none``.
        samples: that the repair, the criterion and a latency look at.
        budget: instead of an amount: ``macs<0.5`` (of the original's), ``parameters<400K``, ``latency<2ms``, or
            several with commas between; as little is cut as meets them.
    """

    amount: float | None = None
    criterion: Criterion = "l2"
    scope: Scope = "uniform"
    multiple: int = 1
    repair: Literal["least-squares", "none"] = "least-squares"
    samples: int = 256
    budget: str = ""

    passes: ClassVar[tuple[str, ...]] = PASSES
    pass_options: ClassVar[PassOptions] = OPTIONS
    stream: ClassVar[bool] = False  # see ``groups.find``

    def __post_init__(self) -> None:
        if self.amount is not None and self.budget:
            raise BadRecipe("an amount and a budget", fix="say one of them")
        if self.budget:
            _budget.parse(self.budget)
        if self.amount is not None and not 0 < self.amount < 1:
            raise BadRecipe(f"amount {self.amount}", fix="a share between 0 and 1")
        if self.criterion not in _importance.CRITERIA:
            raise BadRecipe(f"criterion '{self.criterion}'", fix=f"one of {', '.join(_importance.CRITERIA)}")
        if self.scope not in get_args(Scope):
            raise BadRecipe(f"scope '{self.scope}'", fix=f"one of {', '.join(get_args(Scope))}")
        if self.multiple < 1:
            raise BadRecipe(f"multiple {self.multiple}", fix="1, 8, 16 …")

    def needs(self, model: ir.Model) -> Needs:
        """Samples for the repair."""
        wanted = self.repair != "none" or self.criterion in _importance.LOOKING or "latency" in self.budget
        return Needs(samples=self.samples if wanted else 0)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Which units go, what that cuts, and the readers' new weights."""
        groups = find(model, self.stream)
        values = _importance.measure(model, groups, self.criterion, statistics)
        share, mix = self.amount or DEFAULT, 0.5
        if self.budget:
            share, mix = self._least(model, groups, values, statistics)
        chosen = choose(groups.groups, values, self, share, mix)
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
        skips = tuple(
            Skip(g.name, "too few units, or all important" if np.isfinite(v).all() else "its gradients are not known")
            for g, u, v in zip(groups.groups, chosen, values, strict=True)
            if not len(u)
        )
        notes: dict[str, Any] = {"units before and after": table, "cut": len(gone), "share": share}
        return Plan("structured", tuple(edits), skips, findings, notes)

    def _least(
        self, model: ir.Model, groups: Groups, values: list[np.ndarray], statistics: Statistics
    ) -> tuple[float, float]:
        """The smallest share that meets the budget, and the ranking (``choose``) that loses least importance by it."""
        budgets = _budget.parse(self.budget)
        found = []
        for mix in _budget.mixes(budgets) if self.scope == "global" and self.criterion == "taylor" else (0.5,):

            def chosen(share: float, mix: float = mix) -> list[np.ndarray]:
                return choose(groups.groups, values, self, share, mix)

            def cut(share: float, chosen: Callable[[float], list[np.ndarray]] = chosen) -> ir.Model | None:
                gone = [int(u) for units in chosen(share) for u in units]
                return apply(model, Plan("structured", tuple(groups.edits(gone)))) if gone else None

            share = _budget.least(cut, model, budgets, statistics.samples)
            lost = sum(
                float(v[np.isin(g.units, u)].sum())
                for g, v, u in zip(groups.groups, values, chosen(share), strict=True)
            )
            found.append((lost, share, mix))
        return min(found)[1:]


def choose(
    groups: tuple[Group, ...], values: list[np.ndarray], options: Structured, share: float, mix: float = 0.5
) -> list[np.ndarray]:
    """The units of each group that go: the least important ones. ``mix``: see ``_budget.worth``."""
    if options.scope == "global":
        scaled = _worth(groups, values, options, mix)
        every = np.sort(np.concatenate(scaled)) if scaled else np.zeros(0)
        limit = every[min(int(len(every) * share), len(every) - 1)] if len(every) else 0.0
        wanted = [int((s < limit).sum()) for s in scaled]
    else:
        wanted = [round(len(g.units) * share) for g in groups]
    found = []
    for group, value, count in zip(groups, values, wanted, strict=True):
        size = len(group.units)
        if not np.isfinite(value).all():  # nothing is known of it
            found.append(group.units[:0])
            continue
        most = int(size * MOST) if options.scope == "global" else size - 1
        keep = size - max(0, min(count, most))
        if options.multiple > 1:
            keep = min(size, -(-keep // options.multiple) * options.multiple)
        order = np.argsort(value, kind="stable")
        found.append(group.units[order[: size - keep]])
    return found


def _worth(groups: tuple[Group, ...], values: list[np.ndarray], options: Structured, mix: float) -> list[np.ndarray]:
    """Importance that can be compared between groups.

    Taylor values are changes of one loss and are compared as they are; norms are measured by the group.
    """
    if options.criterion != "taylor":
        return [_over_what_is_left(v) for v in values]
    if not options.budget:
        return values
    return _budget.worth(groups, values, _budget.parse(options.budget), mix)


def _over_what_is_left(values: np.ndarray) -> np.ndarray:
    """Each value over the mean of those that are not smaller, and never below that of a smaller one.

    So a group is spared the more, the more it has lost: as if units were cut one by one, and the groups measured anew
    after each (as the many small steps in the experiments of Fang et al., CVPR 2023). Shape and order as given.
    """
    order = np.argsort(values, kind="stable")
    rising = values[order]
    left = np.cumsum(rising[::-1])[::-1] / np.arange(len(rising), 0, -1)
    found = np.empty(len(values))
    found[order] = np.maximum.accumulate(rising / np.maximum(left, 1e-30))
    return found


def _why(groups: Groups, options: Structured) -> str:
    if not groups.groups and options.stream:
        return "no axis that can be cut is one that a layer normalisation takes means over"
    if not groups.groups:
        return "no channels, neurons or heads can be cut: every axis reaches an input, an output or an unknown operator"
    return f"this share of the largest group's {max(len(g.units) for g in groups.groups)} units is none"


METHODS = {"structured": Structured}
