"""Set the smallest weights to zero.

Han et al., Learning both Weights and Connections for Efficient Neural Networks (NeurIPS 2015, section 3); with blocks:
Gray et al., GPU Kernels for Block-Sparse Weights (2017). Element by element L1 and L2 give the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from recast.compression._method import PLAIN, Needs, Plan, Skip, Statistics
from recast.compression.prune import _masks, _targets, _told
from recast.compression.prune._targets import array_of
from recast.errors import BadRecipe

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Magnitude:
    """Zero what is small.

    Attributes:
        amount: share of the weights that go, exactly (rounded to a whole number of weights or blocks).
        threshold: instead: all with ``|w| <`` this (with blocks: whose norm over the root of their size is).
        scope: ``tensor``: the amount of each tensor; ``global``: of all together.
        norm: of blocks, ``l1`` or ``l2``.
        block: neighbours along the input axis that go together.
        skip: names of nodes, layers or weights to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = PLAIN
    amount: float | None = None
    threshold: float | None = None
    scope: Literal["tensor", "global"] = "tensor"
    norm: Literal["l1", "l2"] = "l2"
    block: int = 1
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _masks.check_amount(self.amount, self.threshold)
        if self.scope not in ("tensor", "global") or self.norm not in ("l1", "l2") or self.block < 1:
            raise BadRecipe(
                f"scope '{self.scope}', norm '{self.norm}', block {self.block}",
                fix="scope tensor or global, norm l1 or l2, block 1 or more",
            )

    def needs(self, model: ir.Model) -> Needs:
        """Nothing but the weights."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """The weights with zeros."""
        targets, skips = _targets.find(model, tuple(self.skip))
        arrays = [array_of(model, t) for t in targets]
        wrong = [t.where for t, a in zip(targets, arrays, strict=True) if not np.isfinite(a).all()]
        skips += [Skip(where, "its weights are not all finite") for where in wrong]
        kept = [(t, a) for t, a in zip(targets, arrays, strict=True) if t.where not in wrong]
        masks = self.masks([a for _, a in kept], [t.inputs for t, _ in kept])
        made = {
            t.weight: np.where(mask, a.dtype.type(0), a) for (t, a), mask in zip(kept, masks, strict=True) if mask.any()
        }
        return _told.plan("magnitude", model, made, skips, statistics.target)

    def masks(self, arrays: Sequence[np.ndarray], axes: Sequence[int]) -> list[np.ndarray]:
        """What goes, as True, of each array; ``axes``: the axis of its inputs."""
        scores = [_masks.blocks(a, axis, self.block, self.norm) for a, axis in zip(arrays, axes, strict=True)]
        if self.threshold is not None:
            size = float(self.block) ** (1.0 if self.norm == "l1" else 0.5)
            chosen = [s / size < self.threshold for s in scores]
        elif self.scope == "global":
            chosen = _masks.smallest_of_all(scores, round((self.amount or 0) * sum(s.size for s in scores)))
        else:
            chosen = [_masks.smallest(s, round((self.amount or 0) * s.size)) for s in scores]
        return [
            _masks.expanded(mask, axis, self.block, a.shape[axis])
            for mask, a, axis in zip(chosen, arrays, axes, strict=True)
        ]


@dataclass(frozen=True)
class NofM:
    """Of every ``M`` neighbours along the input axis the ``N`` largest stay (Mishra et al. 2021, 2:4).

    Attributes:
        pattern: ``N:M``.
        skip: names of nodes, layers or weights to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = PLAIN
    pattern: str = "2:4"
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if _masks.pattern(self.pattern) is None:
            raise BadRecipe("no pattern", fix="2:4")

    def needs(self, model: ir.Model) -> Needs:
        """Nothing but the weights."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """The weights with zeros; axes that are no multiple of M are left alone."""
        keep, of = _masks.pattern(self.pattern) or (2, 4)
        targets, skips = _targets.find(model, tuple(self.skip))
        made = {}
        for target in targets:
            array = array_of(model, target)
            length = array.shape[target.inputs]
            if length % of:
                skips.append(Skip(target.where, f"{length} inputs are no multiple of {of}"))
                continue
            mask = _masks.n_of_m(np.abs(np.moveaxis(array, target.inputs, -1)), keep, of)
            made[target.weight] = np.where(np.moveaxis(mask, -1, target.inputs), array.dtype.type(0), array)
        return _told.plan(f"{self.pattern} pattern", model, made, skips, statistics.target)


METHODS = {"magnitude": Magnitude, "n-m": NofM}
