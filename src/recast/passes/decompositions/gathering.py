"""Reading elements by tuples of indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.graph.integers import never_negative
from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, decomposes
from recast.passes.decompositions.selecting import extent


@decomposes("GatherND")
def gather_nd(e: Expansion) -> Results:
    """Gather of rows, numbered through over the axes that the tuples (and batch dimensions before them) go into."""
    x, indices, batch = e.input(0), e.input(1), e.attr("batch_dims", 0)
    depth = e.size(indices, -1)
    inner = range(batch, batch + depth)
    known = e.dims(x)
    given = const(indices)
    where: ir.Value | None = None
    if given is not None and None not in known[batch : batch + depth]:
        limits = np.array(known[batch : batch + depth], np.int64)
        steps = np.array([int(np.prod(limits[i + 1 :])) for i in range(depth)], np.int64)
        places = given.astype(np.int64)
        where = e.array((np.where(places < 0, places + limits, places) * steps).sum(-1, dtype=np.int64))
    else:
        plain = never_negative(indices)
        for column, axis in enumerate(inner):
            along = _column(e, indices, column)
            if not plain:
                along = from_start(e, along, _scalar(e, x, [axis]))
            if axis + 1 < batch + depth:
                along = e.op("Mul", along, _scalar(e, x, inner[column + 1 :]))
            where = along if where is None else e.op("Add", where, along)
    assert where is not None
    if batch:
        where = e.op("Add", where, _starts(e, x, inner, e.rank(indices) - 1))
    return (e.op("Gather", _rows(e, x, batch + depth), where, axis=0),)


def _column(e: Expansion, indices: ir.Value, column: int) -> ir.Value:
    """One number of every tuple, int64; taken from what the tuples were joined from."""
    node, last = indices.producer(), e.rank(indices) - 1
    if node is not None and node.op_type == "Concat" and node.attributes["axis"].as_int() in (-1, last):
        parts = [v for v in node.inputs if v is not None]
        if len(parts) == e.size(indices, -1) and all(e.dims(v)[-1] == 1 for v in parts):
            return e.cast(e.op("Squeeze", parts[column], e.ints(last)), ir.DataType.INT64)
    return e.cast(e.op("Gather", indices, e.int(column), axis=-1), ir.DataType.INT64)


def _scalar(e: Expansion, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """The product of some dimensions as an int64 scalar."""
    sizes = [e.dims(x)[i] for i in axes]
    number = e.int(int(np.prod([d for d in sizes if d is not None], dtype=np.int64)))
    for axis, size in zip(axes, sizes, strict=True):
        if size is None:
            held = e.op("Reshape", extent(e, x, axis), e.ints())
            one = const(number)
            number = held if one is not None and one == 1 else e.op("Mul", number, held)
    return number


def _shape(e: Expansion, x: ir.Value, axes: Sequence[int], first: Sequence[int], last: Sequence[int]) -> ir.Value:
    """Some dimensions between given numbers, as a vector; one that is only known at run time is told by -1."""
    sizes = [e.dims(x)[i] for i in axes]
    if sizes.count(None) + list(first).count(-1) <= 1:
        return e.ints(*first, *[-1 if d is None else d for d in sizes], *last)
    parts = [e.ints(*first)] if first else []
    parts += [extent(e, x, i) for i in axes]
    return e.op("Concat", *parts, *([e.ints(*last)] if last else []), axis=0)


def _rows(e: Expansion, x: ir.Value, outer: int) -> ir.Value:
    """The first ``outer`` axes joined."""
    sizes = [d for d in e.dims(x)[:outer] if d is not None]
    count = int(np.prod(sizes, dtype=np.int64)) if len(sizes) == outer else -1
    return e.op("Reshape", x, _shape(e, x, range(outer, e.rank(x)), [count], []))


def _starts(e: Expansion, x: ir.Value, inner: range, rank: int) -> ir.Value:
    """Where each batch's rows begin, shaped to broadcast with ``rank`` dimensions."""
    lead = range(inner.start)
    sizes = e.dims(x)[: inner.stop]
    ones = [1] * (rank - inner.start)
    if None not in sizes:
        shape = [d for d in sizes if d is not None]
        numbers = np.arange(int(np.prod(shape[: inner.start])), dtype=np.int64)
        return e.array((numbers * int(np.prod(shape[inner.start :]))).reshape(*shape[: inner.start], *ones))
    counted = e.op("Range", e.int(0), _scalar(e, x, lead), e.int(1))
    starts = e.op("Mul", counted, _scalar(e, x, inner))
    return e.op("Reshape", starts, _shape(e, x, lead, [], ones))


def from_start(e: Expansion, indices: ir.Value, count: ir.Value) -> ir.Value:
    """Negative indices counted from the end."""
    return e.op("Where", e.op("Less", indices, e.number(0, indices)), e.op("Add", indices, count), indices)
