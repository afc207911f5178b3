"""Normalisation layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import CHANNELS_LAST, Unfit, writes
from recast.formats.keras.writing._constants import Const
from recast.formats.keras.writing._context import Context
from recast.formats.keras.writing._network import Weight
from recast.graph import view


def _vectors(ctx: Context, node: ir.Node, indices: tuple[int, ...]) -> list[Const]:
    found = [ctx.const(node.inputs[i]) for i in indices]
    if any(f is None for f in found):
        raise Unfit("its scale or offset is computed at run time")
    return [f for f in found if f is not None]


def _flat(const: Const) -> np.ndarray:
    return const.load().reshape(-1)


@writes("BatchNormalization")
def batch_normalization(ctx: Context, node: ir.Node) -> None:
    """BatchNormalization with all four vectors."""
    if view.attr(node, "training_mode", 0):
        raise Unfit("it is in training mode")
    x = ctx.tensor(node.inputs[0])
    scale, bias, mean, variance = _vectors(ctx, node, (1, 2, 3, 4))
    weights = [
        Weight("gamma", scale.load),
        Weight("beta", bias.load),
        Weight("moving_mean", mean.load, kind="frozen"),
        Weight("moving_variance", variance.load, kind="frozen"),
    ]
    last = node.domain == CHANNELS_LAST or len(x.shape) == 2
    momentum = view.attr(node, "momentum", 0.9)
    config = {
        "axis": -1 if last else 1,
        "epsilon": _tidy(view.attr(node, "epsilon", 1e-5)),
        "momentum": _tidy(momentum),
    }
    key = (scale.key, bias.key, mean.key, variance.key)
    ctx.bind(node.outputs[0], ctx.layer(node, "BatchNormalization", config, [x], weights=weights, key=key))


def _tidy(value: float) -> float:
    """A float32 attribute as the decimal number that a person wrote."""
    return float(f"{value:.7g}")


@writes("LayerNormalization", "RMSNormalization")
def layer_normalization(ctx: Context, node: ir.Node) -> None:
    """LayerNormalization and RMSNormalization over the last axes."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    axis = view.attr(node, "axis", -1) % rank
    axes = list(range(axis, rank))
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        raise Unfit("its mean or deviation is used")
    normed = tuple(x.shape[axis:])
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    parts = _vectors(ctx, node, (1, 2) if has_bias else (1,))
    shape = [int(n) for n in normed if n is not None]
    if len(shape) < len(normed) or any(p.size != math.prod(shape) for p in parts):
        raise Unfit("its scale does not have one entry per normalised element")
    weights = [
        Weight(role, lambda part=part: part.load().reshape(shape))  # type: ignore[misc]
        for role, part in zip(("gamma", "beta"), parts, strict=False)
    ]
    epsilon = _tidy(view.attr(node, "epsilon", 1e-5))
    key = tuple(p.key for p in parts)
    if node.op_type == "RMSNormalization":
        if len(axes) > 1:
            raise Unfit("Keras's RMSNormalization has one axis")
        weights = [Weight("scale", weights[0].load)]
        config: dict[str, object] = {"axis": -1, "epsilon": epsilon}
    else:
        config = {"axis": axes if len(axes) > 1 else -1, "epsilon": epsilon, "center": has_bias}
    kind = node.op_type
    ctx.bind(node.outputs[0], ctx.layer(node, kind, config, [x], weights=weights, key=key))


@writes("GroupNormalization", "InstanceNormalization")
def group_normalization(ctx: Context, node: ir.Node) -> None:
    """GroupNormalization; with one group per channel it is instance normalisation."""
    x = ctx.tensor(node.inputs[0])
    scale, bias = _vectors(ctx, node, (1, 2))
    channels = x.shape[-1]
    if channels is None or scale.size != channels or bias.size != channels:
        raise Unfit("its scale does not have one entry per channel")
    groups = view.attr(node, "num_groups", 1) if node.op_type == "GroupNormalization" else channels
    config = {"groups": groups, "axis": -1, "epsilon": _tidy(view.attr(node, "epsilon", 1e-5))}
    weights = [Weight("gamma", lambda: _flat(scale)), Weight("beta", lambda: _flat(bias))]
    y = ctx.layer(node, "GroupNormalization", config, [x], weights=weights, key=(scale.key, bias.key))
    ctx.bind(node.outputs[0], y)


@writes("LRN")
def local_response(ctx: Context, node: ir.Node) -> None:
    """Local response normalisation over neighbouring channels: the sums are a product with a banded matrix."""
    x = ctx.tensor(node.inputs[0])
    channels, size = x.shape[-1], view.attr(node, "size")
    if channels is None:
        raise Unfit("the number of channels is not known")
    places = np.arange(channels)
    distance = places[:, None] - places[None, :]  # output channel minus input channel
    band = (-((size - 1) - (size - 1) // 2) <= distance) & (distance <= (size - 1) // 2)
    letters = "abcdefgh"[: len(x.shape)]
    last = letters[-1]
    matrix = ctx.constant(band * (view.attr(node, "alpha", 1e-4) / size), f"{view.layer_of(node)}_band", x.dtype)
    extra: dict[str, Any] = {"shape": x.shape, "dtype": x.dtype}
    square = ctx.op(node, "numpy.Square", [x], suffix="square", **extra)
    config = {"subscripts": f"{letters},z{last}->{letters[:-1]}z"}
    total = ctx.op(node, "numpy.Einsum", [square, matrix], config, suffix="sum", **extra)
    base = ctx.op(node, "numpy.Add", [total, view.attr(node, "bias", 1.0)], suffix="bias", **extra)
    power = ctx.op(node, "numpy.Power", [base, view.attr(node, "beta", 0.75)], suffix="power", **extra)
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Divide", [x, power], **extra))


@writes("LpNormalization")
def lp_normalization(ctx: Context, node: ir.Node) -> None:
    """Divide by the 1- or 2-norm of an axis."""
    x = ctx.tensor(node.inputs[0])
    axis, order = view.attr(node, "axis", -1) % len(x.shape), view.attr(node, "p", 2)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    first = ctx.op(node, "numpy.Square" if order == 2 else "numpy.Absolute", [x], shape=x.shape, suffix="power")
    config = {"axis": [axis], "keepdims": True}
    norm = ctx.op(node, "numpy.Sum", [first], config, shape=shape, suffix="sum")
    if order == 2:
        norm = ctx.op(node, "numpy.Sqrt", [norm], shape=shape, suffix="root")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.DivideNoNan", [x, norm]))
