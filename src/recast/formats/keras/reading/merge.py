"""Layers that join tensors."""

from __future__ import annotations

from functools import reduce

import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads

_NODES = {"Add": "Add", "Multiply": "Mul", "Maximum": "Max", "Minimum": "Min"}


def aligned(c: LayerCall) -> list[ir.Value]:
    """The tensors at one rank: Keras adds axes after the batch to the smaller ones."""
    values = c.tensors
    rank = max(len(c.dims(v)) for v in values)
    out = []
    for value in values:
        lack = rank - len(c.dims(value))
        out.append(c.op("Unsqueeze", [value, c.const(list(range(1, 1 + lack)))]) if lack else value)
    return out


@reads("Add", "Multiply", "Maximum", "Minimum")
def fold(c: LayerCall) -> ir.Value:
    """Elementwise over all tensors, two by two."""
    op_type = _NODES[c.layer.class_name]
    values = aligned(c)
    if len(values) == 1:
        return c.op("Identity", values)
    return reduce(lambda a, b: c.op(op_type, [a, b]), values)


@reads("Subtract")
def subtract(c: LayerCall) -> ir.Value:
    """First minus second."""
    values = aligned(c)
    if len(values) != 2:
        raise c.refuse(f"{len(values)} tensors, 2 wanted")
    return c.op("Sub", values)


@reads("Average")
def average(c: LayerCall) -> ir.Value:
    """Mean of all tensors."""
    values = aligned(c)
    total = reduce(lambda a, b: c.op("Add", [a, b]), values)
    return c.op("Div", [total, c.like(float(len(values)), total)])


@reads("CustomScaleLayer")
def scaled_residual(c: LayerCall) -> ir.Value:
    """First + scale · second (keras.applications InceptionResNetV2)."""
    first, second = c.tensors
    return c.op("Add", [first, c.op("Mul", [second, c.like(float(c.get("scale", 1.0)), second)])])


@reads("Concatenate")
def concatenate(c: LayerCall) -> ir.Value:
    """Along ``axis``."""
    return c.op("Concat", c.tensors, {"axis": int(c.get("axis", -1)) % c.rank})


@reads("Dot")
def dot(c: LayerCall) -> ir.Value:
    """Contract one axis of each tensor; the batch is shared. (N, a…, k) · (N, k, b…) → (N, a…, b…)."""
    left, right = c.tensors
    axes = c.get("axes")
    first, second = (axes, axes) if isinstance(axes, int) else axes
    if c.get("normalize", False):
        left, right = (_unit(c, v, a) for v, a in ((left, first), (right, second)))
    ranks = [len(c.dims(v)) for v in (left, right)]
    first, second = first % ranks[0], second % ranks[1]
    if max(ranks) > 3 or 0 in (first, second) or min(ranks) < 2:
        raise c.refuse(f"ranks {ranks} with axes {axes}")
    if ranks == [2, 2]:
        return c.op("ReduceSum", [c.op("Mul", [left, right]), c.const([1])], {"keepdims": 1})
    a = c.op("Unsqueeze", [left, c.const([1])]) if ranks[0] == 2 else left
    if ranks[0] == 3 and first == 1:
        a = c.op("Transpose", [a], {"perm": [0, 2, 1]})
    b = c.op("Unsqueeze", [right, c.const([2])]) if ranks[1] == 2 else right
    if ranks[1] == 3 and second == 2:
        b = c.op("Transpose", [b], {"perm": [0, 2, 1]})
    y = c.op("MatMul", [a, b])
    drop = [axis for axis, rank in ((1, ranks[0]), (2, ranks[1])) if rank == 2]
    return c.op("Squeeze", [y, c.const(drop)]) if drop else y


def _unit(c: LayerCall, value: ir.Value, axis: int) -> ir.Value:
    over = c.const([axis])
    square = c.op("ReduceSum", [c.op("Mul", [value, value]), over], {"keepdims": 1})
    return c.op("Div", [value, c.op("Sqrt", [c.op("Max", [square, c.like(1e-12, value)])])])
