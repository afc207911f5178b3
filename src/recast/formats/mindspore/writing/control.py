"""Branches: each is a function of MindIR, ``Switch`` chooses one, and it is called."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.mindspore.write import Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import value_of
from recast.graph.view import dims


@writes("If")
def if_(w: Writer, node: ir.Node) -> None:
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    for one, other in zip(*(b.outputs for b in branches), strict=True):
        if one.dtype != other.dtype or one.shape is None or other.shape is None or dims(one) != dims(other):
            raise Refusal("its branches give tensors of different types or shapes, or of unknown ones")
    condition = value_of(node)
    chosen = w.ref(condition) if not dims(condition) else w.fn("Reshape", condition, ())
    functions = [w.sub(b, f"{node.name}/{side}") for b, side in zip(branches, ("then", "else"), strict=True)]
    result = w.call(w.prim("Switch", [chosen, *functions]))
    for index, value in enumerate(node.outputs):
        w.bind(value, result if len(node.outputs) == 1 else w.item(result, index))
