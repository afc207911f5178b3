"""Whole numbers: division, remainders, shifts, bits."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.reading.elementwise import is_float, truncated
from recast.graph.integers import shift


@reads("TruncateDiv")
def truncate_div(c: Call) -> ir.Value:
    found = c.b.op("Div", [c.value(0), c.value(1)])
    return truncated(c, found) if is_float(c.value(0)) else found


@reads("TruncateMod")
def truncate_mod(c: Call) -> ir.Value:
    return c.b.op("Mod", [c.value(0), c.value(1)], {"fmod": 1})


@reads("Invert")
def invert(c: Call) -> ir.Value:
    return c.b.op("BitwiseNot", [c.value(0)])


@reads("LeftShift", "RightShift")
def move_bits(c: Call) -> ir.Value:
    a, b = c.value(0), c.value(1)
    if a.dtype != b.dtype:
        raise Refusal(f"it mixes {a.dtype} and {b.dtype}")
    return shift(c.b, a, b, left=c.op == "LeftShift")
