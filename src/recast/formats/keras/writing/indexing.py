"""Selecting by index, and operators that pick or mark elements."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import slice_literal
from recast.formats.keras.writing._typed import compute
from recast.graph import view


@writes("TopK")
def top_k(ctx: Context, node: ir.Node) -> None:
    """The largest or smallest entries of an axis, sorted; Keras counts in int32, and along the last axis."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    axis = view.attr(node, "axis", -1) % rank
    count = ctx.ints(node.inputs[1], "count")[0]
    if x.dtype == "bool":
        raise Unfit("Keras has no largest entries of booleans")
    order = [a for a in range(rank) if a != axis] + [axis]
    turn = axis != rank - 1
    upside_down = not view.attr(node, "largest", 1)
    mirror = "numpy.Negative" if "float" in x.dtype else "numpy.BitwiseNot"
    if turn:
        moved = tuple(x.shape[a] for a in order)
        x = compute(ctx, node, "numpy.Transpose", [x], {"axes": order}, shape=moved, suffix="axes")
    if upside_down:
        x = compute(ctx, node, mirror, [x], shape=x.shape, suffix="mirror")
    shape = (*x.shape[:-1], count)
    config = {"k": count, "sorted": True}
    suffix = {"suffix": "top"} if turn or upside_down else {}
    whole = ctx.op(node, "math.TopK", [x], config, shape=shape, dtype=x.dtype, **suffix)
    values, indices = ctx.parts(whole, [(shape, x.dtype), (shape, "int32")])
    if upside_down:
        values = compute(ctx, node, mirror, [values], shape=shape, suffix="values")
    if turn:
        back = [order.index(a) for a in range(rank)]
        found = tuple(shape[a] for a in back)
        values, indices = (
            compute(ctx, node, "numpy.Transpose", [t], {"axes": back}, shape=found, suffix=f"back{i}")
            for i, t in enumerate((values, indices))
        )
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
    """One element per index along an axis; data beyond the indices along other axes is not read."""
    x, indices = ctx.tensor(node.inputs[0]), ctx.tensor(node.inputs[1])
    axis = view.attr(node, "axis", 0) % len(x.shape)
    pairs = list(enumerate(zip(x.shape, indices.shape, strict=True)))
    if any(a != b and (a is None or b is None) for i, (a, b) in pairs if i != axis):
        raise Unfit("its indices may be smaller than its data along another axis")
    ends = [b if i != axis and a != b else None for i, (a, b) in pairs]
    if any(n is not None for n in ends):
        keys = [slice_literal(None if n is None else 0, n, None) for n in ends]
        shape = tuple(a if n is None else n for a, n in zip(x.shape, ends, strict=True))
        x = compute(ctx, node, "numpy.GetItem", [x, keys], shape=shape, suffix="part")
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
    """Infinite, of either sign or of one."""
    signs = (bool(view.attr(node, "detect_negative", 1)), bool(view.attr(node, "detect_positive", 1)))
    x = ctx.tensor(node.inputs[0])
    if not any(signs):
        raise Unfit("it looks for nothing")
    path = {(True, True): "Isinf", (True, False): "Isneginf", (False, True): "Isposinf"}[signs]
    ctx.bind(node.outputs[0], compute(ctx, node, f"numpy.{path}", [x], gives="bool"))


@writes("NonZero")
def non_zero(ctx: Context, node: ir.Node) -> None:
    """Coordinates of what is not zero; how many is known at run time."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    if not rank:
        raise Unfit("Keras has no coordinates of a scalar")
    whole = ctx.op(node, "numpy.Nonzero", [x], shape=(None,), dtype="int32", suffix="places")
    rows = ctx.parts(whole, [((None,), "int32")] * rank)
    stacked = ctx.op(node, "numpy.Stack", [rows], {"axis": 0}, shape=(rank, None), dtype="int32", suffix="rows")
    ctx.bind(node.outputs[0], ctx.op(node, "core.Cast", [stacked], {"dtype": "int64"}, dtype="int64"))
