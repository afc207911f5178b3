"""Arithmetic and activations, number by number."""

from __future__ import annotations

import numpy as np

from recast.formats.openvino.call import Call
from recast.formats.openvino.reading import reads

_SAME = {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Maximum": "Max", "Minimum": "Min",
    "ReLU": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt",
    "Abs": "Abs", "Negative": "Neg", "Floor": "Floor", "Ceiling": "Ceil", "Erf": "Erf", "Identity": "Identity",
    "HSwish": "HardSwish", "Mish": "Mish",
}  # fmt: skip
_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")


def _is_float(c: Call) -> bool:
    dtype = c.x(0).dtype
    return dtype is not None and dtype.name in _FLOATS


@reads(*_SAME)
def same(c: Call) -> None:
    """Operators that ONNX has under another name."""
    c.out(c.b.op(_SAME[c.layer.kind], c.xs()))


@reads("Divide")
def divide(c: Call) -> None:
    """Floats only: integers are rounded towards minus infinity or zero, as an attribute says."""
    c.flag("m_pythondiv", True)
    if not _is_float(c):
        raise c.cannot("a division of integers")
    c.out(c.b.op("Div", c.xs()))


@reads("Power")
def power(c: Call) -> None:
    """x ^ y of floats."""
    if not _is_float(c):
        raise c.cannot("a power of integers")
    c.out(c.b.op("Pow", c.xs()))


@reads("PReLU")
def prelu(c: Call) -> None:
    """A slope with one dimension counts along the channels (axis 1), or for all numbers if it has one element."""
    slope, rank = c.x(1), c.rank(0)
    if c.rank(1) == 1 and rank > 1:
        held = c.const(1)
        shape = (1,) * rank if held.size == 1 else (1, -1, *(1,) * (rank - 2))
        slope = c.b.weight(f"{c.layer.name}/slope", held.reshape(shape[1:]))
    c.out(c.b.op("PRelu", [c.x(0), slope]))


@reads("Clamp")
def clamp(c: Call) -> None:
    """Between two numbers. Floats only."""
    dtype = c.x(0).dtype
    if dtype is None or not _is_float(c):
        raise c.cannot("a Clamp of integers")
    ends = [c.b.const(np.asarray(c.number(n), dtype.numpy())) for n in ("min", "max")]
    c.out(c.b.op("Clip", [c.x(0), *ends]))


@reads("Elu")
def elu(c: Call) -> None:
    """x, or α (exp(x) − 1) below zero."""
    c.out(c.b.op("Elu", [c.x(0)], {"alpha": c.number("alpha")}))


@reads("SoftMax", "Softmax")
def softmax(c: Call) -> None:
    """Along one axis."""
    c.out(c.b.op("Softmax", [c.x(0)], {"axis": int(c.text("axis", "1"))}))
