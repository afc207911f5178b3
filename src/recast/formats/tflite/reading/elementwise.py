"""Arithmetic, comparisons and functions of single elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.read_scope import data_type
from recast.formats.tflite.reading import reads

_UNARY = {
    "ABS": "Abs",
    "CEIL": "Ceil",
    "COS": "Cos",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "LOG": "Log",
    "NEG": "Neg",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "RELU": "Relu",
    "LOGISTIC": "Sigmoid",
    "TANH": "Tanh",
    "ELU": "Elu",
    "HARD_SWISH": "HardSwish",
    "LOGICAL_NOT": "Not",
}
_BINARY = {
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "DIV": "Div",
    "POW": "Pow",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or",
    "EQUAL": "Equal",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "BITWISE_XOR": "BitwiseXor",
}
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


@reads(*_UNARY)
def unary(c: Call) -> None:
    """One operator of the same meaning."""
    c.out(c.b.op(_UNARY[c.kind], [c.x(0)]))


@reads(*_BINARY)
def binary(c: Call) -> None:
    """Two inputs with NumPy broadcasting, then the fused activation."""
    value = c.b.op(_BINARY[c.kind], [c.x(0), c.x(1)])
    fused = c.kind in ("ADD", "SUB", "MUL", "DIV")
    if c.kind == "DIV" and c.tensor(0).dtype.startswith(("int", "uint")) and not c.tensor(0).is_quantised:
        c.tell("an integer division by zero is refused by LiteRT, here it is undefined")
    c.out(c.activate(value) if fused else value)
    if c.kind in ("ADD", "SUB", "MUL"):
        _fold_content(c)


def _fold_content(c: Call) -> None:
    left, right = (_content(c, n) for n in (0, 1))
    if left is None or right is None or not c.tensor(0).dtype.startswith("int") or c.tensor(0).is_quantised:
        return
    first, second = ([v for v in side if isinstance(v, int) and abs(v) < 1 << 31] for side in (left, right))
    if len(first) == len(second) == len(left) == len(right):
        pairs = list(zip(first, second, strict=True))
        if c.kind == "MUL":
            c.scope.contents[c.output(0)] = [a * b for a, b in pairs]
        else:
            c.scope.contents[c.output(0)] = [a + (b if c.kind == "ADD" else -b) for a, b in pairs]


def _content(c: Call, number: int) -> list[int | str] | None:
    if c.index(number) in c.scope.contents:
        return c.scope.contents[c.index(number)]
    data = c.tensor(number).data
    if data is None or data.dtype.kind not in "iu" or data.size > 64:
        return None
    return [int(v) for v in data.reshape(-1)]


@reads("NOT_EQUAL")
def not_equal(c: Call) -> None:
    """The negation of Equal."""
    c.out(c.b.op("Not", [c.b.op("Equal", [c.x(0), c.x(1)])]))


@reads(*_CLIPS)
def clip(c: Call) -> None:
    """Limits as scalar constants."""
    c.out(c.clip(c.x(0), *_CLIPS[c.kind]))


@reads("LEAKY_RELU")
def leaky_relu(c: Call) -> None:
    """One slope for all."""
    c.out(c.b.op("LeakyRelu", [c.x(0)], {"alpha": float(c.opt("alpha"))}))


@reads("PRELU")
def prelu(c: Call) -> None:
    """Slopes broadcast against the channels-last input."""
    c.out(c.b.op("PRelu", [c.x(0), c.weight(1, "slope")]))


@reads("GELU")
def gelu(c: Call) -> None:
    """Exact, or the tanh approximation."""
    c.out(c.b.op("Gelu", [c.x(0)], {"approximate": "tanh" if c.opt("approximate") else "none"}))


@reads("RSQRT")
def rsqrt(c: Call) -> None:
    """1 / √x."""
    c.out(c.b.op("Reciprocal", [c.b.op("Sqrt", [c.x(0)])]))


@reads("SQUARE")
def square(c: Call) -> None:
    """x · x."""
    c.out(c.b.op("Mul", [c.x(0), c.x(0)]))


@reads("SQUARED_DIFFERENCE")
def squared_difference(c: Call) -> None:
    """(a − b)²."""
    difference = c.b.op("Sub", [c.x(0), c.x(1)])
    c.out(c.b.op("Mul", [difference, difference]))


@reads("FLOOR_DIV")
def floor_div(c: Call) -> None:
    """⌊a / b⌋; for integers the quotient cut towards zero, less one where the remainder's sign differs."""
    left, right = c.x(0), c.x(1)
    quotient = c.b.op("Div", [left, right])
    if left.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        c.out(c.b.op("Floor", [quotient]))
        return
    remainder = c.b.op("Mod", [left, right])  # has the divisor's sign
    c.out(c.b.op("Div", [c.b.op("Sub", [left, remainder]), right]))


@reads("FLOOR_MOD")
def floor_mod(c: Call) -> None:
    """The remainder with the divisor's sign: a − ⌊a / b⌋ · b for floats."""
    left, right = c.x(0), c.x(1)
    if left.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        c.out(c.b.op("Mod", [left, right]))
        return
    zero = c.b.const(0.0, np.float32)
    cut = c.b.op("Mod", [left, right], {"fmod": 1})  # has the dividend's sign
    opposite = c.b.op("Less", [c.b.op("Mul", [cut, right]), zero])
    c.out(c.b.op("Where", [opposite, c.b.op("Add", [cut, right]), cut]))


@reads("ADD_N")
def add_n(c: Call) -> None:
    """The sum of all inputs."""
    c.out(c.b.op("Sum", [c.x(i) for i in range(c.count)]))


@reads("SELECT", "SELECT_V2")
def select(c: Call) -> None:
    """Where; SELECT's vector condition chooses along the first axis."""
    condition = c.x(0)
    if c.kind == "SELECT" and c.rank(0) == 1 and c.rank(1) > 1:
        condition = c.reshape(condition, [-1, *[1] * (c.rank(1) - 1)])
    c.out(c.b.op("Where", [condition, c.x(1), c.x(2)]))


@reads("CAST")
def cast(c: Call) -> None:
    """To the output tensor's type; floats are cut towards zero."""
    wanted = data_type(c.scope.tensor(c.output(0)).dtype)
    if c.tensor(0).is_quantised:
        raise UnsupportedOp("CAST of quantised integers")
    c.out_raw(c.cast(c.raw(0), wanted))
    if c.index(0) in c.scope.contents and wanted in (ir.DataType.INT32, ir.DataType.INT64):
        c.scope.contents[c.output(0)] = c.scope.contents[c.index(0)]


@reads("SOFTMAX")
def softmax(c: Call) -> None:
    """exp(β·x) over the last axis, normalised."""
    value, beta = c.x(0), float(c.opt("beta"))
    if beta != 1.0:
        value = c.b.op("Mul", [value, c.b.const(beta, np.float32, "beta")])
    c.out(c.b.op("Softmax", [value], {"axis": -1}))


@reads("LOG_SOFTMAX")
def log_softmax(c: Call) -> None:
    """Over the last axis."""
    c.out(c.b.op("LogSoftmax", [c.x(0)], {"axis": -1}))


@reads("ZEROS_LIKE")
def zeros_like(c: Call) -> None:
    """Zeros of the same shape."""
    value = c.x(0)
    c.out(c.b.op("ConstantOfShape", [c.b.op("Shape", [value])], {"value": c.zeros(value)}))


@reads("ATAN2")
def atan2(c: Call) -> None:
    """The angle of (x, y); over 1, or where only the quotient counts, it is Atan."""
    y, x = c.x(0), c.x(1)
    held = c.array(1)
    if held is not None and np.all(held == 1):
        c.out(c.b.op("Atan", [y]))
        return
    kind = (x.dtype or ir.DataType.FLOAT).numpy()
    zero, half, whole = (c.b.const(np.array(v, kind), kind, "angle") for v in (0, np.pi / 2, np.pi))
    upright = c.b.op("Mul", [half, c.b.op("Sign", [y])])
    narrow = c.b.op("Atan", [c.b.op("Div", [y, x])])
    below = c.b.op("Less", [y, zero])
    turn = c.b.op("Where", [below, c.b.op("Neg", [whole]), whole])
    beside = c.b.op("Where", [c.b.op("Less", [x, zero]), c.b.op("Add", [narrow, turn]), narrow])
    c.out(c.b.op("Where", [c.b.op("Equal", [x, zero]), upright, beside]))
