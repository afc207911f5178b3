"""Whole numbers: what ONNX lacks at the dialect's opset (signed shifts, division rounded down), and signs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder
from recast.graph.view import const

_ALL = frozenset({"Min", "Add", "Mul", "Div", "Mod", "Concat"})
_FIRST = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Expand", "Identity", "Transpose", "Slice"}
    | {"Gather", "GatherElements", "GatherND"}
)
_LOOKED_AT = 200  # values behind one whose sign is asked for


def shift(b: Builder, x: ir.Value, by: ir.Value, left: bool) -> ir.Value:
    """``x`` moved by 0 to width - 1 bits; to the right its sign is copied.

    Args:
        b: where the nodes go.
        x: integers of any width.
        by: how far, of any integer type; broadcasts.
        left: the direction.

    Returns:
        The result, of the type of ``x``. To the right a negative number is ``-1 - ((-1 - x) >> n)``.
    """
    dtype = x.dtype or ir.DataType.INT32
    unsigned = ir.DataType.UINT64 if dtype.itemsize == 8 else ir.DataType.UINT32

    def cast(value: ir.Value, to: ir.DataType) -> ir.Value:
        return value if value.dtype == to else b.op("Cast", [value], {"to": int(to)})

    def moved(value: ir.Value) -> ir.Value:
        bits = [cast(v, unsigned) for v in (value, by)]
        return cast(b.op("BitShift", bits, {"direction": "LEFT" if left else "RIGHT"}), dtype)

    if left or not dtype.is_signed():
        return moved(x)
    zero, least = (b.const(np.array(n, dtype.numpy()), name="number") for n in (0, -1))
    negative = b.op("Less", [x, zero])
    size = b.op("Where", [negative, b.op("Sub", [least, x]), x])
    found = moved(size)
    return b.op("Where", [negative, b.op("Sub", [least, found]), found])


def floor_divide(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """``x / y`` rounded down; both are integers of one type.

    ONNX divides towards 0, which is one more where the two kinds of remainder differ.
    """
    found = b.op("Div", [x, y])
    if x.dtype is None or not x.dtype.is_signed():
        return found
    above = b.op("Not", [b.op("Equal", [b.op("Mod", [x, y], {"fmod": how}) for how in (0, 1)])])
    return b.op("Sub", [found, b.op("Cast", [above], {"to": int(x.dtype)})])


def never_negative(value: ir.Value) -> bool:
    """Whether what makes an integer value shows that it is not below zero; at most some 200 values are looked at."""
    return _never_negative(value, {})


def _never_negative(value: ir.Value, known: dict[ir.Value, bool]) -> bool:
    if value not in known:
        known[value] = False
        known[value] = len(known) < _LOOKED_AT and _shows(value, known)
    return known[value]


def _shows(value: ir.Value, known: dict[ir.Value, bool]) -> bool:
    array, node = const(value), value.producer()
    if array is not None or node is None:
        return array is not None and bool((array >= 0).all())
    inputs = [v for v in node.inputs if v is not None]
    if node.op_type == "Max":
        return any(_never_negative(v, known) for v in inputs)
    if node.op_type in _ALL:
        return all(_never_negative(v, known) for v in inputs)
    if node.op_type == "Range":
        return all(_never_negative(v, known) for v in (inputs[0], inputs[2]))
    if node.op_type in _FIRST:
        return _never_negative(inputs[0], known)
    if node.op_type == "Cast":
        types = inputs[0].dtype, value.dtype
        kept = all(t is not None and t.is_integer() and t.itemsize >= 4 for t in types)
        return kept and _never_negative(inputs[0], known)
    return node.op_type in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero")
