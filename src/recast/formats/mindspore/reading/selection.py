"""Choosing and counting: top-k, one-hot, cumulative sums; image resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.graph.view import const, dims


@reads("TopK")
def top_k(c: Call) -> tuple[Any, ...]:
    k = c.ints("k", 1)
    values, found = c.b.node("TopK", [c.value(0), c.b.const(k, np.int64)], {"axis": -1}, 2)
    return values, c.b.op("Cast", [found], {"to": int(ir.DataType.INT32)})


@reads("OneHot")
def one_hot(c: Call) -> ir.Value:
    depth, axis = c.number("depth", 1), c.number("axis", 4, -1)
    on, off = const(c.value(2)), const(c.value(3))
    if on is None or off is None:
        raise Refusal("its values are not constant")
    values = np.stack([off.reshape(()), on.reshape(())])
    indices = c.value(0)
    dtype = (indices.dtype or ir.DataType.INT64).numpy()
    # a negative index is out of range here, but counts from the end in ONNX
    low = c.b.op("Less", [indices, c.b.const(np.asarray(0, dtype))])
    indices = c.b.op("Where", [low, c.b.const(np.asarray(depth, dtype)), indices])
    return c.b.op("OneHot", [indices, c.b.const(depth, np.int64), c.b.const(values)], {"axis": axis})


@reads("Sort")
def sort(c: Call) -> tuple[Any, ...]:
    x = c.value(0)
    axis = int(c.attribute("axis", -1)) % len(dims(x))
    size = dims(x)[axis]
    k = c.b.const([size], np.int64) if isinstance(size, int) else c.b.op("Shape", [x], {"start": axis, "end": axis + 1})
    flags = {"axis": axis, "largest": int(bool(c.attribute("descending", False)))}
    values, found = c.b.node("TopK", [x, k], flags, 2)
    return values, c.b.op("Cast", [found], {"to": int(ir.DataType.INT32)})


@reads("Unique")
def unique(c: Call) -> tuple[Any, ...]:
    x = c.value(0)
    if len(dims(x)) != 1 or x.dtype is None:
        raise Refusal("the rank or element type of its input")
    values, _, where, _ = c.b.node("Unique", [x], {"sorted": 0}, 4)
    kind = ir.DataType.INT64 if x.dtype == ir.DataType.INT64 else ir.DataType.INT32
    return values, c.b.op("Cast", [where], {"to": int(kind)})


@reads("NonZero")
def non_zero(c: Call) -> ir.Value:
    return c.b.op("Transpose", [c.b.op("NonZero", [c.value(0)])], {"perm": [1, 0]})


@reads("ReverseSequence")
def reverse_sequence(c: Call) -> ir.Value:
    axes = {"time_axis": int(c.attribute("seq_dim")), "batch_axis": int(c.attribute("batch_dim", 0))}
    if sorted(axes.values()) != [0, 1]:
        raise Refusal("other axes than the first two")
    lengths = c.value(1)
    if lengths.dtype != ir.DataType.INT64:
        lengths = c.b.op("Cast", [lengths], {"to": int(ir.DataType.INT64)})
    return c.b.op("ReverseSequence", [c.value(0), lengths], axes)


@reads("CumSum", "CumProd")
def cumulative(c: Call) -> ir.Value:
    flags = {"exclusive": int(bool(c.arg("exclusive", 2, False))), "reverse": int(bool(c.arg("reverse", 3, False)))}
    return c.b.op(c.op, [c.value(0), c.b.const(c.number("axis", 1), np.int64)], flags)


@reads("ResizeBilinearV2", "ResizeNearestNeighborV2", "ResizeNearestNeighbor")
def resize(c: Call) -> ir.Value:
    x = c.value(0)
    sizes = [int(d) for d in c.attribute("size")] if c.op == "ResizeNearestNeighbor" else c.ints("size", 1)
    first = 1 if c.op == "ResizeNearestNeighbor" else 2
    corners, half = bool(c.arg("align_corners", first, False)), bool(c.arg("half_pixel_centers", first + 1, False))
    if len(dims(x)) != 4 or len(sizes) != 2:
        raise Refusal("it resizes no image")
    how = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": how, "axes": [2, 3]}
    if c.op != "ResizeBilinearV2":
        # floor((i + 1/2) * scale) is half_pixel rounded up at ties
        rule = "round_prefer_ceil" if corners or half else "floor"
        attributes |= {"mode": "nearest", "nearest_mode": rule}
    return c.b.op("Resize", [x, None, None, c.b.const(sizes, np.int64)], attributes)
