"""Pooling: windows and global."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Tensor
from recast.formats.keras.writing._space import Window, crop, window, zero_pad
from recast.graph import view

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Softplus", "HardSigmoid", "Exp", "Abs", "Sqrt", "ReduceSumSquare"})
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


def _with_ceiling(node: ir.Node, geometry: Window, x: Tensor, out: tuple[int | None, ...]) -> Window:
    """Add what ``ceil_mode`` reads beyond the end to the padding after each axis."""
    if not view.attr(node, "ceil_mode", 0) or geometry.same:
        return geometry
    pads = []
    sizes = zip(x.shape[1:-1], out, geometry.spans, geometry.strides, geometry.pads, strict=True)
    for size, wanted, span, stride, (before, after) in sizes:
        if size is None or wanted is None:
            raise Unfit("its ceil_mode depends on a size that is only known at run time")
        pads.append((before, max(after, (wanted - 1) * stride + span - size - before)))
    return Window(geometry.kernel, geometry.strides, geometry.dilations, tuple(pads), False)


def _pool(ctx: Context, node: ir.Node, kind: str, geometry: Window, x: Tensor, **extra: Any) -> Tensor:
    config = {
        "pool_size": list(geometry.kernel),
        "strides": list(geometry.strides),
        "padding": "same" if geometry.same else "valid",
    }
    return ctx.layer(node, f"{kind}Pooling{geometry.rank}D", config, [x], **extra)


def _geometry(ctx: Context, node: ir.Node) -> tuple[Tensor, Window]:
    x = ctx.tensor(node.inputs[0])
    geometry = window(node, view.attr(node, "kernel_shape"), x.shape[1:-1])
    if any(d > 1 for d in geometry.dilations):
        raise Unfit("Keras has no dilated pooling")
    if geometry.same or all(p == (0, 0) for p in geometry.pads):
        ceiling = _with_ceiling(node, geometry, x, keras_shape(node.outputs[0])[1:-1])
        again = [(p[0], p[1]) for p in ceiling.pads]
        from_same = window(_Same(node), geometry.kernel, x.shape[1:-1])  # type: ignore[arg-type]
        same = any(p != (0, 0) for p in again) and again == list(from_same.pads)
        return x, Window(ceiling.kernel, ceiling.strides, ceiling.dilations, ceiling.pads, geometry.same or same)
    return x, _with_ceiling(node, geometry, x, keras_shape(node.outputs[0])[1:-1])
