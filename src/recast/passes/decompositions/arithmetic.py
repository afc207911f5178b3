"""Arithmetic that few targets have, of simpler arithmetic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)
_LARGEST_DET = 8
_EMPTY = {"ReduceSum": 0, "ReduceL1": 0, "ReduceL2": 0, "ReduceSumSquare": 0, "ReduceProd": 1}
_LOGS = ("ReduceLogSum", "ReduceLogSumExp")


@decomposes("Abs")
def absolute(e: Expansion) -> Results:
    """The larger of an integer and its opposite; the least integer stays, as its opposite wraps around to it."""
    x = e.input(0)
    if e.dtype(x) not in (ir.DataType.INT64, ir.DataType.INT32):
        raise Unfit("the target has no such operator")
    return (e.op("Max", x, e.op("Neg", x)),)


@decomposes("Det")
def det(e: Expansion) -> Results:
    """Laplace's expansion along the first rows, with shared minors: exact signs, no pivots."""
    x = e.input(0)
    size = e.size(x, -1)
    if size > _LARGEST_DET:
        raise Unfit(f"the determinant of a {size} x {size} matrix")
    rows = [e.op("Gather", x, e.int(r), axis=-2) for r in range(size)]
    cells = [[e.op("Gather", row, e.int(c), axis=-1) for c in range(size)] for row in rows]
    minors: dict[tuple[int, ...], ir.Value] = {(c,): cells[-1][c] for c in range(size)}
    for height in range(2, size + 1):
        row, fresh = cells[size - height], dict[tuple[int, ...], ir.Value]()
        for columns in combinations(range(size), height):
            total: ir.Value | None = None
            for place, column in enumerate(columns):
                rest = tuple(c for c in columns if c != column)
                term = e.op("Mul", row[column], minors[rest])
                total = term if total is None else e.op("Sub" if place % 2 else "Add", total, term)
            assert total is not None
            fresh[columns] = total
        minors = fresh
    return (minors[tuple(range(size))],)


@decomposes("Mod")
def mod(e: Expansion) -> Results:
    """``fmod=1`` of integers: the remainder with the dividend's sign, from the one with the divisor's."""
    a, b = e.input(0), e.input(1)
    if not e.attr("fmod", 0):
        raise Unfit("the target has no such operator")
    zero = e.number(0, a)
    if e.dtype(a) in _FLOATS:
        raise Unfit("the remainder of floats")
    rest = e.op("Mod", a, b)
    wrong = e.op("And", e.op("Xor", e.op("Less", a, zero), e.op("Less", b, zero)), _not_zero(e, rest))
    return (e.op("Where", wrong, e.op("Sub", rest, b), rest),)


def _not_zero(e: Expansion, value: ir.Value) -> ir.Value:
    return e.op("Not", e.op("Equal", value, e.number(0, value)))


@decomposes("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceMax", "ReduceMin", *_LOGS)
def reduce_nothing(e: Expansion) -> Results:
    """Over an axis without elements the result is a constant."""
    x = e.input(0)
    dims = e.dims(x)
    if 0 not in dims:
        raise Unfit("the target has no such reduction")
    axes = e.constant(1, "axes")
    chosen = sorted({int(a) % len(dims) for a in axes}) if axes is not None and axes.size else list(range(len(dims)))
    if axes is not None and not axes.size and e.attr("noop_with_empty_axes", 0):
        raise Unfit("a reduction over no axes")
    keep = e.attr("keepdims", 1)
    shape = [1 if i in chosen else d for i, d in enumerate(dims) if keep or i not in chosen]
    if None in shape:
        raise Unfit("a dimension that is only known at run time")
    dtype = e.dtype(x).numpy()
    return (e.array(np.full([int(d) for d in shape if d is not None], _start(e.node.op_type, dtype), dtype)),)


def _start(op_type: str, dtype: np.dtype) -> float | int | bool:
    if op_type in _EMPTY:
        return _EMPTY[op_type]
    if op_type in _LOGS:
        return -np.inf
    if dtype.kind == "b":
        return op_type == "ReduceMin"
    if dtype.kind == "f":
        return -np.inf if op_type == "ReduceMax" else np.inf
    limits = np.iinfo(dtype)
    return int(limits.min if op_type == "ReduceMax" else limits.max)


@decomposes("Max", "Min")
def of_short(e: Expansion) -> Results:
    """Of 16-bit integers: in 32 bits, which hold both kinds."""
    dtype = e.dtype(e.input(0))
    if dtype not in (ir.DataType.INT16, ir.DataType.UINT16):
        raise Unfit("the target has no such operator")
    wide = [e.cast(v, ir.DataType.INT32) for v in e.node.inputs if v is not None]
    return (e.cast(e.op(e.node.op_type, *wide), dtype),)


@decomposes("Pow")
def power(e: Expansion) -> Results:
    """Exponents of another type: cast for float bases; integer bases by squaring, for constant exponents."""
    base, exponent = e.input(0), e.input(1)
    if e.dtype(base) in _FLOATS:
        if exponent.dtype == base.dtype:
            raise Unfit("the target has no such operator")
        return (e.op("Pow", base, e.cast(exponent, base.dtype)),)
    array = const(exponent)
    if array is None or np.any(array < 0) or np.any(array != np.floor(array)) or np.any(array > 1 << 16):
        raise Unfit("powers of integers with exponents that are no constant natural numbers")
    whole = array.astype(np.int64)
    one, result = e.number(1, base), None
    for bit in range(max(int(whole.max(initial=0)).bit_length(), 1)):
        base = base if bit == 0 else e.op("Mul", base, base)
        factor = e.op("Where", e.array((whole >> bit & 1).astype(bool)), base, one)
        result = factor if result is None else e.op("Mul", result, factor)
    assert result is not None
    return (result,)


@decomposes("BitwiseNot")
def bitwise_not(e: Expansion) -> Results:
    """``-1 - x``, or the largest number less ``x``."""
    x = e.input(0)
    limits = np.iinfo(e.dtype(x).numpy())
    return (e.op("Sub", e.number(-1 if limits.min else limits.max, x), x),)
