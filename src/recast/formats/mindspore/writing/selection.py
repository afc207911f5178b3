"""Choosing and counting: arg-max, top-k, one-hot, elements that fulfil a condition."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer, ints
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, used, value_of
from recast.graph.view import attr, const, dims

T = ir.DataType
_SIGN_BIT = np.asarray(1 << 63, np.uint64)


@writes("ArgMax", "ArgMin")
def arg_extreme(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    axis = attr(node, "axis", 0) % len(dims(x))
    op = "Argmax" if node.op_type == "ArgMax" else "Argmin"
    if not attr(node, "select_last_index", 0):
        result = w.cast(w.fn(op, x, axis, w.type_id(T.INT32)), T.INT64)
    else:
        result = w.cast(w.fn(op, w.fn("ReverseV2", x, (axis,)), axis, w.type_id(T.INT32)), T.INT64)
        result = w.fn("Sub", _last(w, x, axis), result)
    w.bind(node.outputs[0], w.fn("ExpandDims", result, axis) if attr(node, "keepdims", 1) else result)


def _last(w: Writer, x: ir.Value, axis: int) -> Arg:
    """The last index of an axis, as a tensor."""
    size = dims(x)[axis]
    if isinstance(size, int):
        return np.asarray(size - 1, np.int64)
    now = w.fn("StridedSlice", w.fn("TensorShape", x), (axis,), (axis + 1,), (1,), 0, 0, 0, 0, 1)
    return w.fn("Sub", now, np.asarray(1, np.int64))


@writes("Hardmax")
def hardmax(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    rank = len(dims(x))
    axis = attr(node, "axis", -1) % rank
    size = dims(x)[axis]
    if not isinstance(size, int):
        raise Refusal("the size of its axis must be known")
    first = w.fn("ExpandDims", w.fn("Argmax", x, axis, w.type_id(T.INT32)), axis)
    places = np.arange(size, dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(rank)])
    w.bind(node.outputs[0], w.cast(w.fn("Equal", first, places), dtype_of(x)))


@writes("TopK")
def top_k(w: Writer, node: ir.Node) -> None:
    """Through Sort, which is stable: MindSpore's TopK takes equal elements in any order, ONNX the first ones."""
    x, k = value_of(node), ints(value_of(node, 1), "k")[0]
    rank, dtype = len(dims(x)), dtype_of(x)
    axis, largest = attr(node, "axis", -1) % rank, bool(attr(node, "largest", 1))
    keys: Arg = x
    if dtype == T.UINT64:  # in the order of signed numbers
        keys = w.cast(w.prim("BitwiseXor", [x, _SIGN_BIT]), T.INT64)
    made = w.prim("Sort", [keys], {"axis": axis, "descending": largest})
    masks = (1 << rank) - 1 - (1 << axis)
    end = tuple(k if i == axis else 0 for i in range(rank))

    def first(of: Ref) -> Ref:
        return w.fn("StridedSlice", of, (0,) * rank, end, (1,) * rank, masks, masks, 0, 0, 0)

    indices = w.cast(first(w.item(made, 1)), T.INT64)
    if used(node, 0):
        values = first(w.item(made, 0))
        if dtype == T.UINT64:
            values = w.prim("BitwiseXor", [w.cast(values, T.UINT64), _SIGN_BIT])
        w.bind(node.outputs[0], values)
    w.bind(node.outputs[1], indices)


@writes("OneHot")
def one_hot(w: Writer, node: ir.Node) -> None:
    indices, depth = value_of(node), ints(value_of(node, 1), "depth")[0]
    values = const(value_of(node, 2))
    if values is None:
        raise Refusal("its values must be constant")
    off, on = (np.asarray(v, values.dtype) for v in values.reshape(-1))
    held: Arg = indices
    if dtype_of(indices) not in (T.INT32, T.INT64):
        held = w.cast(indices, T.INT64)
    zero = np.asarray(0, np.int32 if dtype_of(indices) == T.INT32 else np.int64)
    held = w.fn("Select", w.fn("Less", held, zero), w.fn("Add", held, np.asarray(depth, zero.dtype)), held)
    rank = len(dims(indices)) + 1
    axis = int(attr(node, "axis", -1)) % rank
    if values.dtype in (np.int32, np.int64, np.float16, np.float32):
        w.bind(node.outputs[0], w.fn("OneHot", held, depth, on, off, -1 if axis == rank - 1 else axis))
        return
    places = np.arange(depth, dtype=zero.dtype).reshape([-1 if i == axis else 1 for i in range(rank)])
    hit = w.fn("Equal", w.fn("ExpandDims", held, axis), places)
    w.bind(node.outputs[0], w.fn("Select", hit, on, off))


@writes("NonZero")
def non_zero(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.fn("Transpose", w.fn("NonZero", value_of(node)), (1, 0)))


@writes("Compress")
def compress(w: Writer, node: ir.Node) -> None:
    x, condition, axis = value_of(node), value_of(node, 1), attr(node, "axis")
    data: Arg = x
    if axis is None:
        data, axis = w.fn("Reshape", x, (-1,)), 0
    axis %= max(1, len(dims(x)))
    chosen = const(condition)
    if chosen is not None:
        picked: Arg = np.flatnonzero(chosen)
        if not chosen.any():
            raise Refusal("it chooses nothing")
    else:
        picked = w.fn("Reshape", w.fn("NonZero", condition), (-1,))
    w.bind(node.outputs[0], w.fn("Gather", data, picked, axis, 0))


@writes("ReverseSequence")
def reverse_sequence(w: Writer, node: ir.Node) -> None:
    x, lengths = value_of(node), value_of(node, 1)
    attributes = {"seq_dim": int(attr(node, "time_axis", 0)), "batch_dim": int(attr(node, "batch_axis", 1))}
    w.bind(node.outputs[0], w.prim("ReverseSequence", [x, lengths], attributes))


@writes("EyeLike")
def eye_like(w: Writer, node: ir.Node) -> None:
    rows, columns = dims(value_of(node))
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Refusal("its size must be known")
    dtype = dtype_of(node.outputs[0])
    w.bind(node.outputs[0], w.constant(np.eye(rows, columns, int(attr(node, "k", 0))).astype(dtype.numpy())))


@writes("Unique")
def unique(w: Writer, node: ir.Node) -> None:
    """Values in rising order; the kernel finds them in the order of appearance."""
    x = value_of(node)
    if attr(node, "axis") is not None and len(dims(x)) != 1:
        raise Refusal("along an axis")
    if any(used(node, i) for i in (1, 2, 3)):
        raise Refusal("indices and counts")
    found = w.item(w.prim("Unique", [w.fn("Reshape", x, (-1,))]), 0)
    if attr(node, "sorted", 1):
        found = w.item(w.prim("Sort", [found], {"axis": 0, "descending": False}), 0)
    w.bind(node.outputs[0], found)
