"""Reductions, extremes and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Tensor, slice_literal
from recast.formats.keras.writing._typed import cast, compute, number, wide, working_type
from recast.graph import view

_REDUCE = {
    "ReduceMean": "Mean",
    "ReduceSum": "Sum",
    "ReduceMax": "Max",
    "ReduceMin": "Min",
    "ReduceProd": "Prod",
    "ReduceLogSumExp": "Logsumexp",
}


@writes(*_REDUCE, "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
def reduce(ctx: Context, node: ir.Node) -> None:
    """Reductions; means and maxima over all spatial axes are global pooling layers."""
    x = ctx.tensor(node.inputs[0])
    given = node.inputs[1] if len(node.inputs) > 1 else None
    rank = len(x.shape)
    axes = sorted(a % rank for a in ctx.ints(given, "axes")) if given is not None else []
    idle = not axes and bool(view.attr(node, "noop_with_empty_axes", 0))
    keep = bool(view.attr(node, "keepdims", 1))
    kind, out = node.op_type, node.outputs[0]
    empty = any(x.shape[a] == 0 for a in axes or range(rank)) and not idle
    if empty and kind in ("ReduceMax", "ReduceMin"):
        ctx.bind(out, _nothing(ctx, node))
        return
    if kind in ("ReduceMean", "ReduceMax") and rank in (3, 4, 5) and axes == list(range(1, rank - 1)):
        name = f"Global{'Average' if kind == 'ReduceMean' else 'Max'}Pooling{rank - 2}D"
        if x.dtype in ("float32", "float64"):
            ctx.bind(out, ctx.layer(node, name, {"keepdims": keep}, [x]))
            return
    ctx.bind(out, _steps(ctx, node, x, {"axis": axes or None, "keepdims": keep}, idle))


def _steps(ctx: Context, node: ir.Node, x: Tensor, config: dict[str, Any], idle: bool) -> Tensor:
    """What is done to the elements, the reduction, what is done to its result."""
    kind, dtype = node.op_type, keras_dtype(node.outputs[0])
    if "int" in dtype and kind in ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        raise Unfit("Keras has no such reduction of integers that equals ONNX's")
    summed = kind not in ("ReduceMax", "ReduceMin")
    x = cast(ctx, node, x, wide(working_type(dtype)) if summed or dtype == "uint64" else dtype)
    if dtype == "uint64" and not summed:
        raise Unfit("Keras has no extremes of 64-bit unsigned integers")
    if kind == "ReduceL1":
        x = compute(ctx, node, "numpy.Absolute", [x], shape=x.shape, suffix="abs")
    if kind in ("ReduceL2", "ReduceSumSquare"):
        x = compute(ctx, node, "numpy.Square", [x], shape=x.shape, suffix="square")
    after = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}.get(kind)
    if not idle:
        path = "math.Logsumexp" if kind == "ReduceLogSumExp" else f"numpy.{_REDUCE.get(kind, 'Sum')}"
        narrow = {"int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"} if summed else {}
        extra = {"suffix": "reduced"} if after else {}
        x = compute(ctx, node, path, [x], config, gives=narrow.get(x.dtype, x.dtype), **extra)
    if after:
        x = compute(ctx, node, f"numpy.{after}", [x])
    return cast(ctx, node, x, dtype)


def _nothing(ctx: Context, node: ir.Node) -> Tensor:
    """The extreme of no elements: the type's other end."""
    shape, dtype = keras_shape(node.outputs[0]), np.dtype(keras_dtype(node.outputs[0]))
    if any(n is None for n in shape):
        raise Unfit("it reduces nothing, to a shape that is only known at run time")
    if dtype.kind == "f":
        low, high = -np.inf, np.inf
    else:
        low, high = (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    full = np.full([n or 0 for n in shape], low if node.op_type == "ReduceMax" else high, dtype)
    return ctx.held(full, f"{view.layer_of(node)}_nothing")


@writes("ArgMax", "ArgMin")
def arg_extreme(ctx: Context, node: ir.Node) -> None:
    """Index of the first extreme, or of the last one in the flipped tensor; Keras counts in int32."""
    x = ctx.tensor(node.inputs[0])
    axis = view.attr(node, "axis", 0) % len(x.shape)
    path = "numpy.Argmax" if node.op_type == "ArgMax" else "numpy.Argmin"
    config = {"axis": axis, "keepdims": bool(view.attr(node, "keepdims", 1))}
    if not view.attr(node, "select_last_index", 0):
        ctx.bind(node.outputs[0], compute(ctx, node, path, [x], config, gives="int32"))
        return
    size = x.shape[axis]
    if size is None:
        raise Unfit("it takes the last of equal values along an axis of unknown size")
    flipped = compute(ctx, node, "numpy.Flip", [x], {"axis": [axis]}, shape=x.shape, suffix="flip")
    found = compute(ctx, node, path, [flipped], config, gives="int32", suffix="from_the_end")
    ctx.bind(node.outputs[0], compute(ctx, node, "numpy.Subtract", [size - 1, found]))


@writes("CumSum", "CumProd")
def cumulative(ctx: Context, node: ir.Node) -> None:
    """Running sums and products; reversed: of the flipped tensor; exclusive: moved on by one."""
    x, out = ctx.tensor(node.inputs[0]), node.outputs[0]
    axis = ctx.ints(node.inputs[1], "axis")[0] % len(x.shape)
    dtype = keras_dtype(out)
    x = cast(ctx, node, x, wide(working_type(dtype)))
    back, exclusive = view.attr(node, "reverse", 0), view.attr(node, "exclusive", 0)
    path = "numpy.Cumsum" if node.op_type == "CumSum" else "numpy.Cumprod"

    def step(name: str, path: str, args: list[Any], config: dict[str, Any]) -> None:
        nonlocal x
        x = compute(ctx, node, path, args, config, shape=x.shape, suffix=name)

    if back:
        step("flip", "numpy.Flip", [x], {"axis": [axis]})
    if exclusive:
        width = [[0, 0]] * len(x.shape)
        width[axis] = [1, 0]
        fill = number(0 if node.op_type == "CumSum" else 1, x.dtype)
        longer = (*x.shape[:axis], None if x.shape[axis] is None else (x.shape[axis] or 0) + 1, *x.shape[axis + 1 :])
        config = {"pad_width": width, "mode": "constant"}
        padded = compute(ctx, node, "numpy.Pad", [x, fill], config, shape=longer, suffix="before")
        keys = [slice_literal(None, None, None)] * axis + [slice_literal(0, -1, None)]
        step("moved", "numpy.GetItem", [padded, keys], {})
    step("running", path, [x], {"axis": axis})
    if back:
        step("flip_back", "numpy.Flip", [x], {"axis": [axis]})
    ctx.bind(out, cast(ctx, node, x, dtype))
