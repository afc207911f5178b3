"""Operations of ``keras.ops`` in a functional graph (Keras 3): elementwise, reductions, comparisons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.activation import FUNCTIONS
from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads


def argument(c: LayerCall, name: str, position: int, default: Any = None) -> Any:
    """An argument of an operation: keyword, config entry, or position."""
    if name in c.kwargs:
        return c.kwargs[name]
    if name in c.layer.config:
        return c.layer.config[name]
    return c.args[position] if position < len(c.args) else default


def tensor(c: LayerCall, value: Any, like: ir.Value | None = None) -> ir.Value:
    """A tensor, or a number or array as a constant of the other operand's type."""
    if isinstance(value, ir.Value):
        return value
    if value is None:
        raise c.refuse("an argument is missing")
    array = np.asarray(value)
    wanted = like.dtype.numpy() if like is not None and like.dtype is not None else None
    if wanted is not None and array.dtype.kind == "f" and wanted.kind in "iu":
        raise c.refuse("a float number with an integer tensor", "cast the tensor first")
    return c.b.const(array.astype(wanted) if wanted is not None else array.astype(np.float32))


def operands(c: LayerCall) -> tuple[ir.Value, ir.Value]:
    """Both operands at one type, whichever of them is a number."""
    first, second = argument(c, "x1", 0), argument(c, "x2", 1)
    if first is None:
        first = argument(c, "x", 0)
    if second is None:
        second = argument(c, "y", 1)
    if isinstance(first, ir.Value):
        right = tensor(c, second, first)
        left = first
    else:
        right = tensor(c, second)
        left = tensor(c, first, right)
    if left.dtype != right.dtype:
        wide = left if left.dtype is not None and left.dtype.is_floating_point() else right
        left, right = (cast(c, v, wide.dtype or ir.DataType.FLOAT) for v in (left, right))
    return left, right


def cast(c: LayerCall, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """Cast where the type differs."""
    return value if value.dtype == dtype else c.op("Cast", [value], {"to": int(dtype)})


_BINARY = {
    **{"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "TrueDivide": "Div", "Power": "Pow"},
    **{"Maximum": "Max", "Minimum": "Min", "Greater": "Greater", "Less": "Less", "Equal": "Equal"},
    **{"GreaterEqual": "GreaterOrEqual", "LessEqual": "LessOrEqual"},
    **{"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"},
}


@reads(*(f"ops.{name}" for name in _BINARY))
def binary(c: LayerCall) -> ir.Value:
    """Elementwise with broadcasting."""
    return c.op(_BINARY[c.layer.class_name], operands(c))


@reads("ops.NotEqual")
def not_equal(c: LayerCall) -> ir.Value:
    """Not(Equal)."""
    return c.op("Not", [c.op("Equal", operands(c))])


@reads("ops.SquaredDifference")
def squared_difference(c: LayerCall) -> ir.Value:
    """(a − b)²."""
    d = c.op("Sub", operands(c))
    return c.op("Mul", [d, d])


_UNARY = {
    **{"Absolute": "Abs", "Abs": "Abs", "Negative": "Neg", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt"},
    **{"Sin": "Sin", "Cos": "Cos", "Tan": "Tan", "Arcsin": "Asin", "Arccos": "Acos", "Arctan": "Atan", "Sinh": "Sinh"},
    **{"Cosh": "Cosh", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Sign": "Sign", "Erf": "Erf"},
    **{"Reciprocal": "Reciprocal", "LogicalNot": "Not", "Isnan": "IsNaN", "Isinf": "IsInf", "Tanh": "Tanh"},
}


@reads(*(f"ops.{name}" for name in _UNARY))
def unary(c: LayerCall) -> ir.Value:
    """Elementwise, one operand."""
    return c.op(_UNARY[c.layer.class_name], [c.x])


@reads("ops.Square", "ops.Rsqrt", "ops.Log1p", "ops.Expm1", "ops.Log2", "ops.Log10")
def composed(c: LayerCall) -> ir.Value:
    """Elementwise functions that ONNX does not have."""
    x, name = c.x, c.layer.class_name
    if name == "Square":
        return c.op("Mul", [x, x])
    if name == "Rsqrt":
        return c.op("Reciprocal", [c.op("Sqrt", [x])])
    if name == "Log1p":
        return c.op("Log", [c.op("Add", [x, c.like(1.0, x)])])
    if name == "Expm1":
        return c.op("Sub", [c.op("Exp", [x]), c.like(1.0, x)])
    return c.op("Mul", [c.op("Log", [x]), c.like(1 / math.log(2.0 if name == "Log2" else 10.0), x)])


_PLAIN = {
    **{"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Swish": "silu", "Selu": "selu"},
    **{"Softplus": "softplus", "Softsign": "softsign", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"},
    **{"HardSwish": "hard_silu", "Mish": "mish", "LogSigmoid": "log_sigmoid", "HardTanh": "hard_tanh"},
    **{"TanhShrink": "tanh_shrink"},
}


@reads(*(f"ops.{name}" for name in _PLAIN))
def plain_activation(c: LayerCall) -> ir.Value:
    """Activation functions without parameters."""
    return FUNCTIONS[_PLAIN[c.layer.class_name]](c, c.x)


@reads("ops.LeakyRelu", "ops.Elu", "ops.Celu")
def sloped(c: LayerCall) -> ir.Value:
    """Activation functions with one parameter."""
    if c.layer.class_name == "LeakyRelu":
        slope = argument(c, "negative_slope", 1)
        return c.op("LeakyRelu", [c.x], {"alpha": float(0.2 if slope is None else slope)})
    return c.op(c.layer.class_name, [c.x], {"alpha": float(argument(c, "alpha", 1, 1.0))})


@reads("ops.Gelu")
def gelu(c: LayerCall) -> ir.Value:
    """Approximate unless told otherwise."""
    return c.op("Gelu", [c.x], {"approximate": "tanh" if argument(c, "approximate", 1, True) else "none"})


@reads("ops.Softmax", "ops.LogSoftmax")
def softmax(c: LayerCall) -> ir.Value:
    """Over one axis."""
    axis = argument(c, "axis", 1, -1)
    if not isinstance(axis, int):
        raise c.refuse(f"axis {axis}")
    return c.op(c.layer.class_name, [c.x], {"axis": axis % c.rank})


_REDUCE = {
    **{"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd"},
    **{"Amax": "ReduceMax", "Amin": "ReduceMin", "Logsumexp": "ReduceLogSumExp"},
}


def axes_of(c: LayerCall, axis: Any) -> list[int]:
    """Axes as a sorted list; None: all."""
    if axis is None:
        return list(range(c.rank))
    return sorted(int(a) % c.rank for a in (axis if isinstance(axis, list | tuple) else [axis]))


@reads(*(f"ops.{name}" for name in _REDUCE))
def reduce(c: LayerCall) -> ir.Value:
    """Reduce over axes."""
    if argument(c, "initial", 9) is not None or argument(c, "where", 9) is not None:
        raise c.refuse("initial values")
    axes, keep = axes_of(c, argument(c, "axis", 1)), int(bool(argument(c, "keepdims", 2, False)))
    return c.op(_REDUCE[c.layer.class_name], [c.x, c.const(axes)], {"keepdims": keep})


@reads("ops.Var", "ops.Std")
def spread(c: LayerCall) -> ir.Value:
    """Population variance, or its root."""
    axes, keep = c.const(axes_of(c, argument(c, "axis", 1))), int(bool(argument(c, "keepdims", 2, False)))
    centred = c.op("Sub", [c.x, c.op("ReduceMean", [c.x, axes], {"keepdims": 1})])
    y = c.op("ReduceMean", [c.op("Mul", [centred, centred]), axes], {"keepdims": keep})
    return c.op("Sqrt", [y]) if c.layer.class_name == "Std" else y


@reads("ops.Argmax", "ops.Argmin")
def arg(c: LayerCall) -> ir.Value:
    """Index of the largest or smallest; Keras gives int32."""
    axis = argument(c, "axis", 1)
    if axis is None:
        raise c.refuse("without an axis")
    keep = int(bool(argument(c, "keepdims", 2, False)))
    y = c.op("ArgMax" if c.layer.class_name == "Argmax" else "ArgMin", [c.x], {"axis": axis % c.rank, "keepdims": keep})
    return c.op("Cast", [y], {"to": int(ir.DataType.INT32)})


@reads("ops.Clip")
def clip(c: LayerCall) -> ir.Value:
    """Between two numbers."""
    low, high = argument(c, "x_min", 1), argument(c, "x_max", 2)
    if isinstance(low, ir.Value) or isinstance(high, ir.Value):
        return c.op("Min", [c.op("Max", [c.x, tensor(c, low, c.x)]), tensor(c, high, c.x)])
    return c.op("Clip", [c.x, None if low is None else c.like(low, c.x), None if high is None else c.like(high, c.x)])


@reads("ops.Cast")
def cast_op(c: LayerCall) -> ir.Value:
    """To another element type."""
    name = str(argument(c, "dtype", 1)).upper()
    name = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE"}.get(name, name)
    if name not in ir.DataType.__members__:
        raise c.refuse(f"the type {name.lower()}")
    return c.op("Cast", [c.x], {"to": int(ir.DataType[name])})


@reads("ops.Where")
def where(c: LayerCall) -> ir.Value:
    """condition ? x1 : x2."""
    condition = argument(c, "condition", 0)
    first, second = argument(c, "x1", 1), argument(c, "x2", 2)
    like = first if isinstance(first, ir.Value) else second if isinstance(second, ir.Value) else None
    return c.op("Where", [condition, tensor(c, first, like), tensor(c, second, like)])


@reads("ops.Matmul", "ops.Dot")
def matmul(c: LayerCall) -> ir.Value:
    """Matrix product."""
    left, right = operands(c)
    if c.layer.class_name == "Dot" and len(c.dims(right)) > 2:
        raise c.refuse("tensors of rank over 2")
    return c.op("MatMul", [left, right])


@reads("ops.Einsum")
def einsum(c: LayerCall) -> ir.Value:
    """Any contraction."""
    equation = str(argument(c, "subscripts", 0)).replace(" ", "")
    return c.op("Einsum", c.tensors, {"equation": equation})


@reads("ops.Normalize")
def normalize(c: LayerCall) -> ir.Value:
    """x / L2 norm."""
    if argument(c, "order", 2, 2) != 2:
        raise c.refuse("norms other than L2")
    axis = argument(c, "axis", 1, -1)
    square = c.op("ReduceSum", [c.op("Mul", [c.x, c.x]), c.const(axes_of(c, axis))], {"keepdims": 1})
    epsilon = float(argument(c, "epsilon", 3) or 1e-7)
    return c.op("Div", [c.x, c.op("Sqrt", [c.op("Max", [square, c.like(epsilon**2, c.x)])])])
