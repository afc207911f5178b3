"""Infer shapes anew, with the values of shape arithmetic followed, where functions were put in or constants folded.

Given: any model in the dialect.
Result: shapes that say at least as much as before; nothing else changes.
Refuses when: never (shapes that contradict an operator are an error of the model).
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from recast.graph.finding import Finding
from recast.graph.infer import refine_node
from recast.passes import PassOptions


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Refine the shapes of the main graph in place."""
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for node in model.graph:
        refine_node(node)
    return []
