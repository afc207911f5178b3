"""Activation-aware scaling before weights are rounded: inputs that are large get weights that are rounded finer.

Lin et al. 2023, "AWQ: Activation-aware Weight Quantization", eq. 4 and 5: ``s = s_x^α`` with s_x the mean absolute
input of each channel, and the α of a grid that minimises ``|Q(W S) S⁻¹ x - W x|``. It changes no output; a step that
rounds must follow: ``Quantize("awq") >> Quantize("int4")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recast.compression._method import FUSED, Needs, Plan, Skip, Statistics
from recast.compression.quantize._fit import weight_of
from recast.compression.quantize._joints import Joint, Weights, inputs_scaled, joints
from recast.compression.quantize._rounding import Grid, expanded, nearest
from recast.compression.quantize.int8 import refuse_quantised
from recast.compression.quantize.weights import BLOCK
from recast.errors import BadRecipe
from recast.measure.calibrate import Graph

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.data import Samples

_GRID = 20


@dataclass(frozen=True)
class Awq:
    """Activation-aware scaling of dense layers.

    Attributes:
        bits: that the weights will be rounded to.
        block: inputs that will share a scale; -1: 32 for ONNX, else all.
        samples: to look at.
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    bits: int = 4
    block: int = -1
    samples: int = 128

    def needs(self, model: ir.Model) -> Needs:
        """Samples."""
        refuse_quantised(model)
        return Needs((), self.samples)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """New weights where some α beats 0 (no scaling)."""
        found, left = joints(model)
        found = [j for j in found if all(la.window is None for la in j.below)]
        if not found:
            raise BadRecipe("no dense layer here has an input that can be rescaled", fix="leave the step out")
        if statistics.samples is None or not statistics.samples.real:
            raise BadRecipe("activation-aware scaling needs real samples", fix="pass --data, or leave the step out")
        block = self.block if self.block >= 0 else (BLOCK if statistics.target == "onnx" else 0)
        weights, chosen = Weights(model), {}
        for joint in found:
            seen = moments(model, joint.value, statistics.samples)
            alpha, s = best(model, joint, seen, (Grid.symmetric(self.bits), block))
            chosen[joint.value] = alpha
            if alpha > 0:
                weights.scale(joint, s)
        skips = tuple(Skip(where, why) for where, why in left.items())
        return Plan("awq", weights.edits("scaled by its inputs"), skips, (), {"alpha": chosen})


def moments(model: ir.Model, value: str, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute value of each channel of the last axis, and the second moments, float64."""
    count, size, second = 0, np.zeros(()), np.zeros(())
    with Graph(model) as graph, graph.open([value], optimise=True) as runner:
        for feeds in samples.batches(runner.inputs, 16):
            x = runner.run(feeds)[value].astype(np.float64)
            x = x.reshape(-1, x.shape[-1])
            count, size, second = count + len(x), size + np.abs(x).sum(axis=0), second + x.T @ x
    return size / count, second / count


def best(
    model: ir.Model, joint: Joint, seen: tuple[np.ndarray, np.ndarray], goal: tuple[Grid, int]
) -> tuple[float, np.ndarray]:
    """α and s (geometric mean of its ends 1, as in the authors' code) of least error over all layers below."""
    size, second = seen
    found, least = (0.0, np.ones(joint.channels)), np.inf
    for step in range(_GRID):
        alpha = step / _GRID
        s = np.maximum(size, 1e-4 * max(float(size.max()), 1e-12)) ** alpha
        s /= np.sqrt(s.max() * s.min())
        error = 0.0
        for layer in joint.below:
            w = weight_of(model, layer.weight).astype(np.float64)
            rows = layer.matrix(inputs_scaled(w, layer, s))[0]
            q, scale = nearest(rows, *goal)
            lost = q * expanded(scale, rows.shape[1], goal[1]) / s - layer.matrix(w)[0]
            error += float(((lost @ second) * lost).sum())
        if error < least:
            found, least = (alpha, s), error
    return found


METHODS = {"awq": Awq}
