"""Reductions over axes, and running sums and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer, ints, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.graph.view import attr, const, dims, static_shape

T = ir.DataType
_OPS = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"),
    *("ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
)


@writes(*_OPS)
def reduce_(w: Writer, node: ir.Node) -> None:
    x, keep, y = value_of(node), bool(attr(node, "keepdims", 1)), node.outputs[0]
    given = node.inputs[1] if len(node.inputs) > 1 else None
    array = const(given)
    if given is not None and array is None:
        raise Refusal("its axes must be constant")
    rank = len(dims(x))
    axes = () if array is None else tuple(int(a) % max(rank, 1) for a in array.reshape(-1))
    if not axes and (attr(node, "noop_with_empty_axes", 0) or rank == 0):
        w.bind(y, _alone(w, node.op_type, x))
        return
    axes = axes or tuple(range(rank))
    if any(dims(x)[a] == 0 for a in axes):
        w.bind(y, w.constant(_of_nothing(node.op_type, y)))
    else:
        w.bind(y, _reduced(w, node.op_type, x, axes, keep))


def _alone(w: Writer, op: str, x: ir.Value) -> Ref:
    """A reduction over no axis: each element by itself."""
    if op in ("ReduceL1", "ReduceL2"):
        return w.fn("Abs", x)
    if op == "ReduceLogSum":
        return w.fn("Log", x)
    return w.fn("Square", x) if op == "ReduceSumSquare" else w.ref(x)


def _of_nothing(op: str, y: ir.Value) -> np.ndarray:
    """What a reduction over an empty axis is; MindSpore's kernels leave memory as it was."""
    shape, dtype = static_shape(y), dtype_of(y)
    if shape is None:
        raise Refusal("it reduces an empty axis")
    kind = dtype.numpy()
    if op in ("ReduceMax", "ReduceMin"):
        low = op == "ReduceMax"
        if dtype == T.BOOL:
            return np.full(shape, not low)
        limits: Any = np.iinfo(kind) if dtype.is_integer() else None
        fill = (-np.inf if low else np.inf) if limits is None else (limits.min if low else limits.max)
        return np.full(shape, fill, kind)
    value = {"ReduceProd": 1.0, "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf, "ReduceMean": np.nan}.get(op, 0.0)
    if dtype.is_integer() and not math.isfinite(value):
        raise Refusal("it reduces an empty axis of whole numbers")
    return np.full(shape, value, kind)


def total(w: Writer, x: Arg, axes: tuple[int, ...], keep: bool, dtype: ir.DataType) -> Ref:
    """The sum. MindSpore adds whole numbers as float64: 64-bit ones are added in two halves, which stay exact."""
    if dtype not in (T.INT64, T.UINT64):
        return w.fn("ReduceSum", x, axes, keep, False)
    bits, mask = np.asarray(32, dtype.numpy()), np.asarray(0xFFFFFFFF, dtype.numpy())
    high = w.fn("ReduceSum", w.prim("RightShift", [x, bits]), axes, keep, False)
    low = w.fn("ReduceSum", w.prim("BitwiseAnd", [x, mask]), axes, keep, False)
    return w.fn("Add", w.prim("LeftShift", [high, bits]), low)


def _reduced(w: Writer, op: str, x: ir.Value, axes: tuple[int, ...], keep: bool) -> Ref:
    dtype = dtype_of(x)
    if dtype == T.BOOL and op in ("ReduceMax", "ReduceMin"):
        return w.fn("ReduceAny" if op == "ReduceMax" else "ReduceAll", x, axes, keep)
    if op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
        return w.fn(op, x, axes, keep)
    if op == "ReduceSum":
        return total(w, x, axes, keep, dtype)
    if op == "ReduceL1":
        return total(w, w.fn("Abs", x), axes, keep, dtype)
    if op == "ReduceLogSum":
        return w.fn("Log", total(w, x, axes, keep, dtype))
    if op == "ReduceLogSumExp":
        return _log_sum_exp(w, x, axes, keep)
    squares = total(w, w.fn("Square", x), axes, keep, dtype)
    return w.fn("Sqrt", squares) if op == "ReduceL2" else squares


def _log_sum_exp(w: Writer, x: ir.Value, axes: tuple[int, ...], keep: bool) -> Ref:
    """The largest value is taken out first; it is kept finite, so that a row of -inf gives -inf."""
    most = np.finfo(dtype_of(x).numpy()).max

    def peak(kept: bool) -> Ref:
        return w.fn("Maximum", w.fn("ReduceMax", x, axes, kept), scalar(-most, x))

    sums = w.fn("ReduceSum", w.fn("Exp", w.fn("Sub", x, peak(True))), axes, keep, False)
    return w.fn("Add", w.fn("Log", sums), peak(keep))


@writes("CumSum", "CumProd")
def cumulative(w: Writer, node: ir.Node) -> None:
    axis = ints(value_of(node, 1), "axis")[0]
    flags = bool(attr(node, "exclusive", 0)), bool(attr(node, "reverse", 0))
    w.bind(node.outputs[0], w.fn(node.op_type, value_of(node), axis, *flags))
