"""Greedy suppression of boxes, turn by turn, for all images and classes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.selecting import counted

_MOST = 300  # turns that are written out


@dataclass(frozen=True)
class _Boxes:
    """What a turn reads.

    Attributes:
        sides: (n, 1, 2, 2, p): lower corners, and the negatives of the upper ones.
        area: (n, 1, p).
        place: (p): 0, 1, ...
        limit: the overlap above which a box goes.
        gone: below every score that counts.
    """

    sides: ir.Value
    area: ir.Value
    place: ir.Value
    limit: ir.Value
    gone: ir.Value


@decomposes("NonMaxSuppression")
def non_max_suppression(e: Expansion) -> Results:
    """The best box of each class, as often as boxes are wanted; what overlaps it too much is out of the next turn.

    Like ONNX Runtime: of equal scores the first counts, thresholds are exceeded, boxes without area overlap none.
    """
    boxes, scores = e.input(0), e.input(1)
    turns = _turns(e, scores)
    limit = e.constant(3, "an overlap")
    dtype = e.dtype(scores).numpy()
    lowest = np.finfo(dtype).min
    told = e.array(np.array(0 if limit is None else limit.reshape(-1)[0], dtype), "overlap")
    gone = e.array(np.array(lowest, dtype), "gone")
    sides, area = _sides(e, boxes)
    held = _Boxes(sides, area, counted(e, scores, 2), told, gone)
    left = e.op("Max", scores, e.array(np.nextafter(np.array(lowest, dtype), dtype.type(0)), "least"))
    threshold = e.optional(4)
    if threshold is not None:
        left = e.op("Where", e.op("Greater", scores, e.op("Reshape", threshold, e.ints())), left, gone)
    best, tops = [], []
    for turn in range(turns):
        place = e.op("ArgMax", left, axis=2, keepdims=1)
        best.append(place)
        tops.append(e.op("ReduceMax", left, e.ints(2), keepdims=1))
        if turn + 1 < turns:
            left = _turn(e, held, left, place)
    found = e.op("NonZero", e.op("Greater", _joined(e, tops), gone))
    tuples = e.op("Transpose", found, perm=[1, 0])
    chosen = e.op("Unsqueeze", e.op("GatherND", _joined(e, best), tuples), e.ints(1))
    first = e.op("Slice", tuples, e.ints(0), e.ints(2), e.ints(1))
    return (e.op("Concat", first, chosen, axis=1),)


def _turns(e: Expansion, scores: ir.Value) -> int:
    """How many boxes a class may have at most."""
    wanted = e.constant(2, "a number of boxes")
    most = 0 if wanted is None else int(wanted.reshape(-1)[0])
    there = e.dims(scores)[2]
    most = most if there is None else min(most, there)
    if not 1 <= most <= _MOST:
        raise Unfit(f"choosing {most} boxes of a class")
    return most


def _sides(e: Expansion, boxes: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Both corners of every box (n, 1, 2, 2, p), the upper one negative; the areas (n, 1, p)."""
    columns = e.op("Transpose", boxes, perm=[0, 2, 1])
    a, b = (e.op("Slice", columns, e.ints(i), e.ints(j), e.ints(1)) for i, j in ((0, 2), (2, 4)))
    if e.attr("center_point_box", 0):
        half = e.op("Div", b, e.number(2, b))
        a, b = e.op("Sub", a, half), e.op("Add", a, half)
    low, high = e.op("Min", a, b), e.op("Max", a, b)
    area = e.op("ReduceProd", e.op("Sub", high, low), e.ints(1), keepdims=1)
    parts = [e.op("Unsqueeze", v, e.ints(1, 2)) for v in (low, e.op("Neg", high))]
    return e.op("Concat", *parts, axis=2), area


def _turn(e: Expansion, held: _Boxes, left: ir.Value, best: ir.Value) -> ir.Value:
    """The scores without the best box and those that overlap it."""
    own = e.op("Equal", held.place, best)
    none = e.number(0, held.sides)
    picked = e.op("ReduceSum", e.op("Where", e.op("Unsqueeze", own, e.ints(2, 3)), held.sides, none), e.ints(4))
    inner = e.op("ReduceSum", e.op("Max", held.sides, picked), e.ints(2), keepdims=0)  # minus the common extents
    common = e.op("ReduceProd", e.op("Min", inner, none), e.ints(2), keepdims=0)
    area = e.op("ReduceProd", e.op("ReduceSum", picked, e.ints(2), keepdims=0), e.ints(2), keepdims=0)
    union = e.op("Sub", e.op("Add", held.area, area), common)
    out = e.op("Or", own, e.op("Greater", e.op("Div", common, union), held.limit))
    return e.op("Where", out, held.gone, left)


def _joined(e: Expansion, parts: list[ir.Value]) -> ir.Value:
    return parts[0] if len(parts) == 1 else e.op("Concat", *parts, axis=2)
