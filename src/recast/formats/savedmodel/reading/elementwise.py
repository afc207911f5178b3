"""Arithmetic, comparisons and functions of single elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.following import batch_normalised
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Held, Thing

_UNARY = {
    **{n: n for n in ("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu", "Erf")},
    **{n: n for n in ("Exp", "Floor", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Sinh")},
    **{n: n for n in ("Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "Log")},
    **{"IsInf": "IsInf", "IsNan": "IsNaN", "LogicalNot": "Not", "Inv": "Reciprocal", "Invert": "BitwiseNot"},
    **{"Rint": "Round"},
}
_BINARY = {
    **{"AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Pow": "Pow", "Maximum": "Max", "Minimum": "Min"},
    **{"LogicalAnd": "And", "LogicalOr": "Or", "Equal": "Equal", "Less": "Less", "LessEqual": "LessOrEqual"},
    **{"Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "BitwiseAnd": "BitwiseAnd", "BitwiseOr": "BitwiseOr"},
    **{"BitwiseXor": "BitwiseXor", "Add": "Add", "LogicalXor": "Xor"},
}
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@reads(*_UNARY)
def unary(c: Call) -> None:
    """One operator of the same meaning."""
    if c.kind == "Selu":  # TensorFlow's constants have more digits than ONNX's defaults
        c.out(c.op("Selu", [c.x(0)], alpha=1.6732632423543772, gamma=1.0507009873554805))
        return
    c.out(c.op(_UNARY[c.kind], [c.x(0)]))


@reads("Round")
def round_(c: Call) -> None:
    """To the nearest, halves to even; integers stay."""
    c.out(c.op("Round", [c.x(0)]) if c.dtype(0) in _FLOATS else c.thing(0))


@reads(*_BINARY)
def binary(c: Call) -> None:
    """Two inputs with NumPy's broadcasting."""
    if c.node.name in c.scope.absorbed:
        c.out(c.thing(0) if isinstance(c.given[0], ir.Value) else c.thing(1))
        return
    if c.kind in ("Add", "AddV2"):
        made = batch_normalised(c)
        if made is not None:
            c.out(made)
            return
    if c.kind == "Mul" and any(_is_one(t) for t in c.given):  # the factor that Keras writes into every swish
        c.out(c.thing(1 if _is_one(c.thing(0)) else 0))
        return
    if c.kind == "Equal" and not c.flag("incompatible_shape_error", True):
        raise UnsupportedOp("Equal of tensors whose shapes may not fit")
    c.out(c.op(_BINARY[c.kind], [c.x(0), c.x(1)]))


def _is_one(thing: Thing) -> bool:
    return isinstance(thing, Held) and thing.array.ndim == 0 and bool(thing.array == 1)


@reads("NotEqual")
def not_equal(c: Call) -> None:
    """The negation of Equal."""
    if not c.flag("incompatible_shape_error", True):
        raise UnsupportedOp("NotEqual of tensors whose shapes may not fit")
    c.out(c.op("Not", [c.op("Equal", [c.x(0), c.x(1)])]))


@reads("BiasAdd", "BiasAddV1")
def bias_add(c: Call) -> None:
    """A vector for the channels; nothing is left to do where the convolution took it."""
    if c.node.name in c.scope.absorbed:
        c.out(c.thing(0))
        return
    channels_first = c.kind == "BiasAdd" and str(c.attr("data_format", "NHWC")).startswith("NC")
    c.rank(1, 1)
    bias = c.weight(1, "bias")
    if channels_first and c.rank(0) > 2:
        bias = c.reshape(bias, [-1, *[1] * (c.rank(0) - 2)])
    c.out(c.op("Add", [c.x(0), bias]))


@reads("AddN", "AccumulateNV2")
def add_n(c: Call) -> None:
    """The sum of all inputs."""
    if c.dtype(0) in _FLOATS:
        c.out(c.op("Sum", c.all()))
        return
    total = c.x(0)
    for number in range(1, c.count):
        total = c.op("Add", [total, c.x(number)])
    c.out(total)


@reads("Relu6", "ClipByValue")
def clip(c: Call) -> None:
    """Limits; vectors of limits are compared element by element."""
    value = c.x(0)
    low, high = (c.ones(value, 0), c.ones(value, 6)) if c.kind == "Relu6" else (c.x(1), c.x(2))
    if c.kind == "Relu6" or (c.rank(1) == 0 and c.rank(2) == 0):
        c.out(c.op("Clip", [value, low, high]))
    else:
        c.out(c.op("Max", [c.op("Min", [value, high]), low]))


@reads("LeakyRelu")
def leaky_relu(c: Call) -> None:
    """One slope for all."""
    c.out(c.op("LeakyRelu", [c.x(0)], alpha=float(c.attr("alpha", 0.2))))


@reads("Rsqrt")
def rsqrt(c: Call) -> None:
    """1 / √x."""
    c.out(c.op("Reciprocal", [c.op("Sqrt", [c.x(0)])]))


@reads("Square")
def square(c: Call) -> None:
    """x · x."""
    c.out(c.op("Mul", [c.x(0), c.x(0)]))


@reads("SquaredDifference")
def squared_difference(c: Call) -> None:
    """(a − b)²."""
    difference = c.op("Sub", [c.x(0), c.x(1)])
    c.out(c.op("Mul", [difference, difference]))


@reads("IsFinite")
def is_finite(c: Call) -> None:
    """Neither infinite nor NaN."""
    value = c.x(0)
    c.out(c.op("Not", [c.op("Or", [c.op("IsInf", [value]), c.op("IsNaN", [value])])]))


@reads("Erfc")
def erfc(c: Call) -> None:
    """1 − erf(x)."""
    value = c.x(0)
    c.tell("erfc is computed as 1 − erf, which is exact to the type's rounding but not relatively for large inputs")
    c.out(c.op("Sub", [c.ones(value), c.op("Erf", [value])]))


@reads("Log1p")
def log1p(c: Call) -> None:
    """log(u) · x / (u − 1) with u = 1 + x, exact for small x (Kahan; Higham 2002, section 1.14.1)."""
    value = c.x(0)
    one = c.ones(value)
    shifted = c.op("Add", [value, one])
    rest = c.op("Sub", [shifted, one])
    exact = c.op("Or", [c.op("Equal", [shifted, one]), c.op("IsInf", [shifted])])
    safe = c.op("Where", [exact, one, rest])
    scaled = c.op("Div", [c.op("Mul", [c.op("Log", [shifted]), value]), safe])
    plain = c.op("Where", [c.op("IsInf", [shifted]), shifted, value])
    c.out(c.op("Where", [exact, plain, scaled]))


@reads("Expm1")
def expm1(c: Call) -> None:
    """exp(x) − 1; near zero 2·tanh(x/2) / (1 − tanh(x/2)), which is the same without cancellation."""
    value = c.x(0)
    one, half = c.ones(value), c.ones(value, 0.5)
    small = c.op("Less", [c.op("Abs", [value]), half])
    inner = c.op("Where", [small, value, c.ones(value, 0)])
    tanh = c.op("Tanh", [c.op("Mul", [inner, half])])
    near = c.op("Div", [c.op("Add", [tanh, tanh]), c.op("Sub", [one, tanh])])
    c.out(c.op("Where", [small, near, c.op("Sub", [c.op("Exp", [value]), one])]))


@reads("Div", "TruncateDiv")
def div(c: Call) -> None:
    """Integers are divided towards zero, as in ONNX."""
    value = c.op("Div", [c.x(0), c.x(1)])
    c.out(c.op("Trunc", [value]) if c.kind == "TruncateDiv" and c.dtype(0) in _FLOATS else value)


@reads("DivNoNan", "MulNoNan", "Xdivy", "Xlogy", "Xlog1py")
def no_nan(c: Call) -> None:
    """Zero where one side is zero, whatever the other is."""
    left, right = c.x(0), c.x(1)
    zero, one = c.ones(left, 0), c.ones(left)
    side = right if c.kind in ("DivNoNan", "MulNoNan") else left
    empty = c.op("Equal", [side, zero])
    if c.kind == "DivNoNan":
        value = c.op("Div", [left, c.op("Where", [empty, one, right])])
    elif c.kind == "MulNoNan":
        value = c.op("Mul", [left, right])
    elif c.kind == "Xdivy":
        value = c.op("Div", [left, right])
    else:
        inner = right if c.kind == "Xlogy" else c.op("Add", [right, one])
        value = c.op("Mul", [left, c.op("Log", [inner])])
    c.out(c.op("Where", [empty, zero, value]))


@reads("FloorDiv")
def floor_div(c: Call) -> None:
    """⌊a / b⌋; for integers by way of the remainder, which has the divisor's sign."""
    left, right = c.x(0), c.x(1)
    if c.dtype(0) in _FLOATS:
        c.out(c.op("Floor", [c.op("Div", [left, right])]))
        return
    remainder = c.op("Mod", [left, right])
    c.out(c.op("Div", [c.op("Sub", [left, remainder]), right]))


@reads("FloorMod", "Mod", "TruncateMod")
def mod(c: Call) -> None:
    """The remainder with the sign of the divisor (FloorMod), or of the dividend."""
    left, right = c.x(0), c.x(1)
    if c.kind != "FloorMod":
        c.out(c.op("Mod", [left, right], fmod=1))
        return
    if c.dtype(0) not in _FLOATS:
        c.out(c.op("Mod", [left, right]))
        return
    zero = c.ones(left, 0)
    cut = c.op("Mod", [left, right], fmod=1)
    opposite = c.op("Less", [c.op("Mul", [c.op("Sign", [cut]), c.op("Sign", [right])]), zero])
    c.out(c.op("Where", [opposite, c.op("Add", [cut, right]), cut]))


@reads("Atan2")
def atan2(c: Call) -> None:
    """The angle of (x, y) in its quadrant: atan(y/x), turned by ±π where x is negative."""
    y, x = c.x(0), c.x(1)
    zero, one = c.ones(x, 0), c.ones(x)
    on_axis = c.op("Equal", [x, zero])
    plain = c.op("Atan", [c.op("Div", [y, c.op("Where", [on_axis, one, x])])])
    turn = c.op("Where", [c.op("Less", [y, zero]), c.ones(x, -np.pi), c.ones(x, np.pi)])
    turned = c.op("Where", [c.op("Less", [x, zero]), c.op("Add", [plain, turn]), plain])
    upright = c.op("Mul", [c.op("Sign", [y]), c.ones(x, np.pi / 2)])
    c.out(c.op("Where", [on_axis, upright, turned]))


@reads("LeftShift", "RightShift")
def shift(c: Call) -> None:
    """Bits of unsigned integers."""
    if not (c.dtype(0).name or "").startswith("UINT"):
        raise UnsupportedOp("shifts of signed integers")
    c.out(c.op("BitShift", [c.x(0), c.x(1)], direction="LEFT" if c.kind == "LeftShift" else "RIGHT"))


@reads("ApproximateEqual")
def approximate_equal(c: Call) -> None:
    """|a − b| below a tolerance."""
    left = c.x(0)
    gap = c.op("Abs", [c.op("Sub", [left, c.x(1)])])
    c.out(c.op("Less", [gap, c.ones(left, float(c.attr("tolerance", 1e-5)))]))


@reads("Select", "SelectV2")
def select(c: Call) -> None:
    """Where; Select's vector condition chooses along the first axis."""
    condition = c.x(0)
    if c.kind == "Select" and c.rank(0) == 1 and c.rank(1) > 1:
        condition = c.reshape(condition, [-1, *[1] * (c.rank(1) - 1)])
    c.out(c.op("Where", [condition, c.x(1), c.x(2)]))


@reads("ZerosLike", "OnesLike")
def like(c: Call) -> None:
    """Zeros or ones of the same shape."""
    value = c.x(0)
    filled = ir.Tensor(np.full(1, c.kind == "OnesLike", c.dtype(0).numpy()))
    c.out(c.op("ConstantOfShape", [c.op("Shape", [value])], value=filled))


@reads("Softmax", "LogSoftmax")
def softmax(c: Call) -> None:
    """Over the last axis."""
    c.out(c.op(c.kind, [c.x(0)], axis=-1))
