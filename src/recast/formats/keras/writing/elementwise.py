"""Arithmetic, comparisons and functions of one argument: merge layers where Keras has them, else operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import INLINE_ELEMENTS, Context, keras_shape
from recast.formats.keras.writing._network import Tensor, Weight
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
}


def _merge_fits(tensors: list[Any]) -> bool:
    """Whether a merge layer of Keras takes these: equal ranks (at least 2), equal types."""
    if not all(isinstance(t, Tensor) for t in tensors):
        return False
    ranks, dtypes = {len(t.shape) for t in tensors}, {t.dtype for t in tensors}
    if len(ranks) != 1 or len(dtypes) != 1 or min(ranks) < 2 or "float" not in next(iter(dtypes)):
        return False
    return len({t.shape[0] for t in tensors}) == 1


@writes(*_BINARY, "Sum", "Mean")
def binary(ctx: Context, node: ir.Node) -> None:
    """Two or more operands, with NumPy's broadcasting."""
    if _rescaling(ctx, node):
        return
    if _channel_scale(ctx, node):
        return
    operands = [ctx.operand(v) for v in node.inputs]
    if not any(isinstance(t, Tensor) for t in operands):
        operands[0] = ctx.tensor(node.inputs[0])
    out, kind = node.outputs[0], node.op_type
    if len(operands) == 1:
        ctx.bind(out, operands[0])
        return
    layer = {"Sum": "Add", "Mean": "Average"}.get(kind) or _MERGES.get(kind)
    if layer is not None and _merge_fits(operands) and not (layer == "Subtract" and len(operands) != 2):
        ctx.bind(out, ctx.layer(node, layer, {}, operands))
        return
    if kind == "Div" and all(not isinstance(t, Tensor) or "int" in t.dtype for t in operands):
        ctx.bind(out, _whole_division(ctx, node, operands[0], operands[1]))
        return
    name = _BINARY.get("Add" if kind in ("Sum", "Mean") else kind)
    result = operands[0]
    for index, operand in enumerate(operands[1:]):
        suffix = "" if index == len(operands) - 2 and kind != "Mean" else f"part{index}"
        result = ctx.op(node, f"numpy.{name}", [result, operand], suffix=suffix)
    if kind == "Mean":
        result = ctx.op(node, "numpy.Multiply", [result, 1.0 / len(operands)])
    ctx.bind(out, result)


def _whole_division(ctx: Context, node: ir.Node, left: Any, right: Any) -> Tensor:
    """Integer division towards zero, as ONNX has it: the magnitudes are divided, then the signs put back."""
    tensors = [t for t in (left, right) if isinstance(t, Tensor)]
    if all(t.dtype.startswith("uint") for t in tensors):
        return ctx.op(node, "numpy.FloorDivide", [left, right])
    magnitudes: list[Any] = []
    signs: list[Any] = []
    for index, operand in enumerate((left, right)):
        if isinstance(operand, Tensor):
            shape = operand.shape
            magnitudes.append(ctx.op(node, "numpy.Absolute", [operand], suffix=f"size{index}", shape=shape))
            signs.append(ctx.op(node, "numpy.Sign", [operand], suffix=f"sign{index}", shape=shape))
        else:
            array = ctx.array(node.inputs[index], "divisor")
            magnitudes.append(ctx.literal(np.abs(array)))
            signs.append(ctx.literal(np.sign(array)))
    quotient = ctx.op(node, "numpy.FloorDivide", magnitudes, suffix="quotient")
    sign = ctx.op(node, "numpy.Multiply", signs, suffix="sign")
    return ctx.op(node, "numpy.Multiply", [quotient, sign])


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
    path = "math.Erf" if node.op_type == "Erf" else f"numpy.{_UNARY[node.op_type]}"
    ctx.bind(node.outputs[0], ctx.op(node, path, [ctx.tensor(node.inputs[0])]))


@writes("Where")
def where(ctx: Context, node: ir.Node) -> None:
    """Choose by a condition."""
    condition = ctx.operand(node.inputs[0])
    first, second = ctx.operand(node.inputs[1]), ctx.operand(node.inputs[2])
    if not any(isinstance(t, Tensor) for t in (condition, first, second)):
        raise Unfit("all its inputs are constants")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Where", [condition, first, second]))


@writes("Mod")
def mod(ctx: Context, node: ir.Node) -> None:
    """Remainder with the divisor's sign (``fmod=0``)."""
    if view.attr(node, "fmod", 0):
        raise Unfit("its result takes the dividend's sign (fmod)")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Mod", [ctx.operand(v) for v in node.inputs]))


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
    if not axes and view.attr(node, "noop_with_empty_axes", 0):
        ctx.bind(node.outputs[0], x)
        return
    keep = bool(view.attr(node, "keepdims", 1))
    kind, out = node.op_type, node.outputs[0]
    if kind in ("ReduceMean", "ReduceMax") and rank in (3, 4, 5) and axes == list(range(1, rank - 1)):
        name = f"Global{'Average' if kind == 'ReduceMean' else 'Max'}Pooling{rank - 2}D"
        if "float" in x.dtype:
            ctx.bind(out, ctx.layer(node, name, {"keepdims": keep}, [x]))
            return
    config: dict[str, Any] = {"axis": axes or None, "keepdims": keep}
    if kind == "ReduceL1":
        x = ctx.op(node, "numpy.Absolute", [x], shape=x.shape, suffix="abs")
    if kind in ("ReduceL2", "ReduceSumSquare"):
        x = ctx.op(node, "numpy.Square", [x], shape=x.shape, suffix="square")
    path = "math.Logsumexp" if kind == "ReduceLogSumExp" else f"numpy.{_REDUCE.get(kind, 'Sum')}"
    last = kind not in ("ReduceL2", "ReduceLogSum")
    y = ctx.op(node, path, [x], config, suffix="" if last else "sum")
    if not last:
        y = ctx.op(node, "numpy.Sqrt" if kind == "ReduceL2" else "numpy.Log", [y])
    ctx.bind(out, y)


@writes("ArgMax", "ArgMin")
def arg_extreme(ctx: Context, node: ir.Node) -> None:
    """Index of the first extreme; Keras gives int32, which is cast to int64."""
    if view.attr(node, "select_last_index", 0):
        raise Unfit("it takes the last of equal values")
    x = ctx.tensor(node.inputs[0])
    config = {"axis": view.attr(node, "axis", 0) % len(x.shape), "keepdims": bool(view.attr(node, "keepdims", 1))}
    path = "numpy.Argmax" if node.op_type == "ArgMax" else "numpy.Argmin"
    ctx.bind(node.outputs[0], ctx.op(node, path, [x], config, dtype="int32"))


@writes("CumSum")
def cumulative_sum(ctx: Context, node: ir.Node) -> None:
    """Cumulative sum, inclusive, forwards."""
    if view.attr(node, "exclusive", 0) or view.attr(node, "reverse", 0):
        raise Unfit("Keras has no exclusive or reversed cumulative sum")
    x, axis = ctx.tensor(node.inputs[0]), ctx.ints(node.inputs[1], "axis")[0]
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Cumsum", [x], {"axis": axis % len(x.shape)}))
