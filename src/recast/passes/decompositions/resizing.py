"""Resizing by sizes that are only known at run time: places are computed, neighbours are gathered, axis by axis."""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.view import attr, const, dims
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.selecting import extent

_FLOAT = ir.DataType.FLOAT
_INT = ir.DataType.INT64
_WHOLE = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"))


def changed_axes(node: ir.Node) -> list[int]:
    """The axes that a Resize may change the size of."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(dims(x))
    axes = [int(a) % rank for a in attr(node, "axes") or range(rank)]
    scales = const(node.inputs[2]) if len(node.inputs) > 2 else None
    if scales is not None and scales.size:
        return [a for a, s in zip(axes, scales, strict=True) if s != 1]
    return [a for a in axes if dims(x)[a] is None or dims(x)[a] != dims(y)[a]]


def at_run_time(node: ir.Node) -> bool:
    """Whether a Resize changes an axis whose size, before or after, is only known at run time."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    return any(not isinstance(dims(v)[a], int) for a in changed_axes(node) for v in (x, y))


@decomposes("Resize")
def resize(e: Expansion) -> Results:
    """Nearest and linear; without antialiasing, without a region of interest."""
    mode, how = e.attr("mode", "nearest"), e.attr("coordinate_transformation_mode", "half_pixel")
    odd = [k for k in ("antialias", "exclude_outside") if e.attr(k, 0)]
    if mode not in ("nearest", "linear") or odd or how not in _PLACES:
        raise Unfit(f"{' '.join([mode, how, *odd])} to a size that is only known at run time")
    if e.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unfit("an aspect ratio policy with a size that is only known at run time")
    x = e.input(0)
    if mode == "linear" and e.dtype(x) != _FLOAT:
        raise Unfit(f"{e.dtype(x).name} to a size that is only known at run time")
    for axis in changed_axes(e.node):
        x = _along(e, x, axis, mode == "nearest")
    return (x,)


def _along(e: Expansion, x: ir.Value, axis: int, nearest: bool) -> ir.Value:
    size = e.op("Reshape", extent(e, x, axis), e.ints())
    scale, out, whole = _sizes(e, size, axis, e.rank(e.input(0)))
    index = e.op("Range", e.int(0), out, e.int(1))
    last = e.op("Sub", size, e.int(1))
    how, rule = e.attr("coordinate_transformation_mode", "half_pixel"), e.attr("nearest_mode", "round_prefer_floor")
    if nearest and whole and (how, rule) in _WHOLE:  # integers: no rounding to go wrong
        return e.op("Gather", x, e.op("Div", index, e.int(whole)), axis=axis)
    place = _PLACES[how](e, e.cast(index, _FLOAT), scale, (e.cast(size, _FLOAT), e.cast(out, _FLOAT)))
    if nearest:
        return e.op("Gather", x, _inside(e, _rounded(e, place, rule), last), axis=axis)
    low = e.op("Floor", place)
    part = e.op("Sub", place, low)
    if behind := e.rank(x) - 1 - axis:
        part = e.op("Unsqueeze", part, e.ints(*range(1, behind + 1)))
    first = e.op("Gather", x, _inside(e, low, last), axis=axis)
    second = e.op("Gather", x, _inside(e, e.op("Add", low, e.number(1, low)), last), axis=axis)
    return e.op("Add", first, e.op("Mul", e.op("Sub", second, first), part))


def _sizes(e: Expansion, size: ir.Value, axis: int, rank: int) -> tuple[ir.Value, ir.Value, int]:
    """The scale (float), the new size (int64 scalar), and the scale as a whole number (0: it is none)."""
    axes = [int(a) % rank for a in e.attr("axes") or range(rank)]
    at = axes.index(axis)
    scales = e.constant(2, "scales")
    old = e.cast(size, _FLOAT)
    if scales is not None and scales.size:
        factor = float(scales[at])
        if factor == int(factor):
            return e.number(factor, old), e.op("Mul", size, e.int(int(factor))), int(factor)
        if e.attr("coordinate_transformation_mode") == "align_corners":
            raise Unfit("runtimes disagree on align_corners where the scale does not give a whole size")
        return e.number(factor, old), e.cast(e.op("Floor", e.op("Mul", old, e.number(factor, old))), _INT), 0
    out = e.op("Gather", e.input(3), e.int(at), axis=0)
    return e.op("Div", e.cast(out, _FLOAT), old), out, 0


def _inside(e: Expansion, place: ir.Value, last: ir.Value) -> ir.Value:
    return e.op("Min", e.op("Max", e.cast(place, _INT), e.int(0)), last)


def _rounded(e: Expansion, place: ir.Value, rule: str) -> ir.Value:
    half = e.number(0.5, place)
    if rule == "round_prefer_floor":
        return e.op("Ceil", e.op("Sub", place, half))
    if rule == "round_prefer_ceil":
        return e.op("Floor", e.op("Add", place, half))
    return e.op("Floor" if rule == "floor" else "Ceil", place)


_Ends = tuple[ir.Value, ir.Value]  # size before, size after


def _half_pixel(e: Expansion, index: ir.Value, scale: ir.Value, ends: _Ends) -> ir.Value:
    half = e.number(0.5, index)
    return e.op("Sub", e.op("Div", e.op("Add", index, half), scale), half)


def _asymmetric(e: Expansion, index: ir.Value, scale: ir.Value, ends: _Ends) -> ir.Value:
    return e.op("Div", index, scale)


def _align_corners(e: Expansion, index: ir.Value, scale: ir.Value, ends: _Ends) -> ir.Value:
    size, out = ends
    one = e.number(1, index)
    gaps = e.op("Max", e.op("Sub", out, one), one)  # a single sample is the first
    return e.op("Div", e.op("Mul", index, e.op("Sub", size, one)), gaps)


def _pytorch_half_pixel(e: Expansion, index: ir.Value, scale: ir.Value, ends: _Ends) -> ir.Value:
    several = e.op("Greater", ends[1], e.number(1, index))
    return e.op("Where", several, _half_pixel(e, index, scale, ends), e.number(0, index))


_PLACES = {
    "half_pixel": _half_pixel,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
    "pytorch_half_pixel": _pytorch_half_pixel,
}
