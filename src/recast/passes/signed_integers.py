"""Turn uint8 activations that meet int8 weights into int8, as LiteRT's kernels want them.

ONNX Runtime's quantiser (and ours, for ONNX) writes unsigned activations and signed weights; LiteRT has kernels for
both signed or both unsigned.

Given: a graph in which a convolution or product takes uint8 activations and int8 weights, both through
    DequantizeLinear.
Result: integers and zero points between QuantizeLinear and DequantizeLinear are 128 less, of type int8, through
    operators that only move or compare them: the same numbers. Constants that are no weights too.
Refuses when: never. What touches the model's inputs or outputs, or another integer operator, stays as it is; and so
    does everything where some weights are unsigned.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import const, is_const
from recast.passes import PassOptions
from recast.passes._editor import Editor

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_MOVING = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool", "Concat", "Split"}
_BYTE, _SIGNED = ir.DataType.UINT8, ir.DataType.INT8


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Turn them in place."""
    graph = model.graph
    if _mixed(graph):
        editor = Editor(graph)
        for value in _closed(graph):
            for node in _ends(value):
                _shift(editor, node)
            value.type = ir.TensorType(_SIGNED)  # clones share the old type
        for node in list(graph):
            if node.op_type == "DequantizeLinear" and not _is_weight(node):
                _constant(editor, node)
        editor.drop_unused()
    return []


def _mixed(graph: ir.Graph) -> bool:
    """Whether signed weights meet unsigned activations, and no weights are unsigned."""
    pairs = set()
    for node in graph:
        if node.op_type in _WEIGHTED and len(node.inputs) > 1:
            kinds = [_integers(v) for v in node.inputs[:2]]
            if kinds[1] is not None:
                pairs.add((kinds[0], kinds[1]))
    return (_BYTE, _SIGNED) in pairs and not any(weight is _BYTE for _, weight in pairs)


def _integers(value: ir.Value | None) -> ir.DataType | None:
    """The type of what a float value is dequantised from."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return None
    return node.inputs[0].dtype


def _is_weight(node: ir.Node) -> bool:
    return any(use.node.op_type in _WEIGHTED and use.idx > 0 for use in node.outputs[0].uses())


def _closed(graph: ir.Graph) -> list[ir.Value]:
    """uint8 values that only known operators make and take; what hangs together stays together."""
    found = {v: _known(v) for n in graph for v in n.outputs if v.dtype == _BYTE}
    moving = [n for n in graph if n.op_type in _MOVING and n.outputs[0].dtype == _BYTE]
    changed = True
    while changed:
        changed = False
        for node in moving:
            ends = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == _BYTE]
            if not all(found.get(v, False) for v in ends):
                for value in ends:
                    changed |= found.get(value, False)
                    found[value] = False
    return [v for v, fits in found.items() if fits]


def _known(value: ir.Value) -> bool:
    producer = value.producer()
    if value.is_graph_output() or producer is None or producer.op_type not in {"QuantizeLinear", *_MOVING}:
        return False
    if not all(n.op_type in {"DequantizeLinear", *_MOVING} for n in value.consumers()):
        return False
    return all(_zero(n) is not None for n in _ends(value))


def _ends(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that carry a value's scale."""
    producer = value.producer()
    if producer is not None and producer.op_type == "QuantizeLinear":
        yield producer
    yield from (n for n in value.consumers() if n.op_type == "DequantizeLinear")


def _zero(node: ir.Node) -> np.ndarray | None:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        scale = const(node.inputs[1])
        return None if scale is None else np.zeros(scale.shape, np.uint8)
    return const(node.inputs[2])


def _shift(editor: Editor, node: ir.Node) -> None:
    zero = _zero(node)
    if zero is None or zero.dtype != np.uint8:
        return
    node.resize_inputs(3)
    if node.inputs[2] is not None:
        editor.forget(node.inputs[2])
    node.replace_input_with(2, editor.const(_less(zero), f"{node.name}/zero"))
    node.attributes.pop("output_dtype", None)


def _less(array: np.ndarray) -> np.ndarray:
    return np.asarray(array.astype(np.int16) - 128, np.int8)


def _constant(editor: Editor, node: ir.Node) -> None:
    source = node.inputs[0]
    if source is None or source.dtype != _BYTE or not is_const(source) or _zero(node) is None:
        return
    array = const(source)
    if array is None:
        return
    _shift(editor, node)
    node.replace_input_with(0, editor.const(_less(array), f"{source.name}/signed"))
    editor.forget(source)
