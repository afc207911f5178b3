"""Padding modes and cropping."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes


@decomposes("Pad")
def pad(e: Expansion) -> Results:
    """``edge``, ``wrap`` and ``reflect`` select elements along each axis; negative padding cuts."""
    x, mode = e.input(0), e.attr("mode", "constant")
    given, axes = e.constant(1, "padding"), e.constant(3, "axes")
    assert given is not None
    rank = e.rank(x)
    places = list(range(rank)) if axes is None else [int(a) % rank for a in axes.reshape(-1)]
    begin, end = (dict(zip(places, (int(p) for p in half), strict=True)) for half in given.reshape(2, -1))
    if mode == "constant":
        if not np.any(given < 0):
            raise Unfit("the target has no such padding")
        return (_cut_and_pad(e, x, begin, end),)
    for axis in places:
        low, high = begin[axis], end[axis]
        if low or high:
            picks = _places(mode, e.size(x, axis), low, high)
            x = e.op("Gather", x, e.array(picks), axis=axis)
    return (e.op("Identity", x) if x is e.input(0) else x,)


def _cut_and_pad(e: Expansion, x: ir.Value, begin: dict[int, int], end: dict[int, int]) -> ir.Value:
    for axis in begin:
        low, high = min(begin[axis], 0), min(end[axis], 0)
        if low or high:
            size = e.size(x, axis)
            x = e.op("Slice", x, e.ints(-low), e.ints(max(size + high, -low)), e.ints(axis))
    rank = e.rank(x)
    pads = [max(side.get(axis, 0), 0) for side in (begin, end) for axis in range(rank)]
    return e.op("Pad", x, e.ints(*pads), e.optional(2), mode="constant") if any(pads) else x


def _places(mode: str, size: int, low: int, high: int) -> np.ndarray:
    """Which element each place of the padded axis holds."""
    wanted = np.arange(-low, size + high, dtype=np.int64)
    if mode == "edge":
        return np.clip(wanted, 0, size - 1)
    if mode == "wrap":
        return wanted % size
    if mode != "reflect":
        raise Unfit(f"padding mode {mode}")
    period = max(2 * (size - 1), 1)
    folded = wanted % period
    return np.where(folded < size, folded, period - folded)
