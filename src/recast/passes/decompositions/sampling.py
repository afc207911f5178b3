"""Sampling images between their pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.selecting import counted

_INT = ir.DataType.INT64


@dataclass(frozen=True)
class Image:
    """An image (N, C, *sizes) as rows of channels, to be read at places that are computed.

    Attributes:
        rows: (N * pixels, C).
        starts: (N, 1): the row where each image begins.
        sizes: the spatial dimensions.
    """

    rows: ir.Value
    starts: ir.Value
    sizes: tuple[int, ...]

    @staticmethod
    def of(e: Expansion, x: ir.Value) -> Image:
        """Lay an image out."""
        rank = e.rank(x)
        sizes = tuple(e.size(x, i) for i in range(2, rank))
        channels, pixels = e.size(x, 1), int(np.prod(sizes))
        last = e.op("Transpose", x, perm=[0, *range(2, rank), 1])
        rows = e.op("Reshape", last, e.ints(-1, channels))
        starts = e.op("Mul", counted(e, x, 0), e.int(pixels))
        return Image(rows, e.op("Unsqueeze", starts, e.ints(1)), sizes)

    def read(self, e: Expansion, places: list[ir.Value], inside: bool) -> ir.Value:
        """Pixels (N, P, C) at whole places (N, P), one per axis, as floats; zeros outside where ``inside`` is false."""
        row: ir.Value | None = None
        good: ir.Value | None = None
        for place, size in zip(places, self.sizes, strict=True):
            zero, most = e.number(0, place), e.number(size - 1, place)
            if not inside:
                here = e.op("And", e.op("GreaterOrEqual", place, zero), e.op("LessOrEqual", place, most))
                good = here if good is None else e.op("And", good, here)
                place = e.op("Clip", place, zero, most)
            whole = e.op("Cast", place, to=int(_INT))
            row = whole if row is None else e.op("Add", e.op("Mul", row, e.int(size)), whole)
        assert row is not None
        found = e.op("Gather", self.rows, e.op("Add", row, self.starts), axis=0)
        if good is None:
            return found
        return e.op("Where", e.op("Unsqueeze", good, e.ints(-1)), found, e.number(0, found))


def weighted(e: Expansion, terms: list[tuple[ir.Value, ir.Value]], joined: str = "Add") -> ir.Value:
    """The sum (or another join) of pixels (N, P, C) times weights (N, P)."""
    total: ir.Value | None = None
    for pixels, weight in terms:
        term = e.op("Mul", pixels, e.op("Unsqueeze", weight, e.ints(-1)))
        total = term if total is None else e.op(joined, total, term)
    assert total is not None
    return total


def linear(
    e: Expansion, where: list[ir.Value], read: Callable[[list[ir.Value]], ir.Value], joined: str = "Add"
) -> ir.Value:
    """Linear interpolation in every axis between the pixels around ``where`` (N, P)."""
    low = [e.op("Floor", p) for p in where]
    after = [e.op("Sub", p, f) for p, f in zip(where, low, strict=True)]
    before = [e.op("Sub", e.number(1, a), a) for a in after]
    terms = []
    for corner in itertools.product((0, 1), repeat=len(where)):
        places = [e.op("Add", f, e.number(1, f)) if c else f for c, f in zip(corner, low, strict=True)]
        weight: ir.Value | None = None
        for c, a, b in zip(corner, after, before, strict=True):
            factor = a if c else b
            weight = factor if weight is None else e.op("Mul", weight, factor)
        assert weight is not None
        terms.append((read(places), weight))
    return weighted(e, terms, joined)


@decomposes("GridSample")
def grid_sample(e: Expansion) -> Results:
    """Pixels at the places of a grid in -1..1 (its last axis: x, y, ...); nearest, linear or cubic."""
    x, grid = e.input(0), e.input(1)
    rank = e.rank(x) - 2
    out = e.dims(grid)[1:-1]
    if None in out:
        raise Unfit("a grid of a size that is only known at run time")
    points = int(np.prod([d for d in out if d is not None]))
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(e.attr("mode", "linear"), e.attr("mode", "linear"))
    padding, corners = e.attr("padding_mode", "zeros"), bool(e.attr("align_corners", 0))
    image = Image.of(e, x)
    batch = e.dims(x)[0]
    flat = e.op("Reshape", grid, e.ints(-1 if batch is None else batch, points, rank))
    where = []
    for axis, size in enumerate(image.sizes):
        place = e.op("Gather", flat, e.int(rank - 1 - axis), axis=-1)
        where.append(_pixels(e, place, size, corners))
    sampler = _Sampler(e, image, padding, corners)
    where = [sampler.brought_in(p, s) for p, s in zip(where, image.sizes, strict=True)] if mode != "cubic" else where
    if mode == "nearest":
        found = sampler.read([e.op("Round", p) for p in where])
    elif mode == "linear":
        found = linear(e, where, sampler.read)
    else:
        found = _cubic(e, where, sampler.read)
    channels = e.size(x, 1)
    shaped = e.op("Reshape", found, e.ints(-1 if batch is None else batch, *[d or 0 for d in out], channels))
    return (e.op("Transpose", shaped, perm=[0, rank + 1, *range(1, rank + 1)]),)


def _pixels(e: Expansion, place: ir.Value, size: int, corners: bool) -> ir.Value:
    """From -1..1 to pixels: the ends are the outer pixels' centres (``corners``) or edges."""
    if corners:
        return e.op("Mul", e.op("Add", place, e.number(1, place)), e.number((size - 1) / 2, place))
    scaled = e.op("Mul", e.op("Add", place, e.number(1, place)), e.number(size / 2, place))
    return e.op("Sub", scaled, e.number(0.5, place))


class _Sampler:
    """Reads pixels at whole places, inside or outside the image."""

    def __init__(self, e: Expansion, image: Image, padding: str, corners: bool) -> None:
        self.e, self.image, self.padding, self.corners = e, image, padding, corners

    def brought_in(self, place: ir.Value, size: int) -> ir.Value:
        """A place outside, clipped or reflected into the image."""
        e = self.e
        if self.padding == "zeros":
            return place
        if self.padding == "border":
            return e.op("Clip", place, e.number(0, place), e.number(size - 1, place))
        low, high = (0.0, size - 1.0) if self.corners else (-0.5, size - 0.5)
        span = high - low
        if span <= 0:
            return e.op("Mul", place, e.number(0, place))
        period = e.number(2 * span, place)
        moved = e.op("Sub", place, e.number(low, place))
        turns = e.op("Floor", e.op("Div", moved, period))
        rest = e.op("Sub", moved, e.op("Mul", turns, period))
        folded = e.op("Min", rest, e.op("Sub", period, rest))
        inner = e.op("Add", folded, e.number(low, place))
        return e.op("Clip", inner, e.number(0, place), e.number(size - 1, place))

    def read(self, places: list[ir.Value]) -> ir.Value:
        """Pixels at whole places."""
        if self.padding == "zeros":
            return self.image.read(self.e, places, inside=False)
        inside = [self.brought_in(p, s) for p, s in zip(places, self.image.sizes, strict=True)]
        return self.image.read(self.e, inside, inside=True)


def _cubic(e: Expansion, where: list[ir.Value], read: Callable[[list[ir.Value]], ir.Value]) -> ir.Value:
    """Cubic convolution with a = -0.75 (Keys, 1981, equation 4) over four pixels in every axis."""
    low = [e.op("Floor", p) for p in where]
    weights = [_cubic_weights(e, e.op("Sub", p, f)) for p, f in zip(where, low, strict=True)]
    terms = []
    for corner in itertools.product(range(4), repeat=len(where)):
        places = [e.op("Add", f, e.number(c - 1, f)) for c, f in zip(corner, low, strict=True)]
        weight: ir.Value | None = None
        for c, some in zip(corner, weights, strict=True):
            weight = some[c] if weight is None else e.op("Mul", weight, some[c])
        assert weight is not None
        terms.append((read(places), weight))
    return weighted(e, terms)


def _cubic_weights(e: Expansion, t: ir.Value, a: float = -0.75) -> list[ir.Value]:
    def polynomial(s: ir.Value, *factors: float) -> ir.Value:
        value = e.number(factors[0], s)
        for factor in factors[1:]:
            value = e.op("Add", e.op("Mul", value, s), e.number(factor, s))
        return value

    far, near = (a, -5 * a, 8 * a, -4 * a), (a + 2, -(a + 3), 0.0, 1.0)
    one, two = e.number(1, t), e.number(2, t)
    return [
        polynomial(e.op("Add", t, one), *far),
        polynomial(t, *near),
        polynomial(e.op("Sub", one, t), *near),
        polynomial(e.op("Sub", two, t), *far),
    ]
