"""Selecting by index, and operators that pick or mark elements."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.graph import view


@writes("TopK")
def top_k(ctx: Context, node: ir.Node) -> None:
    """The largest entries of the last axis, sorted; Keras counts in int32."""
    x = ctx.tensor(node.inputs[0])
    axis = view.attr(node, "axis", -1) % len(x.shape)
    if axis != len(x.shape) - 1 or not view.attr(node, "largest", 1):
        raise Unfit("Keras's TopK takes the largest entries of the last axis")
    count = ctx.ints(node.inputs[1], "count")[0]
    shape = (*x.shape[:-1], count)
    whole = ctx.op(node, "math.TopK", [x], {"k": count, "sorted": True}, shape=shape, dtype=x.dtype)
    values, indices = ctx.parts(whole, [(shape, x.dtype), (shape, "int32")])
    ctx.bind(node.outputs[0], values)
    ctx.bind(node.outputs[1], indices)


@writes("OneHot")
def one_hot(ctx: Context, node: ir.Node) -> None:
    """One-hot rows with constant depth and values; a negative index counts from the end, as in ONNX."""
    ids = ctx.tensor(node.inputs[0])
    depth = ctx.ints(node.inputs[1], "depth")[0]
    off, on = ctx.array(node.inputs[2], "values").reshape(-1).tolist()
    dtype = keras_dtype(node.outputs[0])
    shape = keras_shape(node.outputs[0])
    axis = view.attr(node, "axis", -1) % len(shape)
    extra: dict[str, Any] = {"shape": ids.shape, "dtype": ids.dtype}
    below = ctx.op(node, "numpy.Less", [ids, 0], suffix="negative", shape=ids.shape, dtype="bool")
    turned = ctx.op(node, "numpy.Add", [ids, depth], suffix="turned", **extra)
    ids = ctx.op(node, "numpy.Where", [below, turned, ids], suffix="index", **extra)
    config = {"num_classes": depth, "axis": -1 if axis == len(ids.shape) else axis, "dtype": dtype}
    plain = (off, on) == (0, 1)
    y = ctx.op(node, "nn.OneHot", [ids], config, suffix="" if plain else "rows", shape=shape, dtype=dtype)
    if not plain:
        y = ctx.op(node, "numpy.Multiply", [y, on - off], suffix="scale", shape=shape, dtype=dtype)
        y = ctx.op(node, "numpy.Add", [y, off], shape=shape, dtype=dtype)
    ctx.bind(node.outputs[0], y)


@writes("GatherElements")
def gather_elements(ctx: Context, node: ir.Node) -> None:
    """One element per index along an axis; the other axes of data and indices must be equal."""
    x, indices = ctx.tensor(node.inputs[0]), ctx.tensor(node.inputs[1])
    axis = view.attr(node, "axis", 0) % len(x.shape)
    others = [(a, b) for i, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True)) if i != axis]
    if any(a != b for a, b in others):
        raise Unfit("its indices are smaller than its data along another axis")
    y = ctx.op(node, "numpy.TakeAlongAxis", [x, indices], {"axis": axis}, dtype=x.dtype)
    ctx.bind(node.outputs[0], y)


@writes("Trilu")
def triangle(ctx: Context, node: ir.Node) -> None:
    """Upper or lower triangle of the last two axes."""
    x = ctx.tensor(node.inputs[0])
    k = ctx.ints(node.inputs[1], "diagonal")[0] if len(node.inputs) > 1 and node.inputs[1] is not None else 0
    rows, columns = x.shape[-2:]
    k = k if columns is None else min(k, columns)
    k = k if rows is None else max(k, -rows)
    path = "numpy.Triu" if view.attr(node, "upper", 1) else "numpy.Tril"
    ctx.bind(node.outputs[0], ctx.op(node, path, [x], {"k": k}))


@writes("ThresholdedRelu")
def thresholded_relu(ctx: Context, node: ir.Node) -> None:
    """``x`` where it is above alpha, else 0."""
    x = ctx.tensor(node.inputs[0])
    alpha = view.attr(node, "alpha", 1.0)
    if alpha < 0:
        raise Unfit("Keras's ReLU has no negative threshold")
    ctx.bind(node.outputs[0], ctx.layer(node, "ReLU", {"threshold": alpha}, [x]))


@writes("IsInf")
def is_infinite(ctx: Context, node: ir.Node) -> None:
    """Infinite of either sign."""
    if not (view.attr(node, "detect_negative", 1) and view.attr(node, "detect_positive", 1)):
        raise Unfit("it looks for infinities of one sign")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Isinf", [ctx.tensor(node.inputs[0])]))
