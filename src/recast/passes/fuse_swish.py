"""``x * Sigmoid(x)`` becomes one Swish, for targets that compute it in one sweep over memory.

Given: a graph in the dialect, where Swish is spelled as two operators.
Result: Mul(x, Sigmoid(x)) whose Sigmoid nobody else uses is Swish(x) (Ramachandran et al. 2017, equation 1 with β = 1).
Refuses when: never; half precision stays, since ONNX rounds between the two operators there.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import sole_consumer
from recast.passes import PassOptions
from recast.passes._editor import Editor

_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Fuse them in the model's graph in place."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type != "Sigmoid" or node.domain or node.inputs[0] is None or node.inputs[0].dtype not in _TYPES:
            continue
        source, product = node.inputs[0], sole_consumer(node.outputs[0])
        if product is None or product.op_type != "Mul" or product.domain or product.graph is not node.graph:
            continue
        if set(product.inputs) == {source, node.outputs[0]}:
            editor.replace(product.outputs[0], editor.node("Swish", [source], None, product))
            model.graph.remove([product, node], safe=True)
    return []
