"""A dense layer over the last axis, without the two Reshapes around it.

Given: ``Reshape(x, [-1, k]) → Gemm → Reshape(leading dims of x, n)`` with inferred shapes, as for PyTorch's ``addmm``.
Result: ``MatMul(x, W) → Add(b)`` of the same layer, the dialect's form for other ranks than 2. Where x has k in several
    dims (the heads of attention) one Reshape joins these alone.
Refuses when: never; a scaled Gemm, a transposed input or a result that somebody else takes stays.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import attr, is_const, sole_consumer
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead

Dims = list[int | str | None]


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Rewrite them in the model's graph in place."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type == "Gemm" and not node.domain:
            _unflatten(editor, node)
    remove_dead(model.graph)
    return []


def _dims(value: ir.Value | None) -> Dims:
    if value is None or value.shape is None:
        return [None]
    return [d if isinstance(d, int) else d.value for d in value.shape]


def _reshape(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "Reshape" and not node.domain


def _unflatten(editor: Editor, node: ir.Node) -> None:
    flat, after = node.inputs[0], sole_consumer(node.outputs[0])
    before = flat.producer() if flat is not None else None
    scaled = attr(node, "alpha", 1.0) != 1.0 or attr(node, "beta", 1.0) != 1.0 or attr(node, "transA", 0)
    if before is None or after is None or not _reshape(before) or not _reshape(after) or scaled:
        return
    x, matrix, bias = before.inputs[0], node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    source, target, width = _dims(x), _dims(after.outputs[0]), _dims(flat)[-1]
    lead, parts = source[: len(target) - 1], source[len(target) - 1 :]
    if lead != target[:-1] or None in (*source, *target) or matrix is None or not is_const(matrix):
        return
    if not parts or not all(isinstance(d, int) for d in parts) or math.prod(map(int, parts)) != width:  # type: ignore[arg-type]
        return
    if bias is not None and _dims(bias) != [target[-1]]:
        return
    if len(parts) > 1:
        shape = editor.const([*[0] * len(lead), width], "shape")
        x = editor.node("Reshape", [x, shape], None, node)
        x.shape = ir.Shape([*lead, width])
    if attr(node, "transB", 0):
        matrix = editor.node("Transpose", [matrix], {"perm": [1, 0]}, node)
    result = editor.node("MatMul", [x, matrix], None, node)
    if bias is not None:
        result = editor.node("Add", [result, bias], None, node)
    result.shape = after.outputs[0].shape
    editor.replace(after.outputs[0], result)
