"""Element by element: arithmetic, activations, comparisons, casts."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.types import TYPE_IDS
from recast.graph.integers import floor_divide

_SAME = {
    "ReLU": "Relu",
    "Sigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "Exp": "Exp",
    "Log": "Log",
    "Sqrt": "Sqrt",
    "Abs": "Abs",
    "Floor": "Floor",
    "Ceil": "Ceil",
    "Sign": "Sign",
    "Sin": "Sin",
    "Cos": "Cos",
    "Tan": "Tan",
    "Asin": "Asin",
    "ACos": "Acos",
    "Atan": "Atan",
    "Sinh": "Sinh",
    "Cosh": "Cosh",
    "Asinh": "Asinh",
    "Acosh": "Acosh",
    "Atanh": "Atanh",
    "Erf": "Erf",
    "Reciprocal": "Reciprocal",
    "LogicalNot": "Not",
    "HSwish": "HardSwish",
    "Softsign": "Softsign",
    "Softplus": "Softplus",
    "Mish": "Mish",
    "SeLU": "Selu",
    "SeLUExt": "Selu",
    "IsNan": "IsNaN",
    "IsInf": "IsInf",
}
_RISING = (  # what MindSpore converts to each other
    *(ir.DataType.BOOL, ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64),
    *(ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE),
)
_BINARY = {
    "Add": "Add",
    "Adds": "Add",
    "Sub": "Sub",
    "Subs": "Sub",
    "Mul": "Mul",
    "Muls": "Mul",
    "Div": "Div",
    "Divs": "Div",
    "RealDiv": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Pow": "Pow",
    "Equal": "Equal",
    "Greater": "Greater",
    "Less": "Less",
    "GreaterEqual": "GreaterOrEqual",
    "LessEqual": "LessOrEqual",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "LogicalXor": "Xor",
    "BitwiseAnd": "BitwiseAnd",
    "BitwiseOr": "BitwiseOr",
    "BitwiseXor": "BitwiseXor",
}


def is_float(value: ir.Value) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return value.dtype is not None and value.dtype.is_floating_point()


def like(c: Call, number: float, value: ir.Value) -> ir.Value:
    """A scalar constant of another value's element type."""
    dtype = value.dtype or ir.DataType.FLOAT
    return c.b.const(np.asarray(number, dtype.numpy()))


def promoted(c: Call) -> list[ir.Value]:
    """The first two arguments at one element type, as MindSpore converts them: to floats, to the wider one."""
    held = list(c.args[:2])
    for i, (one, other) in enumerate(zip(held, held[::-1], strict=True)):
        if isinstance(one, float) and isinstance(other, ir.Value) and not is_float(other):
            held[i] = np.asarray(one, np.float32)
    kinds = [v.dtype if isinstance(v, ir.Value) else None for v in held]
    a, b = (c.reader.value(v, kind) for v, kind in zip(held, kinds[::-1], strict=True))
    if a.dtype == b.dtype or a.dtype is None or b.dtype is None:
        return [a, b]
    wide = _wider(a.dtype, b.dtype)
    return [
        v if v.dtype == wide
        else c.b.const(given.astype(wide.numpy())) if isinstance(given, np.ndarray)
        else c.b.op("Cast", [v], {"to": int(wide)})
        for given, v in zip(held, (a, b), strict=True)
    ]  # fmt: skip


def _wider(a: ir.DataType, b: ir.DataType) -> ir.DataType:
    if a.is_floating_point() != b.is_floating_point():
        return a if a.is_floating_point() else b
    if a not in _RISING or b not in _RISING:
        raise Refusal(f"it mixes {a} and {b}")
    return max(a, b, key=_RISING.index)


@reads(*_SAME)
def same(c: Call) -> ir.Value:
    return c.b.op(_SAME[c.op], [c.value(0)])


@reads(*_BINARY)
def binary(c: Call) -> ir.Value:
    a, b = promoted(c)
    if c.op in ("Div", "Divs", "RealDiv") and not is_float(a):
        raise Refusal("a true division of whole numbers")
    return c.b.op(_BINARY[c.op], [a, b])


@reads("Neg")
def negative(c: Call) -> ir.Value:
    """ONNX's Neg takes no unsigned numbers: they wrap around below 0."""
    x = c.value(0)
    if x.dtype is not None and x.dtype.is_integer() and not x.dtype.is_signed():
        return c.b.op("Sub", [like(c, 0, x), x])
    return c.b.op("Neg", [x])


@reads("NotEqual")
def not_equal(c: Call) -> ir.Value:
    return c.b.op("Not", [c.b.op("Equal", promoted(c))])


@reads("Square")
def square(c: Call) -> ir.Value:
    return c.b.op("Mul", [c.value(0), c.value(0)])


@reads("Rsqrt")
def rsqrt(c: Call) -> ir.Value:
    return c.b.op("Reciprocal", [c.b.op("Sqrt", [c.value(0)])])


@reads("Log1p")
def log1p(c: Call) -> ir.Value:
    return c.b.op("Log", [c.b.op("Add", [c.value(0), like(c, 1, c.value(0))])])


@reads("Expm1")
def expm1(c: Call) -> ir.Value:
    return c.b.op("Sub", [c.b.op("Exp", [c.value(0)]), like(c, 1, c.value(0))])


@reads("Erfc")
def erfc(c: Call) -> ir.Value:
    return c.b.op("Sub", [like(c, 1, c.value(0)), c.b.op("Erf", [c.value(0)])])


@reads("IsFinite")
def is_finite(c: Call) -> ir.Value:
    x = c.value(0)
    return c.b.op("Not", [c.b.op("Or", [c.b.op("IsNaN", [x]), c.b.op("IsInf", [x])])])


@reads("Trunc")
def trunc(c: Call) -> ir.Value:
    return truncated(c, c.value(0))


def truncated(c: Call, x: ir.Value) -> ir.Value:
    """Round towards zero."""
    return c.b.op("Mul", [c.b.op("Sign", [x]), c.b.op("Floor", [c.b.op("Abs", [x])])])


@reads("Round")
def round_(c: Call) -> ir.Value:
    if c.number("decimals", 1, 0) != 0:
        raise Refusal("rounding to decimals")
    return c.b.op("Round", [c.value(0)])


def floor_divided(c: Call, a: ir.Value, b: ir.Value) -> ir.Value:
    """Division rounded down: whole numbers without passing through floats."""
    if is_float(a):
        return c.b.op("Floor", [c.b.op("Div", [a, b])])
    return floor_divide(c.b, a, b)


@reads("FloorDiv")
def floor_div(c: Call) -> ir.Value:
    return floor_divided(c, c.value(0), c.value(1))


@reads("DivMod")
def div_mod(c: Call) -> ir.Value:
    a, b, mode = c.value(0), c.value(1), c.arg("rounding_mode", 2, None)
    if mode == 2:
        return floor_divided(c, a, b)
    quotient = c.b.op("Div", [a, b])
    if mode == 1:
        return truncated(c, quotient) if is_float(a) else quotient
    raise Refusal(f"rounding mode {mode}")


@reads("FloorMod")
def floor_mod(c: Call) -> ir.Value:
    a, b = c.value(0), c.value(1)
    if not is_float(a):
        return c.b.op("Mod", [a, b])
    return c.b.op("Sub", [a, c.b.op("Mul", [c.b.op("Floor", [c.b.op("Div", [a, b])]), b])])


@reads("Mod")
def mod(c: Call) -> ir.Value:
    return c.b.op("Mod", [c.value(0), c.value(1)], {"fmod": 1})


@reads("ReLU6")
def relu6(c: Call) -> ir.Value:
    x = c.value(0)
    return c.b.op("Clip", [x, like(c, 0, x), like(c, 6, x)])


@reads("ClampScalar", "ClampTensor")
def clamp(c: Call) -> ir.Value:
    x = c.value(0)
    limits: list[ir.Value | None] = []
    for name, index in (("min", 1), ("max", 2)):
        held = c.arg(name, index, None)
        if isinstance(held, ir.Value) and held.shape is not None and len(held.shape):
            raise Refusal("its limits are tensors")
        limits.append(None if held is None else c.reader.value(held, x.dtype))
    return c.b.op("Clip", [x, *limits])


@reads("HSigmoid")
def hard_sigmoid(c: Call) -> ir.Value:
    return c.b.op("HardSigmoid", [c.value(0)], {"alpha": 1 / 6, "beta": 0.5})


@reads("SiLU")
def silu(c: Call) -> ir.Value:
    return c.b.op("Mul", [c.value(0), c.b.op("Sigmoid", [c.value(0)])])


@reads("GeLU")
def gelu(c: Call) -> ir.Value:
    return c.b.op("Gelu", [c.value(0)], {"approximate": "tanh"})


@reads("LeakyReLU", "LeakyReLUExt")
def leaky_relu(c: Call) -> ir.Value:
    name = "alpha" if c.op == "LeakyReLU" else "negative_slope"
    return c.b.op("LeakyRelu", [c.value(0)], {"alpha": float(c.arg(name, 1, 0.01))})


@reads("Elu", "CeLU")
def elu(c: Call) -> ir.Value:
    return c.b.op("Elu" if c.op == "Elu" else "Celu", [c.value(0)], {"alpha": float(c.arg("alpha", 1, 1.0))})


@reads("HShrink", "SoftShrink")
def shrink(c: Call) -> ir.Value:
    limit = float(c.arg("lambd", 1, 0.5))
    return c.b.op("Shrink", [c.value(0)], {"lambd": limit, "bias": limit if c.op == "SoftShrink" else 0.0})


@reads("PReLU")
def prelu(c: Call) -> ir.Value:
    x, slope = c.value(0), c.value(1)
    spatial = len(x.shape or ()) - 2
    if spatial > 0 and slope.shape is not None and slope.shape != ir.Shape([1]):
        slope = c.b.op("Reshape", [slope, c.b.const([-1, *[1] * spatial])])
    return c.b.op("PRelu", [x, slope])


@reads("Select", "Where")
def select(c: Call) -> ir.Value:
    return c.b.op("Where", [c.value(0), c.value(1), c.value(2)])


@reads("Cast")
def cast(c: Call) -> ir.Value:
    wanted: Any = c.arg("dtype", 1, None)
    if not isinstance(wanted, int) or wanted not in TYPE_IDS:
        raise Refusal("the element type it gives is not known")
    return c.b.op("Cast", [c.value(0)], {"to": int(TYPE_IDS[wanted])})
