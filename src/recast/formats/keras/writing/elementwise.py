"""Arithmetic, comparisons and functions of one argument: merge layers where Keras has them, else operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._bias import misread
from recast.formats.keras.writing._context import INLINE_ELEMENTS, Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Tensor, Weight
from recast.formats.keras.writing._typed import cast, compute, number, operand, operands, ordered, wide, working_type
from recast.formats.keras.writing._unsigned import quotient_of_uint64
from recast.graph import view

_BINARY = {
    "Add": "Add",
    "Sub": "Subtract",
    "Mul": "Multiply",
    "Div": "Divide",
    "Pow": "Power",
    "Max": "Maximum",
    "Min": "Minimum",
    "Equal": "Equal",
    "Less": "Less",
    "LessOrEqual": "LessEqual",
    "Greater": "Greater",
    "GreaterOrEqual": "GreaterEqual",
    "And": "LogicalAnd",
    "Or": "LogicalOr",
    "Xor": "LogicalXor",
    "BitwiseAnd": "BitwiseAnd",
    "BitwiseOr": "BitwiseOr",
    "BitwiseXor": "BitwiseXor",
}
_MERGES = {"Add": "Add", "Sub": "Subtract", "Mul": "Multiply", "Max": "Maximum", "Min": "Minimum"}
_UNARY = {
    "Abs": "Absolute",
    "Ceil": "Ceil",
    "Cos": "Cos",
    "Cosh": "Cosh",
    "Acos": "Arccos",
    "Asin": "Arcsin",
    "Atan": "Arctan",
    "Acosh": "Arccosh",
    "Asinh": "Arcsinh",
    "Atanh": "Arctanh",
    "Exp": "Exp",
    "Floor": "Floor",
    "Log": "Log",
    "Neg": "Negative",
    "Not": "LogicalNot",
    "Reciprocal": "Reciprocal",
    "Round": "Round",
    "Sign": "Sign",
    "Sin": "Sin",
    "Sinh": "Sinh",
    "Sqrt": "Sqrt",
    "Tan": "Tan",
    "IsNaN": "Isnan",
    "BitwiseNot": "BitwiseNot",
}


def _merge_fits(tensors: list[Any]) -> bool:
    """Whether a merge layer of Keras takes these: equal ranks (at least 2), equal types."""
    if not all(isinstance(t, Tensor) for t in tensors):
        return False
    ranks, dtypes = {len(t.shape) for t in tensors}, {t.dtype for t in tensors}
    if len(ranks) != 1 or len(dtypes) != 1 or min(ranks) < 2 or "float" not in next(iter(dtypes)):
        return False
    return len({t.shape[0] for t in tensors}) == 1


def _sum_fits(kind: str, tensors: list[Tensor]) -> bool:
    """Whether Keras reads a merge layer's sum right: none of its inputs looks like a bias."""
    if kind not in ("Add", "Sum", "Mean"):
        return True
    return not any(misread(one.shape, other.shape) for one in tensors for other in tensors)


_COMPARED = frozenset({"Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
_LOGICAL = frozenset({"And", "Or", "Xor"})


@writes(*_BINARY, "Sum", "Mean")
def binary(ctx: Context, node: ir.Node) -> None:
    """Two or more operands, with NumPy's broadcasting."""
    if _rescaling(ctx, node) or _channel_scale(ctx, node):
        return
    out, kind, values = node.outputs[0], node.op_type, list(node.inputs)
    if len(values) == 1:
        ctx.bind(out, ctx.tensor(values[0]))
        return
    if kind in _COMPARED or kind == "Equal" or kind in _LOGICAL:
        ctx.bind(out, _truth(ctx, node))
    elif kind == "Pow":
        ctx.bind(out, _power(ctx, node))
    elif kind == "Div" and "int" in keras_dtype(out):
        ctx.bind(out, _whole_division(ctx, node))
    elif kind in ("Max", "Min") and keras_dtype(out) == "uint64":
        ctx.bind(out, _extreme_of_uint64(ctx, node))
    else:
        ctx.bind(out, _chain(ctx, node))


def _chain(ctx: Context, node: ir.Node) -> Tensor:
    """Merge layers where they fit, else one operation after the other."""
    kind = node.op_type
    arguments = operands(ctx, node, list(node.inputs), _work(ctx, node))
    layer = {"Sum": "Add", "Mean": "Average"}.get(kind) or _MERGES.get(kind)
    if layer is not None and _merge_fits(arguments) and _sum_fits(kind, arguments):
        return ctx.layer(node, layer, {}, arguments)
    name = _BINARY["Add" if kind in ("Sum", "Mean") else kind]
    result: Tensor = arguments[0]
    last = len(arguments) - 2
    for index, argument in enumerate(arguments[1:]):
        extra: dict[str, Any] = {} if index == last and kind != "Mean" else {"suffix": f"part{index}"}
        result = compute(ctx, node, f"numpy.{name}", [result, argument], **extra)
    if kind == "Mean":
        result = compute(ctx, node, "numpy.Multiply", [result, number(1.0 / len(arguments), result.dtype)])
    return result


def _work(ctx: Context, node: ir.Node) -> str:
    """The type to compute a node in: between operations that sum halves in float32 that too."""
    held = [ctx.bound(v) for v in node.inputs if v is not None]
    work = working_type(keras_dtype(node.outputs[0]))
    return wide(work) if any(t in ctx.wider for t in held if t is not None) else work


def _truth(ctx: Context, node: ir.Node) -> Tensor:
    """Comparisons and logic."""
    kind, first = node.op_type, node.inputs[0]
    if kind in _LOGICAL:
        arguments = operands(ctx, node, list(node.inputs), "bool")
    elif kind == "Equal":
        dtype = "float32" if first is None else keras_dtype(first)
        arguments = operands(ctx, node, list(node.inputs), "int32" if dtype == "bool" else working_type(dtype))
    else:
        arguments = ordered(ctx, node, list(node.inputs))
    return compute(ctx, node, f"numpy.{_BINARY[kind]}", arguments, gives="bool")


def _power(ctx: Context, node: ir.Node) -> Tensor:
    """The result has the base's type; whole numbers to a fractional power are computed in float64, then cut off."""
    base, exponent = (keras_dtype(v) if v is not None else "float32" for v in node.inputs)
    work = base if "float" in base else "float64" if "float" in exponent else "int64"
    return compute(ctx, node, "numpy.Power", operands(ctx, node, list(node.inputs), work))


def _whole_division(ctx: Context, node: ir.Node) -> Tensor:
    """Integer division towards zero, as ONNX has it: what the truncating remainder leaves divides exactly."""
    dtype = keras_dtype(node.outputs[0])
    if dtype == "uint64":
        return quotient_of_uint64(ctx, node)
    left, right = operands(ctx, node, list(node.inputs), dtype)
    if not dtype.startswith("uint"):
        rest = compute(ctx, node, "numpy.Fmod", [left, right], suffix="rest")
        left = compute(ctx, node, "numpy.Subtract", [left, rest], suffix="multiple")
    return compute(ctx, node, "numpy.FloorDivide", [left, right])


def _extreme_of_uint64(ctx: Context, node: ir.Node) -> Tensor:
    name = _BINARY[node.op_type]
    arguments = ordered(ctx, node, list(node.inputs))
    result = arguments[0]
    for index, argument in enumerate(arguments[1:]):
        result = compute(ctx, node, f"numpy.{name}", [result, argument], gives="int64", suffix=f"part{index}")
    return compute(ctx, node, "numpy.BitwiseXor", [result, ctx.literal(np.array(-(2**63), np.int64))])


def _number(ctx: Context, value: ir.Value | None) -> float | None:
    found = None if value is None or ctx.bound(value) is not None else ctx.const(value)
    return float(found.load().reshape(-1)[0]) if found is not None and found.size == 1 and found.is_float else None


def _rescaling(ctx: Context, node: ir.Node) -> bool:
    """``x · scale + offset`` of one source layer is Keras's Rescaling."""
    if node.op_type != "Mul":
        return False
    add = ctx.follower(node.outputs[0], "Add")
    numbers = [_number(ctx, v) for v in node.inputs]
    if add is None or not ctx.same_layer(node, add) or sum(n is None for n in numbers) != 1:
        return False
    offset = next((_number(ctx, v) for v in add.inputs if v is not node.outputs[0]), None)
    x = ctx.tensor(next(v for v, n in zip(node.inputs, numbers, strict=True) if n is None))
    scale = next(n for n in numbers if n is not None)
    if offset is None or keras_shape(add.outputs[0]) != x.shape:
        return False
    ctx.claim(add)
    ctx.bind(add.outputs[0], ctx.layer(node, "Rescaling", {"scale": scale, "offset": offset}, [x]))
    return True


def _channel_scale(ctx: Context, node: ir.Node) -> bool:
    """A long vector times the last axis is a trainable EinsumDense (with the vector that is added next as its bias)."""
    out = keras_shape(node.outputs[0])
    if node.op_type != "Mul" or len(node.inputs) != 2 or not 2 <= len(out) <= 8:
        return False
    places = [i for i, v in enumerate(node.inputs) if v is not None and ctx.bound(v) is None and ctx.const(v)]
    scale = ctx.const(node.inputs[places[0]]) if len(places) == 1 else None
    if scale is None or not scale.is_float or scale.shape[-1:] != (scale.size,):
        return False
    x = ctx.tensor(node.inputs[1 - places[0]])
    if scale.size <= INLINE_ELEMENTS or scale.size != out[-1] or x.shape != out or sum(n is None for n in out[1:]):
        return False
    last, bias = ctx.added_row(node, scale.size)
    letters = "abcdefgh"[: len(out)]
    config = {
        "equation": f"{letters},{letters[-1]}->{letters}",
        "output_shape": list(out[1:]),
        "bias_axes": None if bias is None else letters[-1],
    }
    weights = [Weight("kernel", lambda: scale.load().reshape(-1))]
    if bias is not None:
        held = bias
        weights.append(Weight("bias", lambda: held.load().reshape(-1)))
    key = (scale.key, None if bias is None else bias.key)
    ctx.bind(last.outputs[0], ctx.layer(node, "EinsumDense", config, [x], weights=weights, key=key))
    return True


@writes(*_UNARY, "Erf")
def unary(ctx: Context, node: ir.Node) -> None:
    """Functions of one tensor."""
    x, wanted = ctx.tensor(node.inputs[0]), keras_dtype(node.outputs[0])
    if wanted == "uint64" and node.op_type in ("Abs", "Sign"):
        raise Unfit(f"Keras has no {node.op_type} of 64-bit unsigned integers")
    path = "math.Erf" if node.op_type == "Erf" else f"numpy.{_UNARY[node.op_type]}"
    x = x if wanted == "bool" else cast(ctx, node, x, wanted)
    ctx.bind(node.outputs[0], compute(ctx, node, path, [x], gives=wanted))


@writes("Where")
def where(ctx: Context, node: ir.Node) -> None:
    """Choose by a condition."""
    condition = operand(ctx, node, node.inputs[0], "bool")
    work = _work(ctx, node)
    choices = [operand(ctx, node, v, work) for v in node.inputs[1:]]
    if not any(isinstance(t, Tensor) for t in (condition, *choices)):
        condition = ctx.tensor(node.inputs[0])
    if any(isinstance(c, float | int) and not isinstance(c, bool) for c in choices):  # numbers alone have no type
        choices = [ctx.literal(np.array(c, work)) if isinstance(c, float | int) else c for c in choices]
    ctx.bind(node.outputs[0], compute(ctx, node, "numpy.Where", [condition, *choices], gives=work))


@writes("Mod")
def mod(ctx: Context, node: ir.Node) -> None:
    """Remainder with the divisor's sign, or the dividend's (``fmod=1``)."""
    dtype = keras_dtype(node.outputs[0])
    if dtype == "uint64":
        left, right = operands(ctx, node, list(node.inputs), "int64")
        quotient = quotient_of_uint64(ctx, node, suffix="quotient")
        whole = compute(ctx, node, "numpy.Multiply", [quotient, right], gives="int64", suffix="multiple")
        ctx.bind(node.outputs[0], compute(ctx, node, "numpy.Subtract", [left, whole], gives="int64"))
        return
    name = "Fmod" if view.attr(node, "fmod", 0) else "Mod"
    ctx.bind(node.outputs[0], compute(ctx, node, f"numpy.{name}", operands(ctx, node, list(node.inputs), dtype)))
