"""Functions of several tensors that ONNX has no operator for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.reading.elementwise import is_float, like, promoted
from recast.graph.view import dims


def _factor(c: Call, index: int, x: ir.Value) -> ir.Value:
    """An argument at the type of another."""
    value = c.value(index)
    return value if value.dtype == x.dtype else c.b.op("Cast", [value], {"to": int(x.dtype or ir.DataType.FLOAT)})


@reads("Hypot")
def hypot(c: Call) -> ir.Value:
    a, b = promoted(c)
    return c.b.op("Sqrt", [c.b.op("Add", [c.b.op("Mul", [a, a]), c.b.op("Mul", [b, b])])])


@reads("Atan2")
def atan2(c: Call) -> ir.Value:
    """The angle of (x, y) in its quadrant: atan(y / x), turned by π where x is negative."""
    y, x = promoted(c)
    if not is_float(x):
        raise Refusal("angles of whole numbers")
    zero, half, whole = (like(c, n, x) for n in (0.0, np.pi / 2, np.pi))
    upright = c.b.op("Equal", [x, zero])
    narrow = c.b.op("Atan", [c.b.op("Div", [y, c.b.op("Where", [upright, like(c, 1.0, x), x])])])
    turn = c.b.op("Where", [c.b.op("Less", [y, zero]), c.b.op("Neg", [whole]), whole])
    wide = c.b.op("Where", [c.b.op("Less", [x, zero]), c.b.op("Add", [narrow, turn]), narrow])
    return c.b.op("Where", [upright, c.b.op("Mul", [half, c.b.op("Sign", [y])]), wide])


@reads("Lerp", "LerpScalar")
def lerp(c: Call) -> ir.Value:
    """a + weight · (b − a)."""
    a, b = promoted(c)
    return c.b.op("Add", [a, c.b.op("Mul", [_factor(c, 2, a), c.b.op("Sub", [b, a])])])


@reads("Addcmul", "Addcdiv")
def add_combined(c: Call) -> ir.Value:
    """x + factor · a · b, or x + factor · a / b."""
    x, a, b = c.value(0), c.value(1), c.value(2)
    if not x.dtype == a.dtype == b.dtype or not is_float(x):
        raise Refusal("tensors of several types, or of whole numbers")
    both = c.b.op("Mul" if c.op == "Addcmul" else "Div", [a, b])
    return c.b.op("Add", [x, c.b.op("Mul", [_factor(c, 3, x), both])])


@reads("Xlogy")
def x_log_y(c: Call) -> ir.Value:
    """x · log(y), 0 where x is 0."""
    x, y = promoted(c)
    zero = like(c, 0, x)
    return c.b.op("Where", [c.b.op("Equal", [x, zero]), zero, c.b.op("Mul", [x, c.b.op("Log", [y])])])


@reads("FastGeLU", "FastGelu")
def fast_gelu(c: Call) -> ir.Value:
    """x · sigmoid(1.702 x)."""
    x = c.value(0)
    return c.b.op("Mul", [x, c.b.op("Sigmoid", [c.b.op("Mul", [x, like(c, 1.702, x)])])])


@reads("MaskedFill")
def masked_fill(c: Call) -> ir.Value:
    """A value where the mask says so, else the tensor."""
    x = c.value(0)
    return c.b.op("Where", [c.value(1), _factor(c, 2, x), x])


@reads("Meshgrid")
def mesh(c: Call) -> tuple[ir.Value, ...]:
    """Each vector along its own axis, repeated along the others'; ``xy`` changes the first two axes."""
    lines = [c.reader.value(v) for v in c.args[0]] if isinstance(c.args[0], tuple) else []
    sizes = [d for v in lines for d in dims(v)]
    if not lines or len(sizes) != len(lines) or not all(isinstance(d, int) for d in sizes):
        raise Refusal("vectors whose sizes are not known")
    order = list(range(len(lines)))
    if c.arg("indexing", 1, "xy") in (1, "xy") and len(lines) > 1:
        order[:2] = [1, 0]
    full = [sizes[i] for i in order]
    grids = []
    for place, line in zip(order, lines, strict=True):
        ones = [1 if i != place else -1 for i in range(len(lines))]
        turned = c.b.op("Reshape", [line, c.b.const(ones, np.int64)])
        grids.append(c.b.op("Expand", [turned, c.b.const(full, np.int64)]))
    return tuple(grids)
