"""QuantizeLinear and DequantizeLinear: Keras has no integer layers, so integers live in float tensors.

A quantised weight is written as the float weight it stands for. An activation is rounded and clipped by operations,
with the file's own scale and zero point, so the results equal those of the quantised graph. Integer inputs and outputs
of the model keep their type through casts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context
from recast.formats.keras.writing._network import Tensor
from recast.graph import view

_EXACT = {"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"}  # float32 holds all their values


def _parameters(ctx: Context, node: ir.Node, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point, shaped to broadcast against the tensor."""
    if view.attr(node, "block_size", 0):
        raise Unfit("activations quantised in blocks have no form in Keras")
    scale = ctx.array(node.inputs[1], "scale")
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros_like(scale, np.float32) if given is None else ctx.array(given, "zero point").astype(np.float32)
    shape: list[int] = []
    if scale.size > 1:
        axis = view.attr(node, "axis", 1) % rank
        shape = [-1 if i == axis else 1 for i in range(rank)]
    return scale.reshape(shape), zero.reshape(shape)


def _argument(ctx: Context, array: np.ndarray, name: str) -> object:
    return float(array) if array.ndim == 0 else ctx.constant(array, name, "float32")


def _quantized_type(node: ir.Node) -> str:
    value = node.outputs[0]
    if value.dtype is None:
        raise Unfit("the type of its result is not known")
    name = value.dtype.numpy().name
    if name not in _EXACT:
        raise Unfit(f"quantised to {name}, which Keras's float arithmetic cannot imitate")
    return name


def _limits(name: str) -> tuple[int, int]:
    bits = int(name.lstrip("uint"))
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@writes("QuantizeLinear")
def quantize(ctx: Context, node: ir.Node) -> None:
    """Divide, round to even, add the zero point, clip. Directly followed by its inverse: without the zero point."""
    x = ctx.tensor(node.inputs[0])
    scale, zero = _parameters(ctx, node, len(x.shape))
    low, high = _limits(_quantized_type(node))
    ctx.note(
        "quantized",
        "Keras has no integer layers: quantised weights are written as float32, quantised activations are rounded "
        "and clipped by operations; results equal the quantised graph's, size and speed do not",
    )
    extra: dict[str, Any] = {"shape": x.shape, "dtype": x.dtype}
    y = ctx.op(node, "numpy.Divide", [x, _argument(ctx, scale, f"{node.name}_scale")], suffix="scale", **extra)
    y = ctx.op(node, "numpy.Round", [y], suffix="round", **extra)
    inverse = _inverses(ctx, node)
    if inverse and zero.size == 1:
        z = float(zero.reshape(-1)[0])
        y = ctx.op(node, "numpy.Clip", [y], {"x_min": low - z, "x_max": high - z}, suffix="clip", **extra)
        y = ctx.op(node, "numpy.Multiply", [y, _argument(ctx, scale, f"{node.name}_scale")], suffix="unscale", **extra)
        for follower in inverse:
            ctx.claim(follower)
            ctx.bind(follower.outputs[0], y)
        return
    if zero.any():
        y = ctx.op(node, "numpy.Add", [y, _argument(ctx, zero, f"{node.name}_zero")], suffix="zero", **extra)
    y = ctx.op(node, "numpy.Clip", [y], {"x_min": low, "x_max": high}, suffix="clip", **extra)
    ctx.bind(node.outputs[0], y)


def _inverses(ctx: Context, node: ir.Node) -> list[ir.Node]:
    """The DequantizeLinear nodes, if all that uses the integers undoes this very quantisation."""
    value = node.outputs[0]
    users = [use.node for use in value.uses()]
    if value.is_graph_output() or not users or any(u.op_type != "DequantizeLinear" for u in users):
        return []
    for user in users:
        if view.attr(user, "axis", 1) != view.attr(node, "axis", 1):
            return []
        for index in (1, 2):
            mine = ctx.const(node.inputs[index]) if len(node.inputs) > index else None
            its = ctx.const(user.inputs[index]) if len(user.inputs) > index else None
            if (mine is None) != (its is None):
                return []
            if mine is not None and its is not None and not np.array_equal(mine.load(), its.load()):
                return []
    return users


@writes("DequantizeLinear")
def dequantize(ctx: Context, node: ir.Node) -> None:
    """Subtract the zero point, multiply by the scale."""
    x = ctx.tensor(node.inputs[0])
    extra: dict[str, Any] = {"shape": x.shape, "dtype": "float32"}
    if "float" not in x.dtype:
        x = ctx.op(node, "core.Cast", [x], {"dtype": "float32"}, suffix="cast", **extra)
    scale, zero = _parameters(ctx, node, len(x.shape))
    if zero.any():
        x = ctx.op(node, "numpy.Subtract", [x, _argument(ctx, zero, f"{node.name}_zero")], suffix="zero", **extra)
    y: Tensor = ctx.op(node, "numpy.Multiply", [x, _argument(ctx, scale, f"{node.name}_scale")], **extra)
    ctx.bind(node.outputs[0], y)
