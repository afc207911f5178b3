"""Dynamic range: int8 weights; activations are rounded to 8 bits at every run, by their own range.

TFLite: hybrid kernels (convolutions and dense layers). ONNX: DynamicQuantizeLinear → MatMulInteger for dense layers
(the pattern that ONNX Runtime fuses); its convolutions have no fast form and keep float arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from recast.compression._method import FUSED, Needs, Plan, Statistics
from recast.compression.edits import Edit, Mark, PackWeight, Piece, ReplaceNode
from recast.compression.quantize._layers import layers
from recast.compression.quantize.weights import Weights
from recast.graph import DYNAMIC
from recast.graph.finding import Finding
from recast.graph.view import const

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Dynamic:
    """Dynamic-range int8.

    Attributes:
        rounding: of the weights; see ``Weights``.
        samples: to fit with.
        skip: names of nodes to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    rounding: Literal["gptq", "hqq", "nearest"] = "gptq"
    samples: int = 512
    skip: tuple[str, ...] = ()

    @property
    def _weights(self) -> Weights:
        return Weights(8, self.rounding, 0, self.samples, self.skip)

    def needs(self, model: ir.Model) -> Needs:
        """As the weights do."""
        return self._weights.needs(model)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """The weights' plan; then what rounds the activations."""
        made = self._weights.plan(model, statistics)
        packed = {e.weight: e for e in made.edits if isinstance(e, PackWeight)}
        ours = [layer for layer in layers(model) if layer.weight in packed and layer.op != "Gather"]
        edits: list[Edit] = list(made.edits)
        findings = list(made.findings)
        if statistics.target == "tflite":
            edits += [Mark(layer.node, DYNAMIC, "int8") for layer in ours if layer.op != "ConvTranspose"]
        elif statistics.target == "onnx":
            nodes = {n.name: n for n in model.graph}
            for layer in ours:
                if layer.op in ("Gemm", "MatMul") and not layer.shared:
                    edits = [e for e in edits if e is not packed[layer.weight]]
                    edits.append(_integer_product(nodes[layer.node], packed[layer.weight]))
        else:
            text = f"{statistics.target or 'this target'} has no dynamic kernels: the weights are packed only"
            findings.append(Finding(text, "", "warning"))
        return replace(made, method="int8 dynamic", edits=tuple(edits), findings=tuple(findings))


def _integer_product(node: ir.Node, packed: PackWeight) -> ReplaceNode:
    """Gemm or MatMul as integer product and scaling; the weight is (in, out)."""
    x = (node.inputs[0].name if node.inputs[0] is not None else "") or ""
    integers = packed.integers.T if packed.axis == 0 else packed.integers
    constants: dict[str, np.ndarray] = {
        f"{packed.weight}/integers": np.ascontiguousarray(integers),
        f"{packed.weight}/scale": packed.scale.astype(np.float32),
    }
    weight, scale = constants
    pieces = [
        Piece("DynamicQuantizeLinear", (x,), "rounded", further=("step", "zero")),
        Piece("MatMulInteger", ("rounded", weight, "zero"), "sums"),
        Piece("Cast", ("sums",), "real", {"to": 1}),
        Piece("Mul", ("step", scale), "steps"),
        Piece("Mul", ("real", "steps"), "scaled"),
    ]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and const(bias) is not None:
        pieces.append(Piece("Add", ("scaled", bias.name or ""), "biased"))
    return ReplaceNode(node.name or "", tuple(pieces), constants)


METHODS = {"int8-dynamic": Dynamic}
