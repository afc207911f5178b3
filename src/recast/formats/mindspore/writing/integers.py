"""Whole-number division: MindSpore's kernels divide as floats, which cannot hold 64-bit numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.graph.view import attr

T = ir.DataType


@writes("Div")
def div(w: Writer, node: ir.Node) -> None:
    a, b = value_of(node), value_of(node, 1)
    dtype = dtype_of(a)
    w.bind(node.outputs[0], w.fn("Div", a, b) if dtype.is_floating_point() else quotient(w, a, b, dtype))


@writes("Mod")
def mod(w: Writer, node: ir.Node) -> None:
    a, b = value_of(node), value_of(node, 1)
    dtype, truncated = dtype_of(a), bool(attr(node, "fmod", 0))
    if dtype.is_floating_point():
        part = w.prim("TruncateMod", [a, b])  # FloorMod gives nan where b is infinite
        w.bind(node.outputs[0], part if truncated else _floored(w, part, b, dtype))
        return
    if not truncated and dtype in (T.INT8, T.INT16, T.INT32, T.UINT8):
        w.bind(node.outputs[0], w.fn("FloorMod", a, b))
        return
    rest = remainder(w, a, b, quotient(w, a, b, dtype))
    w.bind(node.outputs[0], rest if truncated or dtype == T.UINT64 else _floored(w, rest, b, dtype))


def quotient(w: Writer, a: Arg, b: Arg, dtype: ir.DataType) -> Ref:
    """a / b cut to a whole number, as ONNX divides; exact for every type."""
    if dtype == T.INT64:
        return _long(w, a, b)
    if dtype == T.UINT64:
        return _unsigned(w, a, b)
    if not dtype.is_integer():
        raise Refusal(f"element type {dtype.name}")
    return w.prim("TruncateDiv", [a, b])  # in float64: exact up to 32 bits


def remainder(w: Writer, a: Arg, b: Arg, whole: Arg) -> Ref:
    """a - whole * b; for unsigned numbers too, which MindSpore does not subtract."""
    return w.fn("Add", a, w.fn("Neg", w.fn("Mul", whole, b)))


def _floored(w: Writer, rest: Arg, b: Arg, dtype: ir.DataType) -> Ref:
    """The remainder that has the divisor's sign."""
    other = w.fn("Less", w.fn("Mul", w.fn("Sign", rest), w.fn("Sign", b)), np.asarray(0, dtype.numpy()))
    return w.fn("Select", other, w.fn("Add", rest, b), rest)


def _long(w: Writer, a: Arg, b: Arg) -> Ref:
    """The kernel's quotient is right to 53 bits; what is left over is divided once more.

    Then it is wrong by one at most, which the sign of the rest tells.
    """
    rough = w.prim("TruncateDiv", [a, b])
    better = w.fn("Add", rough, w.prim("TruncateDiv", [remainder(w, a, b, rough), b]))
    sides = w.fn("Mul", w.fn("Sign", remainder(w, a, b, better)), w.fn("Sign", a))
    step = w.fn("Mul", w.fn("Sign", a), w.fn("Sign", b))
    over = w.fn("Select", w.fn("Less", sides, np.asarray(0, np.int64)), step, np.asarray(0, np.int64))
    return w.fn("Sub", better, over)


def _unsigned(w: Writer, a: Arg, b: Arg) -> Ref:
    """Half of a fits int64: a // b = 2 ((a / 2) // b) + (twice what that leaves, and a's last bit, reach b)."""
    one, zero = np.asarray(1, np.uint64), np.asarray(0, np.uint64)
    large = w.fn("Less", w.cast(b, T.INT64), np.asarray(0, np.int64))  # b takes all 64 bits: the quotient is 0 or 1
    small = w.fn("Select", large, one, b)
    half = w.prim("RightShift", [a, one])
    whole = w.cast(_long(w, w.cast(half, T.INT64), w.cast(small, T.INT64)), T.UINT64)
    left = w.fn("Add", w.fn("Mul", remainder(w, half, small, whole), np.asarray(2, np.uint64)),
                w.prim("BitwiseAnd", [a, one]))  # fmt: skip
    more = w.fn("Select", w.fn("GreaterEqual", left, small), one, zero)
    exact = w.fn("Add", w.fn("Mul", whole, np.asarray(2, np.uint64)), more)
    return w.fn("Select", large, w.fn("Select", w.fn("GreaterEqual", a, b), one, zero), exact)
