"""Element by element: arithmetic, activations, comparisons, casts."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import onnx_ir as ir

from recast.formats._format import Finding
from recast.formats.mindspore.write import Arg, Ref, Writer, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.graph.view import attr, const, layer_of, static_shape

_FUNCTIONS = {
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Exp": "Exp",
    "Log": "Log",
    "Sqrt": "Sqrt",
    "Neg": "Neg",
    "Floor": "Floor",
    "Ceil": "Ceil",
    "Sin": "Sin",
    "Cos": "Cos",
    "Tan": "Tan",
    "Asin": "Asin",
    "Acos": "ACos",
    "Atan": "Atan",
    "Sinh": "Sinh",
    "Cosh": "Cosh",
    "Asinh": "Asinh",
    "Acosh": "Acosh",
    "Atanh": "Atanh",
    "Erf": "Erf",
    "Reciprocal": "Reciprocal",
    "Not": "LogicalNot",
    "HardSwish": "HSwish",
    "Add": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "Equal": "Equal",
    "Greater": "Greater",
    "Less": "Less",
    "GreaterOrEqual": "GreaterEqual",
    "LessOrEqual": "LessEqual",
    "And": "LogicalAnd",
    "Or": "LogicalOr",
    "Xor": "LogicalXor",
}
_PRIMITIVES = {
    "Softsign": "Softsign",
    "Mish": "Mish",
    "IsNaN": "IsNan",
    "BitwiseAnd": "BitwiseAnd",
    "BitwiseOr": "BitwiseOr",
    "BitwiseXor": "BitwiseXor",
    "BitwiseNot": "Invert",
    "Det": "MatrixDeterminant",
}


@writes(*_FUNCTIONS)
def function(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.fn(_FUNCTIONS[node.op_type], *node.inputs))


@writes(*_PRIMITIVES)
def primitive(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.prim(_PRIMITIVES[node.op_type], list(node.inputs)))


@writes("Identity", "Dropout")
def identity(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], value_of(node))
    if used(node, 1):  # the mask of Dropout: everything is kept when a network is used
        w.bind(node.outputs[1], w.cast(w.fn("OnesLike", value_of(node)), ir.DataType.BOOL))


@writes("Abs", "Sign")
def magnitude(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    if dtype_of(x).name.startswith("UINT"):  # MindSpore's kernels take signed numbers only
        w.bind(node.outputs[0], x if node.op_type == "Abs" else w.fn("Minimum", x, scalar(1, x)))
    else:
        w.bind(node.outputs[0], w.fn(node.op_type, x))


@writes("Pow")
def power(w: Writer, node: ir.Node) -> None:
    x, y = value_of(node), value_of(node, 1)
    base, exponent = dtype_of(x), dtype_of(y)
    if base == exponent:
        w.bind(node.outputs[0], w.fn("Pow", x, y))
    elif base.is_floating_point():
        w.bind(node.outputs[0], w.fn("Pow", x, w.cast(y, base)))
    else:
        double = ir.DataType.DOUBLE
        w.bind(node.outputs[0], w.cast(w.fn("Pow", w.cast(x, double), w.cast(y, double)), base))


@writes("BitShift")
def bit_shift(w: Writer, node: ir.Node) -> None:
    """A shift by less than 0 or by all bits leaves the sign; MindSpore's kernel does what the processor does."""
    x, by, right = value_of(node), value_of(node, 1), attr(node, "direction") == "RIGHT"
    bits, amounts = int(dtype_of(x).itemsize * 8), const(by)
    op = "RightShift" if right else "LeftShift"
    if amounts is not None and (amounts >= 0).all() and (amounts < bits).all():
        w.bind(node.outputs[0], w.prim(op, [x, by]))
        return
    signed = not dtype_of(x).name.startswith("UINT")
    fits = w.fn("Less", by, scalar(bits, by))
    if signed:
        fits = w.fn("LogicalAnd", fits, w.fn("GreaterEqual", by, scalar(0, by)))
    rest: Arg = w.prim("RightShift", [x, scalar(bits - 1, by)]) if right and signed else scalar(0, x)
    made = w.prim(op, [x, w.fn("Select", fits, by, scalar(0, by))])
    w.bind(node.outputs[0], w.fn("Select", fits, made, rest))


def value_of(node: ir.Node, index: int = 0) -> ir.Value:
    """An input that must be there."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise Refusal(f"input {index} is missing")
    return value


def used(node: ir.Node, index: int) -> bool:
    """Whether an output exists and somebody wants it."""
    if index >= len(node.outputs):
        return False
    return bool(node.outputs[index].uses()) or node.outputs[index].is_graph_output()


def dtype_of(value: ir.Value) -> ir.DataType:
    """The element type of a value."""
    if value.dtype is None:
        raise Refusal(f"the element type of {value.name} is not known")
    return value.dtype


@writes("Max", "Min", "Sum", "Mean")
def variadic(w: Writer, node: ir.Node) -> None:
    op = {"Max": "Maximum", "Min": "Minimum"}.get(node.op_type, "Add")
    args: list[Arg] = [v for v in node.inputs if v is not None]
    result = reduce(lambda a, b: w.fn(op, a, b), args)
    if node.op_type == "Mean" and len(args) > 1:
        result = w.fn("Mul", result, scalar(1 / len(args), value_of(node)))
    w.bind(node.outputs[0], result if isinstance(result, Ref) else value_of(node))


@writes("Round")
def round_(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], round_even(w, value_of(node)))


def round_even(w: Writer, value: Arg) -> Ref:
    """Round halves to even, as ONNX does."""
    return w.fn("Round", value, 0)


@writes("Tanh")
def tanh(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    if dtype_of(x) != ir.DataType.FLOAT:
        w.bind(node.outputs[0], w.fn("Tanh", x))
        return
    w.bind(node.outputs[0], exact_tanh(w, x))
    what = "Tanh is written through Expm1: MindSpore's own CPU kernel is up to 9e-5 off"
    if not any(f.what == what for f in w.findings):
        w.findings.append(Finding(what, layer_of(node)))


def exact_tanh(w: Writer, x: Arg) -> Ref:
    """tanh |x| = -e / (e + 2) with e = expm1(-2 |x|).

    MindSpore's CPU kernel is a rational approximation, 9e-5 off near |x| = 5.
    """
    e = w.fn("Expm1", w.fn("Mul", w.fn("Abs", x), np.asarray(-2.0, np.float32)))
    ratio = w.fn("Div", e, w.fn("Add", e, np.asarray(2.0, np.float32)))
    return w.fn("Neg", w.fn("Mul", w.fn("Sign", x), ratio))


@writes("Softplus")
def softplus(w: Writer, node: ir.Node) -> None:
    x = value_of(node)  # max(x, 0) + log(1 + exp(-|x|)) has no overflow
    small = w.fn("Log1p", w.fn("Exp", w.fn("Neg", w.fn("Abs", x))))
    w.bind(node.outputs[0], w.fn("Add", w.fn("ReLU", x), small))


@writes("Gelu")
def gelu(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    if attr(node, "approximate", "none") == "tanh":
        w.bind(node.outputs[0], w.fn("GeLU", x))
        return
    inner = w.fn("Erf", w.fn("Mul", x, scalar(math.sqrt(0.5), x)))
    half = w.fn("Mul", x, scalar(0.5, x))
    w.bind(node.outputs[0], w.fn("Mul", half, w.fn("Add", inner, scalar(1.0, x))))


@writes("Swish")
def swish(w: Writer, node: ir.Node) -> None:
    x, alpha = value_of(node), attr(node, "alpha", 1.0)
    inner: Arg = x if alpha == 1.0 else w.fn("Mul", x, scalar(alpha, x))
    w.bind(node.outputs[0], w.fn("Mul", x, w.fn("Sigmoid", inner)))


@writes("Elu", "Selu", "Celu")
def elu(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    alpha = attr(node, "alpha", 1.6732632 if node.op_type == "Selu" else 1.0)
    gamma = attr(node, "gamma", 1.0507010) if node.op_type == "Selu" else 1.0
    if node.op_type == "Elu" and alpha == 1.0:
        w.bind(node.outputs[0], w.fn("Elu", x, 1.0))
        return
    low: Arg = w.fn("Minimum", x, scalar(0.0, x))
    if node.op_type == "Celu":
        low = w.fn("Mul", low, scalar(1 / alpha, x))
    low = w.fn("Mul", w.fn("Expm1", low), scalar(alpha * gamma, x))
    high: Arg = w.fn("ReLU", x)
    if gamma != 1.0:
        high = w.fn("Mul", high, scalar(gamma, x))
    w.bind(node.outputs[0], w.fn("Add", high, low))


@writes("HardSigmoid")
def hard_sigmoid(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    line = w.fn("Mul", x, scalar(attr(node, "alpha", 0.2), x))
    line = w.fn("Add", line, scalar(attr(node, "beta", 0.5), x))
    w.bind(node.outputs[0], w.fn("Minimum", w.fn("Maximum", line, scalar(0.0, x)), scalar(1.0, x)))


@writes("Clip")
def clip(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    low = node.inputs[1] if len(node.inputs) > 1 else None
    high = node.inputs[2] if len(node.inputs) > 2 else None
    if dtype_of(x) == ir.DataType.FLOAT and _is(low, 0.0) and _is(high, 6.0):
        w.bind(node.outputs[0], w.fn("ReLU6", x))
        return
    result: Arg = x
    if low is not None:
        result = w.fn("Maximum", result, low)
    if high is not None:
        result = w.fn("Minimum", result, high)
    w.bind(node.outputs[0], result if isinstance(result, Ref) else x)


def _is(value: ir.Value | None, wanted: float) -> bool:
    array = const(value)
    return array is not None and array.size == 1 and float(array.reshape(())) == wanted


@writes("LeakyRelu")
def leaky_relu(w: Writer, node: ir.Node) -> None:
    x, alpha = value_of(node), attr(node, "alpha", 0.01)
    scaled = w.fn("Mul", x, scalar(alpha, x))
    if 0 <= alpha <= 1:
        w.bind(node.outputs[0], w.fn("Maximum", x, scaled))
    else:
        w.bind(node.outputs[0], w.fn("Select", w.fn("GreaterEqual", x, scalar(0.0, x)), x, scaled))


@writes("PRelu")
def prelu(w: Writer, node: ir.Node) -> None:
    x, slope = value_of(node), value_of(node, 1)
    shape, rank = static_shape(slope), len(x.shape or ())
    slopes = const(slope)
    if slopes is not None and shape is not None and dtype_of(x) == ir.DataType.FLOAT and rank >= 2:
        padded = (1,) * (rank - len(shape)) + shape
        if all(d == 1 for i, d in enumerate(padded) if i != 1):
            w.bind(node.outputs[0], w.fn("PReLU", x, w.weight(slope, slopes.reshape(-1))))
            return
    low = w.fn("Mul", w.fn("Minimum", x, scalar(0.0, x)), slope)
    w.bind(node.outputs[0], w.fn("Add", w.fn("Maximum", x, scalar(0.0, x)), low))


@writes("ThresholdedRelu")
def thresholded_relu(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    above = w.fn("Greater", x, scalar(attr(node, "alpha", 1.0), x))
    w.bind(node.outputs[0], w.fn("Mul", x, w.cast(above, dtype_of(x))))


@writes("Where")
def where(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.fn("Select", *node.inputs))


@writes("Cast", "CastLike")
def cast(w: Writer, node: ir.Node) -> None:
    wanted = ir.DataType(attr(node, "to")) if node.op_type == "Cast" else dtype_of(value_of(node, 1))
    w.bind(node.outputs[0], w.cast(value_of(node), wanted))


@writes("IsInf")
def is_inf(w: Writer, node: ir.Node) -> None:
    x, both = value_of(node), (attr(node, "detect_negative", 1), attr(node, "detect_positive", 1))
    if both == (1, 1):
        w.bind(node.outputs[0], w.fn("IsInf", x))
    elif sum(both) == 1:
        w.bind(node.outputs[0], w.fn("Equal", x, scalar(np.inf if both[1] else -np.inf, x)))
    else:
        w.bind(node.outputs[0], w.fn("Less", x, x))  # it detects neither: nothing
