"""Choosing and counting: arg-max, top-k, one-hot, cumulative sums."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Writer, ints, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.graph.view import attr, const, dims


@writes("ArgMax", "ArgMin")
def arg_extreme(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    if attr(node, "select_last_index", 0):
        raise Refusal("select_last_index")
    axis = attr(node, "axis", 0) % len(dims(x))
    result = w.fn("Argmax" if node.op_type == "ArgMax" else "Argmin", x, axis, w.type_id(ir.DataType.INT32))
    result = w.cast(result, ir.DataType.INT64)
    w.bind(node.outputs[0], w.fn("ExpandDims", result, axis) if attr(node, "keepdims", 1) else result)


@writes("TopK")
def top_k(w: Writer, node: ir.Node) -> None:
    x, k = value_of(node), ints(value_of(node, 1), "k")[0]
    rank = len(dims(x))
    axis, largest = attr(node, "axis", -1) % rank, attr(node, "largest", 1)
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    data: Arg = x
    if axis != rank - 1:
        data = w.fn("Transpose", data, tuple(perm))
    if not largest:
        data = w.fn("Neg", data)
    made = w.prim("TopK", [data, k], {"sorted": True})
    values, indices = w.item(made, 0), w.item(made, 1)
    if not largest:
        values = w.fn("Neg", values)
    if axis != rank - 1:
        values, indices = (w.fn("Transpose", v, tuple(perm)) for v in (values, indices))
    w.bind(node.outputs[0], values)
    w.bind(node.outputs[1], w.cast(indices, ir.DataType.INT64))


@writes("OneHot")
def one_hot(w: Writer, node: ir.Node) -> None:
    indices, depth = value_of(node), ints(value_of(node, 1), "depth")[0]
    values = const(value_of(node, 2))
    if values is None:
        raise Refusal("its values must be constant")
    off, on = (np.asarray(v, values.dtype) for v in values.reshape(-1))
    held: Arg = indices
    if dtype_of(indices) not in (ir.DataType.INT32, ir.DataType.INT64):
        raise Refusal("its indices must be int32 or int64")
    low = w.fn("Less", held, scalar(0, indices))
    held = w.fn("Select", low, w.fn("Add", held, scalar(depth, indices)), held)
    w.bind(node.outputs[0], w.fn("OneHot", held, depth, on, off, int(attr(node, "axis", -1))))


@writes("CumSum")
def cum_sum(w: Writer, node: ir.Node) -> None:
    axis = ints(value_of(node, 1), "axis")[0]
    flags = bool(attr(node, "exclusive", 0)), bool(attr(node, "reverse", 0))
    w.bind(node.outputs[0], w.fn("CumSum", value_of(node), axis, *flags))
