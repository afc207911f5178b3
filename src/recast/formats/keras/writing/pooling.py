"""Pooling: windows and global."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Shape, Tensor
from recast.formats.keras.writing._space import Window, same_pads, window, zero_pad
from recast.graph import view

_NOT_NEGATIVE = frozenset(
    {"Relu", "Sigmoid", "Softmax", "Softplus", "HardSigmoid", "Exp", "Abs", "Sqrt", "ReduceSumSquare"}
)
_PASSING = frozenset({"Reshape", "Transpose", "MaxPool", "AveragePool", "Dropout", "Identity", "Squeeze", "Unsqueeze"})
_LOWEST = -3.4028234663852886e38


def not_negative(value: ir.Value | None, ctx: Context) -> bool:
    """Whether a value is surely ≥ 0 everywhere."""
    for _ in range(8):
        node = None if value is None else value.producer()
        if node is None:
            return False
        if node.op_type == "Clip":
            low = ctx.const(node.inputs[1]) if len(node.inputs) > 1 else None
            return low is not None and float(low.load().reshape(-1)[0]) >= 0
        if node.op_type in _NOT_NEGATIVE:
            return True
        if node.op_type == "Concat":
            return all(not_negative(v, ctx) for v in node.inputs)
        if node.op_type not in _PASSING:
            return False
        value = node.inputs[0]
    return False


def _with_ceiling(node: ir.Node, geometry: Window, spatial: Shape, out: Shape) -> Window:
    """Add what ``ceil_mode`` reads beyond the end to the padding after each axis."""
    if not view.attr(node, "ceil_mode", 0) or view.attr(node, "auto_pad", "NOTSET") == "SAME_UPPER":
        return geometry
    pads, same = [], True
    sizes = zip(spatial, out, geometry.spans, geometry.strides, geometry.pads, strict=True)
    for size, wanted, span, stride, (before, after) in sizes:
        if size is None or wanted is None:
            raise Unfit("its ceil_mode depends on a size that is only known at run time")
        pads.append((before, max(after, (wanted - 1) * stride + span - size - before)))
        same = same and pads[-1] == same_pads(size, span, stride)
    return Window(geometry.kernel, geometry.strides, geometry.dilations, tuple(pads), same and any(map(any, pads)))


def _pool(ctx: Context, node: ir.Node, kind: str, geometry: Window, x: Tensor, **extra: Any) -> Tensor:
    config = {
        "pool_size": list(geometry.kernel),
        "strides": list(geometry.strides),
        "padding": "same" if geometry.same else "valid",
    }
    return ctx.layer(node, f"{kind}Pooling{geometry.rank}D", config, [x], **extra)


def _prepare(ctx: Context, node: ir.Node) -> tuple[Tensor, Window, Window]:
    """Input, window as the node says it, window with the ceiling's padding."""
    x = ctx.tensor(node.inputs[0])
    given = window(node, view.attr(node, "kernel_shape"), x.shape[1:-1])
    if any(d > 1 for d in given.dilations):
        raise Unfit("Keras has no dilated pooling")
    return x, given, _with_ceiling(node, given, x.shape[1:-1], keras_shape(node.outputs[0])[1:-1])


@writes("MaxPool")
def max_pool(ctx: Context, node: ir.Node) -> None:
    """Max pooling. Padding that is not Keras's ``same`` is zeros after a ReLU, else the lowest number."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise Unfit("its indices are used")
    x, _, geometry = _prepare(ctx, node)
    if not geometry.same and any(map(any, geometry.pads)):
        if not_negative(node.inputs[0], ctx):
            x = zero_pad(ctx, node, x, geometry.pads)
        else:
            spatial = [None if n is None else n + sum(p) for n, p in zip(x.shape[1:-1], geometry.pads, strict=True)]
            width = [[0, 0], *(list(p) for p in geometry.pads), [0, 0]]
            shape = (x.shape[0], *spatial, x.shape[-1])
            lowest = {"float16": -65504.0, "float32": _LOWEST}.get(x.dtype)
            if lowest is None:
                raise Unfit(f"its padding has no lowest value for {x.dtype}")
            x = ctx.op(
                node, "numpy.Pad", [x, lowest], {"pad_width": width, "mode": "constant"}, suffix="pad", shape=shape
            )
    ctx.bind(node.outputs[0], _pool(ctx, node, "Max", geometry, x))


def _counts(size: int, out: int, pads: tuple[int, int], geometry: tuple[int, int], with_pads: bool) -> np.ndarray:
    """How many elements each window of one axis averages over."""
    kernel, stride = geometry
    low, high = (0, pads[0] + size + pads[1]) if with_pads else (pads[0], pads[0] + size)
    starts = np.arange(out) * stride
    return np.minimum(starts + kernel, high) - np.maximum(starts, low)


@writes("AveragePool")
def average_pool(ctx: Context, node: ir.Node) -> None:
    """Average pooling. Where windows at the border count differently, a constant factor corrects them."""
    x, given, geometry = _prepare(ctx, node)
    out = keras_shape(node.outputs[0])
    padded = any(map(any, geometry.pads)) or geometry.same
    with_pads = bool(view.attr(node, "count_include_pad", 0))
    if not padded or (geometry.same and not with_pads):
        ctx.bind(node.outputs[0], _pool(ctx, node, "Average", geometry, x))
        return
    if with_pads and geometry.pads == given.pads and not view.attr(node, "auto_pad", "").startswith("SAME"):
        plain = Window(given.kernel, given.strides, given.dilations, given.pads, False)
        x = zero_pad(ctx, node, x, given.pads)
        ctx.bind(node.outputs[0], _pool(ctx, node, "Average", plain, x))
        return
    spatial = x.shape[1:-1]
    if any(n is None for n in (*spatial, *out[1:-1])):
        raise Unfit("its border windows depend on a size that is only known at run time")
    factor = np.ones((), np.float64)
    for axis, (size, wanted) in enumerate(zip(spatial, out[1:-1], strict=True)):
        shape = (given.kernel[axis], given.strides[axis])
        count = _counts(size or 0, wanted or 0, given.pads[axis], shape, with_pads)
        factor = np.multiply.outer(factor, given.kernel[axis] / count)
    x = zero_pad(ctx, node, x, geometry.pads)
    plain = Window(geometry.kernel, geometry.strides, geometry.dilations, geometry.pads, False)
    y = _pool(ctx, node, "Average", plain, x)
    weights = factor[None, ..., None].astype(np.float32)
    right = ctx.constant(weights, f"{node.name}_counts", y.dtype)
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Multiply", [y, right], suffix="count"))


def drops_axes(ctx: Context, node: ir.Node, value: ir.Value) -> ir.Node | None:
    """The next node, if all it does is to drop the spatial axes of length 1."""
    nxt = ctx.follower(value, "Squeeze", "Reshape", "Flatten")
    if nxt is None or value.shape is None:
        return None
    before, after = keras_shape(value), keras_shape(nxt.outputs[0])
    if len(after) != 2 or len(before) < 3 or before[-1] is None or after[-1] != before[-1]:
        return None
    return nxt if all(n == 1 for n in before[1:-1]) else None


@writes("GlobalAveragePool", "GlobalMaxPool")
def global_pool(ctx: Context, node: ir.Node) -> None:
    """Global pooling, with the reshape that drops the axes where there is one."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape) - 2
    if rank not in (1, 2, 3):
        raise Unfit(f"Keras has no global pooling over {rank} axes")
    kind = f"Global{'Average' if node.op_type == 'GlobalAveragePool' else 'Max'}Pooling{rank}D"
    nxt = drops_axes(ctx, node, node.outputs[0])
    if nxt is None:
        ctx.bind(node.outputs[0], ctx.layer(node, kind, {"keepdims": True}, [x]))
        return
    ctx.claim(nxt)
    ctx.bind(nxt.outputs[0], ctx.layer(node, kind, {"keepdims": False}, [x], shape=(x.shape[0], x.shape[-1])))
