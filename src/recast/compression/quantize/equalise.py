"""Cross-layer equalisation: channels of consecutive layers get the same range, so that one scale suits them all.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 11:
``s_i = (1 / r2_i) sqrt(r1_i r2_i)``, with r the largest absolute weight of the channel in the layer above and in those
below. It changes no output; a step that rounds must follow: ``Quantize("equalise") >> Quantize("int8")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recast.compression._method import FUSED, Needs, Plan, Skip, Statistics
from recast.compression.quantize._joints import Joint, Weights, by_inputs, joints
from recast.compression.quantize.int8 import refuse_quantised
from recast.errors import BadRecipe

if TYPE_CHECKING:
    import onnx_ir as ir

_SETTLED = 1e-3  # largest change of a scale in a round
_DEAD = 1e-4  # of the largest channel's range: smaller ones carry nothing, and would get scales beyond all measure
_MOST = 256.0  # what a channel is scaled by in all; integer kernels multiply by no more either


@dataclass(frozen=True)
class Equalise:
    """Cross-layer equalisation, through ReLU, pooling and depthwise convolutions; without data.

    Through ReLU6 it would not be exact (every channel would need a bound of its own): such places are skipped.

    Attributes:
        rounds: over all places, until the scales settle.
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    rounds: int = 20

    def needs(self, model: ir.Model) -> Needs:
        """Nothing."""
        refuse_quantised(model)
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """New weights."""
        found, left = joints(model)
        if not found:
            raise BadRecipe("no two layers here can be equalised", next(iter(left.values()), ""), "leave the step out")
        weights, total = Weights(model), {j.value: np.ones(j.channels) for j in found}
        for _ in range(self.rounds):
            moved = 0.0
            for joint in found:
                s = np.clip(scales(weights, joint) * total[joint.value], 1 / _MOST, _MOST) / total[joint.value]
                weights.scale(joint, s)
                total[joint.value] *= s
                moved = max(moved, float(np.abs(s - 1).max()))
            if moved < _SETTLED:
                break
        notes = {"largest scales": {n: float(max(s.max(), 1 / s.min())) for n, s in total.items()}}
        skips = tuple(Skip(where, why) for where, why in left.items())
        return Plan("equalise", weights.edits("equalised"), skips, (), notes)


def scales(weights: Weights, joint: Joint) -> np.ndarray:
    """eq. 11 for one place; 1 where a channel is dead on a side. float64 (channels,)."""
    name, axis = joint.above[0]
    first = np.abs(np.moveaxis(weights[name], axis, 0).reshape(joint.channels, -1)).max(axis=1)
    second = np.max([np.abs(by_inputs(weights[la.weight], la)).max(axis=1) for la in joint.below], axis=0)
    some = (first > _DEAD * first.max()) & (second > _DEAD * second.max())
    return np.where(some, np.sqrt(np.where(some, first, 1.0) / np.where(some, second, 1.0)), 1.0)


METHODS = {"equalise": Equalise}
