"""Pooling as strided slices: one per element of the window. Any number of axes, dilations and rounding."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

_MOST = 512  # elements of a window


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling lie, per spatial axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]  # padding, with what rounding up needs
    told: list[int]  # the padding at the end that the node asks for
    sizes: list[int]
    counts: list[int]

    @staticmethod
    def of(e: Expansion, x: ir.Value) -> Windows:
        """Read a pooling node."""
        kernel = e.attr("kernel_shape")
        rank = len(kernel)
        sizes = [e.size(x, axis) for axis in range(2, e.rank(x))]
        if len(sizes) != rank or math.prod(kernel) > _MOST:
            raise Unfit("a window of this size")
        ones = [1] * rank
        strides, dilations = e.attr("strides") or ones, e.attr("dilations") or ones
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads = list(e.attr("pads") or [0] * 2 * rank)
        auto = e.attr("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            counts = [-(-s // t) for s, t in zip(sizes, strides, strict=True)]
            total = [max((c - 1) * t + r - s, 0) for c, t, r, s in zip(counts, strides, reach, sizes, strict=True)]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            pads = [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
        begin, told = pads[:rank], pads[rank:]
        counts = [
            _count(s, b, t, r, step, bool(e.attr("ceil_mode", 0)) and auto == "NOTSET")
            for s, b, t, r, step in zip(sizes, begin, told, reach, strides, strict=True)
        ]
        needed = [(c - 1) * t + r for c, t, r in zip(counts, strides, reach, strict=True)]
        end = [max(n - s - b, 0) for n, s, b in zip(needed, sizes, begin, strict=True)]
        return Windows(kernel, strides, dilations, begin, end, told, sizes, counts)

    def slices(self, e: Expansion, x: ir.Value, fill: float) -> list[ir.Value]:
        """One tensor of results per element of the window, in row-major order."""
        rank = len(self.kernel)
        if any(self.begin) or any(self.end):
            pads = e.ints(0, 0, *self.begin, 0, 0, *self.end)
            x = e.op("Pad", x, pads, e.number(fill, x), mode="constant")
        axes, steps = e.ints(*range(2, rank + 2)), e.ints(*self.strides)
        found = []
        for offset in itertools.product(*(range(k) for k in self.kernel)):
            first = [o * d for o, d in zip(offset, self.dilations, strict=True)]
            last = [f + (c - 1) * s + 1 for f, c, s in zip(first, self.counts, self.strides, strict=True)]
            found.append(e.op("Slice", x, e.ints(*first), e.ints(*last), axes, steps))
        return found

    def positions(self) -> list[np.ndarray]:
        """Per element of the window: the place in the unpadded input, per axis, [rank, *counts]."""
        corners = np.indices(self.counts)
        shape = (len(self.counts),) + (1,) * len(self.counts)
        base = corners * np.reshape(self.strides, shape) - np.reshape(self.begin, shape)
        offsets = itertools.product(*(range(k) for k in self.kernel))
        return [base + np.reshape(np.multiply(o, self.dilations), shape) for o in offsets]

    def inside(self, padding: bool) -> np.ndarray:
        """How many elements of each window count, with or without the padding that the node asks for."""
        total = np.zeros(self.counts)
        for place in self.positions():
            good = np.ones(self.counts, bool)
            for axis, p in enumerate(place):
                low = -self.begin[axis] if padding else 0
                high = self.sizes[axis] + (self.told[axis] if padding else 0)
                good &= (p >= low) & (p < high)
            total += good
        return total


def _count(size: int, begin: int, end: int, reach: int, step: int, up: bool) -> int:  # noqa: PLR0917
    """The number of windows; one that starts in the padding at the end does not count."""
    room = size + begin + end - reach
    count = (-(-room // step) if up else room // step) + 1
    return count - 1 if up and (count - 1) * step >= size + begin else count


def _sum(e: Expansion, values: list[ir.Value]) -> ir.Value:
    while len(values) > 1:  # in pairs: less rounding
        paired = [e.op("Add", a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = paired + ([values[-1]] if len(values) % 2 else [])
    return values[0]


@decomposes("AveragePool")
def average_pool(e: Expansion) -> Results:
    """The sum over the window divided by the number of its elements that count."""
    x = e.input(0)
    windows = Windows.of(e, x)
    total = _sum(e, windows.slices(e, x, 0.0))
    counts = windows.inside(bool(e.attr("count_include_pad", 0)))
    return (e.op("Div", total, e.array(counts.astype(e.dtype(x).numpy()))),)


@decomposes("LpPool")
def lp_pool(e: Expansion) -> Results:
    """The p-th root of the sum of p-th powers."""
    x, p = e.input(0), e.attr("p", 2)
    windows = Windows.of(e, x)
    size = e.op("Abs", x)
    power = size if p == 1 else e.op("Mul", x, x) if p == 2 else e.op("Pow", size, e.number(p, x))
    total = _sum(e, windows.slices(e, power, 0.0))
    if p == 1:
        return (total,)
    return (e.op("Sqrt", total) if p == 2 else e.op("Pow", total, e.number(1 / p, x)),)


@decomposes("GlobalLpPool")
def global_lp_pool(e: Expansion) -> Results:
    """The p-th root of the sum of p-th powers over all spatial axes."""
    x, p = e.input(0), e.attr("p", 2)
    power = e.op("Abs", x) if p == 1 else e.op("Pow", e.op("Abs", x), e.number(p, x))
    total = e.op("ReduceSum", power, e.ints(*range(2, e.rank(x))), keepdims=1)
    return (total if p == 1 else e.op("Pow", total, e.number(1 / p, x)),)


@decomposes("MaxPool")
def max_pool(e: Expansion) -> Results:
    """The largest element of each window, and where it is: the first in row-major order of the input."""
    x = e.input(0)
    windows = Windows.of(e, x)
    dtype = e.dtype(x).numpy()
    least = -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
    values = windows.slices(e, x, least)
    if not e.wanted(1):
        best = values[0]
        for value in values[1:]:
            best = e.op("Max", best, value)
        return (e.op("Identity", best) if best is x else best, None)
    places = _places(e, windows)
    best, where = values[0], e.array(places[0])
    for value, place in zip(values[1:], places[1:], strict=True):
        better = e.op("Greater", value, best)
        best = e.op("Where", better, value, best)
        where = e.op("Where", better, e.array(place), where)
    n, c = e.static(x)[:2]
    area = math.prod(windows.sizes)
    starts = np.arange(n * c, dtype=np.int64).reshape(n, c, *[1] * len(windows.sizes)) * area
    return best, e.op("Add", where, e.array(starts))


def _places(e: Expansion, windows: Windows) -> list[np.ndarray]:
    """The position of each element of the window in one channel."""
    order = list(windows.sizes)
    found = []
    for place in windows.positions():
        clipped = [np.clip(p, 0, s - 1) for p, s in zip(place, order, strict=True)]
        if e.attr("storage_order", 0):
            clipped, shape = clipped[::-1], order[::-1]
        else:
            shape = order
        found.append(np.ravel_multi_index(tuple(clipped), tuple(shape)).astype(np.int64))
    return found
