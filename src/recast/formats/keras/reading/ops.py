"""Operations of ``keras.ops`` in a functional graph (Keras 3): elementwise, products, activations."""

from __future__ import annotations

import math

import onnx_ir as ir

from recast.formats.keras import holding
from recast.formats.keras.activation import FUNCTIONS
from recast.formats.keras.arguments import argument, axes_of, numpy_type, operands, pair, promote, type_of, typed
from recast.formats.keras.call import LayerCall
from recast.formats.keras.promotion import is_float
from recast.formats.keras.reading import reads
from recast.graph import integers

_ARITHMETIC = {
    **{"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Power": "Pow", "Maximum": "Max", "Minimum": "Min"}
}
_COMPARED = {
    **{"Greater": "Greater", "Less": "Less", "Equal": "Equal"},
    **{"GreaterEqual": "GreaterOrEqual", "LessEqual": "LessOrEqual"},
}
_LOGICAL = {"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"}


@reads(*(f"ops.{name}" for name in _ARITHMETIC))
def arithmetic(c: LayerCall) -> ir.Value:
    """Elementwise with broadcasting, at the promoted type."""
    kind = c.layer.class_name
    held = holding.added(c, pair(c)) if kind == "Add" else None
    return held if held is not None else _power(c) if kind == "Power" else c.op(_ARITHMETIC[kind], operands(c))


def _power(c: LayerCall) -> ir.Value:
    """ONNX has powers of whole numbers of 32 and 64 bits; Keras computes the unsigned ones in int32."""
    name = promote(c, pair(c))
    work = name if is_float(name) or name == "int64" else "int32"
    return typed(c, c.op("Pow", [typed(c, v, work) for v in pair(c)]), name)


@reads("ops.Divide", "ops.TrueDivide")
def divide(c: LayerCall) -> ir.Value:
    """The quotient as a fraction, whole numbers too."""
    return c.op("Div", operands(c, "float"))


@reads("ops.DivideNoNan")
def divide_no_nan(c: LayerCall) -> ir.Value:
    """The quotient, 0 where the divisor is 0."""
    left, right = operands(c, "float")
    zero = c.like(0.0, left)
    return c.op("Where", [c.op("Equal", [right, zero]), zero, c.op("Div", [left, right])])


@reads("ops.FloorDivide")
def floor_divide(c: LayerCall) -> ir.Value:
    """Towards minus infinity."""
    left, right = operands(c)
    if is_float(type_of(c, left)):
        return c.op("Floor", [c.op("Div", [left, right])])
    return integers.floor_divide(c.b, left, right)


@reads("ops.Mod", "ops.Fmod")
def remainder(c: LayerCall) -> ir.Value:
    """With the divisor's sign, or the dividend's (Fmod)."""
    name = promote(c, pair(c), weak=False)
    name = "int32" if name == "bool" else name
    left, right = (typed(c, v, name) for v in pair(c))
    if c.layer.class_name == "Fmod" or not is_float(name):
        return c.op("Mod", [left, right], {"fmod": int(c.layer.class_name == "Fmod")})
    rest, zero = c.op("Mod", [left, right], {"fmod": 1}), c.like(0.0, left)
    signs = c.op("Xor", [c.op("Less", [v, zero]) for v in (rest, right)])
    away = c.op("And", [signs, c.op("Not", [c.op("Equal", [rest, zero])])])
    return c.op("Where", [away, c.op("Add", [rest, right]), rest])


@reads(*(f"ops.{name}" for name in _COMPARED), "ops.NotEqual")
def compare(c: LayerCall) -> ir.Value:
    """Comparisons; numbers are tensors of 32 bits before they are compared."""
    sides, name = operands(c, weak=False), c.layer.class_name
    return c.op("Not", [c.op("Equal", sides)]) if name == "NotEqual" else c.op(_COMPARED[name], sides)


@reads(*(f"ops.{name}" for name in _LOGICAL))
def logical(c: LayerCall) -> ir.Value:
    """Logic of whether the operands are not zero."""
    held = holding.added(c, pair(c)) if c.layer.class_name == "LogicalOr" else None
    return c.op(_LOGICAL[c.layer.class_name], [typed(c, v, "bool") for v in pair(c)]) if held is None else held


@reads("ops.SquaredDifference")
def squared_difference(c: LayerCall) -> ir.Value:
    """(a − b)²."""
    d = c.op("Sub", operands(c))
    return c.op("Mul", [d, d])


_SAME = {
    **{"Absolute": "Abs", "Abs": "Abs", "Negative": "Neg", "Round": "Round", "Sign": "Sign"},
    **{"Reciprocal": "Reciprocal", "Erf": "Erf"},
}
_FRACTIONS = {
    **{"Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Floor": "Floor", "Ceil": "Ceil", "Tanh": "Tanh"},
    **{"Sin": "Sin", "Cos": "Cos", "Tan": "Tan", "Arcsin": "Asin", "Arccos": "Acos", "Arctan": "Atan", "Sinh": "Sinh"},
    **{"Cosh": "Cosh", "Arcsinh": "Asinh", "Arccosh": "Acosh", "Arctanh": "Atanh"},
}


@reads(*(f"ops.{name}" for name in _SAME))
def unary(c: LayerCall) -> ir.Value:
    """Elementwise, of the same type; whole numbers are round already and have no reciprocal."""
    name, whole = c.layer.class_name, not is_float(type_of(c, c.x))
    if name == "Round" and argument(c, "decimals", 1, 0):
        raise c.refuse("decimals")
    if whole and name in ("Reciprocal", "Erf"):
        raise c.refuse("whole numbers")
    return c.op("Identity" if whole and name == "Round" else _SAME[name], [c.x])


def fraction(c: LayerCall) -> ir.Value:
    """The first tensor as floating point numbers: whole ones become float32."""
    return c.x if is_float(type_of(c, c.x)) else typed(c, c.x, "float32")


@reads(*(f"ops.{name}" for name in _FRACTIONS))
def function(c: LayerCall) -> ir.Value:
    """Elementwise functions with fractional results."""
    return c.op(_FRACTIONS[c.layer.class_name], [fraction(c)])


@reads("ops.LogicalNot")
def logical_not(c: LayerCall) -> ir.Value:
    """Whether it is zero."""
    return c.op("Not", [typed(c, c.x, "bool")])


_ODD = {"Isinf": {}, "Isposinf": {"detect_negative": 0}, "Isneginf": {"detect_positive": 0}, "Isnan": {}}


@reads(*(f"ops.{name}" for name in _ODD))
def odd(c: LayerCall) -> ir.Value:
    """Where numbers are infinite, or none."""
    name = c.layer.class_name
    return c.op("IsNaN" if name == "Isnan" else "IsInf", [fraction(c)], _ODD[name])


@reads("ops.Square", "ops.Rsqrt", "ops.Log1p", "ops.Expm1", "ops.Log2", "ops.Log10")
def composed(c: LayerCall) -> ir.Value:
    """Elementwise functions that ONNX does not have."""
    name = c.layer.class_name
    if name == "Square":
        x = typed(c, c.x, "int32") if type_of(c, c.x) == "bool" else c.x
        return c.op("Mul", [x, x])
    x = fraction(c)
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


@reads("ops.Clip")
def clip(c: LayerCall) -> ir.Value:
    """Between two limits, which take the tensor's type."""
    low, high = argument(c, "x_min", 1), argument(c, "x_max", 2)
    name = type_of(c, c.x)
    x = typed(c, c.x, "int32" if name == "bool" else name)
    if isinstance(low, ir.Value) or isinstance(high, ir.Value):
        return c.op("Min", [c.op("Max", [x, typed(c, low, type_of(c, x))]), typed(c, high, type_of(c, x))])
    return c.op("Clip", [x, *(None if limit is None else c.like(limit, x) for limit in (low, high))])


@reads("ops.Cast")
def cast_op(c: LayerCall) -> ir.Value:
    """To another element type."""
    name = str(argument(c, "dtype", 1))
    held = holding.constant(c.x)
    if held is not None:
        return holding.constant_as(c, c.x, held.astype(numpy_type(c, name)))
    y = typed(c, c.x, name)
    return y if y is not c.x else c.op("Identity", [y])


@reads("ops.Matmul", "ops.Dot")
def matmul(c: LayerCall) -> ir.Value:
    """Matrix product; of 8-bit integers in 32 bits, of narrow ones at their own type."""
    name = promote(c, pair(c))
    short = 1 in (len(c.dims(v)) for v in pair(c) if isinstance(v, ir.Value))
    wide = "int32" if [type_of(c, v) for v in pair(c)] == ["int8", "int8"] and not short else name
    work = {"int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}.get(name, name)
    left, right = (typed(c, v, work) for v in pair(c))
    if c.layer.class_name == "Dot" and len(c.dims(right)) > 2:
        raise c.refuse("tensors of rank over 2")
    return typed(c, c.op("MatMul", [left, right]), wide)


@reads("ops.Einsum")
def einsum(c: LayerCall) -> ir.Value:
    """Any contraction."""
    equation = str(argument(c, "subscripts", 0)).replace(" ", "")
    values = [v for v in c.args if not isinstance(v, str)]
    name = promote(c, values)
    return c.op("Einsum", [typed(c, v, name) for v in values], {"equation": equation})


@reads("ops.Normalize")
def normalize(c: LayerCall) -> ir.Value:
    """x / L2 norm."""
    if argument(c, "order", 2, 2) != 2:
        raise c.refuse("norms other than L2")
    axes = c.const(axes_of(c, argument(c, "axis", 1, -1)))
    square = c.op("ReduceSum", [c.op("Mul", [c.x, c.x]), axes], {"keepdims": 1})
    epsilon = float(argument(c, "epsilon", 3) or 1e-7)
    return c.op("Div", [c.x, c.op("Sqrt", [c.op("Max", [square, c.like(epsilon**2, c.x)])])])
