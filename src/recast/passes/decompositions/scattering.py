"""Writing elements at given places."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.gathering import from_start

_COMBINE = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


@decomposes("ScatterElements")
def scatter_elements(e: Expansion) -> Results:
    """ScatterND at the indices' own places but for one axis."""
    x, indices, updates = e.input(0), e.input(1), e.input(2)
    rank = e.rank(x)
    axis, shape = e.attr("axis", 0) % max(rank, 1), e.static(indices)
    count = e.size(x, axis)
    grid = np.indices(shape, dtype=np.int64)
    given = const(indices)
    if given is not None:
        grid[axis] = np.where(given < 0, given + count, given)
        places = e.array(np.stack(list(grid), -1))
    else:
        along = from_start(e, e.cast(indices, ir.DataType.INT64), e.int(count))
        columns = [along if i == axis else e.array(grid[i]) for i in range(rank)]
        places = e.op("Concat", *[e.op("Unsqueeze", c, e.ints(-1)) for c in columns], axis=-1)
    return (e.op("ScatterND", x, places, updates, reduction=e.attr("reduction", "none")),)


@decomposes("ScatterND")
def scatter_nd(e: Expansion) -> Results:
    """Products and extremes at constant places: gathered, combined and written, once per time a place occurs."""
    x, updates = e.input(0), e.input(2)
    combine = _COMBINE.get(e.attr("reduction", "none"))
    places = const(e.input(1))
    if places is None or combine is None:
        raise Unfit("combining with what is there at places that are computed at run time")
    depth = places.shape[-1]
    rows = places.reshape(-1, depth)
    rest = e.static(updates)[places.ndim - 1 :]
    flat = e.op("Reshape", updates, e.ints(len(rows), *rest))
    for turn in _turns(rows):
        here = e.array(rows[turn])
        fresh = e.op("Gather", flat, e.array(turn), axis=0)
        x = e.op("ScatterND", x, here, e.op(combine, e.op("GatherND", x, here), fresh))
    return (e.op("Identity", x) if x is e.input(0) else x,)


def _turns(rows: np.ndarray) -> list[np.ndarray]:
    """Row numbers, sorted into turns in which no place occurs twice."""
    seen: dict[bytes, int] = {}
    turns: list[list[int]] = []
    for number, row in enumerate(rows):
        key = row.tobytes()
        turn = seen[key] = seen.get(key, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(number)
    return [np.array(t, np.int64) for t in turns]


@decomposes("TensorScatter")
def tensor_scatter(e: Expansion) -> Results:
    """Write a block into a cache at a place per batch: along ``axis``, around its end in mode ``circular``."""
    past, update, starts = e.input(0), e.input(1), e.optional(2)
    rank = e.rank(past)
    axis, shape = e.attr("axis", -2) % rank, e.static(update)
    along = np.arange(shape[axis], dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(rank)])
    places = e.array(along)
    if starts is not None:
        first = e.op("Reshape", starts, e.ints(-1, *[1] * (rank - 1)))
        places = e.op("Add", e.cast(first, ir.DataType.INT64), places)
        if e.attr("mode", "linear") == "circular":
            places = e.op("Mod", places, e.int(e.size(past, axis)))
    return (e.op("ScatterElements", past, e.op("Expand", places, e.ints(*shape)), update, axis=axis),)


@decomposes("MaxUnpool")
def max_unpool(e: Expansion) -> Results:
    """Zeros, with the maxima at the places where they came from."""
    x, indices = e.input(0), e.input(1)
    shape = e.static(x)
    rank = len(shape) - 2
    sizes = e.constant(2, "an output shape")
    strides, pads = e.attr("strides") or [1] * rank, e.attr("pads") or [0] * 2 * rank
    kernel = e.attr("kernel_shape")
    spatial = [
        (n - 1) * s - a - b + k
        for n, s, k, a, b in zip(shape[2:], strides, kernel, pads[:rank], pads[rank:], strict=True)
    ]
    inferred = (*shape[:2], *spatial)
    out = inferred if sizes is None else tuple(int(d) for d in sizes)
    flat = e.op("Reshape", e.cast(indices, ir.DataType.INT64), e.ints(-1))
    if out != inferred:  # the indices count in the inferred shape
        flat = _recounted(e, flat, inferred, out)
    zeros = e.array(np.zeros(int(np.prod(out)), e.dtype(x).numpy()))
    done = e.op("ScatterElements", zeros, flat, e.op("Reshape", x, e.ints(-1)), axis=0)
    return (e.op("Reshape", done, e.ints(*out)),)


def _recounted(e: Expansion, flat: ir.Value, before: tuple[int, ...], after: tuple[int, ...]) -> ir.Value:
    """Row-major positions in one shape as positions in another."""
    given = const(e.input(1))
    if given is None:
        raise Unfit("an output shape of its own with places that are computed at run time")
    del flat
    return e.array(np.ravel_multi_index(np.unravel_index(given.reshape(-1), before), after).astype(np.int64))


@decomposes("Col2Im")
def col2im(e: Expansion) -> Results:
    """Add the columns to the places in the image that they were taken from."""
    x = e.input(0)
    image, block = e.constant(1, "an image shape"), e.constant(2, "a block shape")
    if image is None or block is None:
        raise Unfit("no image shape")
    sizes, kernel = [int(d) for d in image], [int(d) for d in block]
    rank = len(sizes)
    ones = [1] * rank
    strides, dilations = e.attr("strides") or ones, e.attr("dilations") or ones
    pads = e.attr("pads") or [0] * 2 * rank
    padded = [s + a + b for s, a, b in zip(sizes, pads[:rank], pads[rank:], strict=True)]
    counts = [(p - d * (k - 1) - 1) // s + 1 for p, d, k, s in zip(padded, dilations, kernel, strides, strict=True)]
    offsets = np.indices(kernel).reshape(rank, -1, 1) * np.reshape(dilations, (rank, 1, 1))
    corners = np.indices(counts).reshape(rank, 1, -1) * np.reshape(strides, (rank, 1, 1))
    places = np.ravel_multi_index(tuple(offsets + corners), padded).reshape(-1)
    n, c, length = e.size(x, 0), e.size(x, 1) // int(np.prod(kernel)), int(np.prod(padded))
    columns = e.op("Transpose", e.op("Reshape", x, e.ints(n * c, -1)), perm=[1, 0])
    zeros = e.array(np.zeros((length, n * c), e.dtype(x).numpy()))
    done = e.op("ScatterND", zeros, e.array(places[:, None].astype(np.int64)), columns, reduction="add")
    y = e.op("Reshape", e.op("Transpose", done, perm=[1, 0]), e.ints(n, c, *padded))
    begin = e.ints(*pads[:rank])
    end = e.ints(*[a + s for a, s in zip(pads[:rank], sizes, strict=True)])
    return (e.op("Slice", y, begin, end, e.ints(*range(2, rank + 2))),)
