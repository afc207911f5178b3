"""Remove what computes nothing.

Given: any graph.
Result: no Identity (unless a graph output needs one), no node or initializer that nobody uses, no unused function;
    equal scalars and equal integer constants (shapes, axes) are one initializer. Weights are never merged: two layers
    that start from the same zeros stay two layers.
Refuses when: never.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.passes import PassOptions
from recast.passes._editor import Editor, drop_initializer, has_graphs

_SMALL = 1024  # elements
_MERGED = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)  # of any rank; of other types scalars alone


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Clean the model's graph in place."""
    graph = model.graph
    editor = Editor(graph)
    for node in list(graph):
        if node.op_type == "Identity" and node.domain == "":
            editor.bypass(node)
    remove_dead(graph)
    merge_constants(graph)
    if model.functions:
        used = {n.op_identifier() for n in graph.all_nodes()}
        used |= {n.op_identifier() for f in model.functions.values() for n in f.all_nodes()}
        for key in [k for k in model.functions if k not in used]:
            del model.functions[key]
    return []


def remove_dead(graph: ir.Graph) -> None:
    """Remove nodes whose results nobody uses, then initializers that nobody uses."""
    for node in reversed(list(graph)):
        if not any(v.uses() or v.is_graph_output() for v in node.outputs):
            graph.remove(node, safe=True)
    for value in list(graph.initializers.values()):
        drop_initializer(graph, value)


def merge_constants(graph: ir.Graph) -> None:
    """Let equal scalars and integer constants be one initializer."""
    seen: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value] = {}
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or (tensor.dtype not in _MERGED and len(tensor.shape)):
            continue
        if value.is_graph_output() or value.is_graph_input() or tensor.size > _SMALL:
            continue
        if any(use.node.op_type == "DequantizeLinear" or has_graphs(use.node) for use in value.uses()):
            continue
        key = (tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes())
        first = seen.setdefault(key, value)
        if first is not value:
            ir.convenience.replace_all_uses_with(value, first)
            drop_initializer(graph, value)
