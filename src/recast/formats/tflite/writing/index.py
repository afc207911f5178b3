"""Selecting and placing elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import Emitter, Options, dims_of
from recast.formats.tflite.writing.move import as_int32, moves
from recast.graph import view

_FAR = 2**31 - 1
_MOST_AXES = 5  # of STRIDED_SLICE


@writes("Gather")
def gather(w: Emitter, node: ir.Node) -> None:
    """GATHER; constant negative indices are counted from the end."""
    x, indices = node.inputs
    assert x is not None
    assert indices is not None
    rank = len(dims_of(x))
    axis = int(view.attr(node, "axis", 0)) % rank
    given = view.const(indices)
    size = dims_of(x)[axis]
    if given is not None:
        if np.any(given < 0) and size < 0:
            raise Refused("negative indices into a dimension that is only known at run time")
        places = w.ints(np.where(given < 0, given + size, given))
    else:
        places = _from_start(w, indices, size)
    options = ("GatherOptions", {"axis": axis})
    moves(w, node, lambda a, b: w.op("GATHER", [a, places], [b], options))


def _from_start(w: Emitter, indices: ir.Value, size: int) -> int:
    """Indices computed at run time, as int32, with negative ones counted from the end as ONNX does."""
    raw = as_int32(w, indices)
    producer = indices.producer()
    if size < 0 or (producer is not None and producer.op_type in ("ArgMax", "ArgMin", "TopK", "Shape", "NonZero")):
        return raw
    negative = w.then("LESS", [raw, w.ints(0)], None, None, "BOOL")
    counted = w.then("ADD", [raw, w.ints(size)], None, ("AddOptions", {}))
    chosen = w.temp(raw)
    w.op("SELECT_V2", [negative, counted, raw], [chosen], ("SelectV2Options", {}))
    return chosen


def _plain_places(node: ir.Node) -> bool:
    """No batch dimensions, and no constant counts from the end."""
    given = view.const(node.inputs[1])
    return not view.attr(node, "batch_dims", 0) and (given is None or not np.any(given < 0))


@writes("GatherND", when=_plain_places)
def gather_nd(w: Emitter, node: ir.Node) -> None:
    """GATHER_ND."""
    if view.attr(node, "batch_dims", 0):
        raise Refused("GatherND with batch dimensions")
    indices = node.inputs[1]
    given = view.const(indices)
    if given is not None and np.any(given < 0):
        raise Refused("GatherND with negative indices")
    places = w.ints(given) if given is not None else w.take(indices)
    moves(w, node, lambda a, b: w.op("GATHER_ND", [a, places], [b], ("GatherNdOptions", {})))


@writes("GatherElements")
def gather_elements(w: Emitter, node: ir.Node) -> None:
    """GATHER_ND at the indices' own places, but for one axis."""
    x, indices = node.inputs
    assert x is not None
    assert indices is not None
    shape = dims_of(indices)
    size = dims_of(x)[int(view.attr(node, "axis", 0))]
    if -1 in shape or size < 0:
        raise Refused("GatherElements over sizes that are only known at run time")
    axis = int(view.attr(node, "axis", 0)) % len(shape)
    given = view.const(indices)
    along = w.ints(np.where(given < 0, given + size, given)) if given is not None else _from_start(w, indices, size)
    grid = np.indices(shape, dtype=np.int32)
    parts = [along if i == axis else w.constant(grid[i]) for i in range(len(shape))]
    options = ("PackOptions", {"values_count": len(parts), "axis": len(shape)})
    places = w.then("PACK", parts, (*shape, len(shape)), options)
    moves(w, node, lambda a, b: w.op("GATHER_ND", [a, places], [b], ("GatherNdOptions", {})))


@writes("Slice")
def slice_(w: Emitter, node: ir.Node) -> None:
    """STRIDED_SLICE."""
    x = node.inputs[0]
    assert x is not None
    dims = dims_of(x)
    given = [view.const(v) if v is not None else None for v in node.inputs[1:]]
    if any(v is not None and g is None for v, g in zip(node.inputs[1:], given, strict=True)):
        _slice_by_computed(w, node, given)
        return
    starts, ends = given[0], given[1]
    assert starts is not None
    assert ends is not None
    axes = given[2] if len(given) > 2 and given[2] is not None else np.arange(len(starts))
    steps = given[3] if len(given) > 3 and given[3] is not None else np.ones(len(starts), np.int64)
    begin, end, stride = [0] * len(dims), [0] * len(dims), [1] * len(dims)
    open_begin = open_end = (1 << len(dims)) - 1
    for start, stop, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        place = axis % len(dims)
        low, high = _bounds(start, stop, step, dims[place])
        begin[place], end[place], stride[place] = low or 0, high or 0, step
        open_begin &= ~((low is not None) << place)
        open_end &= ~((high is not None) << place)
    options = ("StridedSliceOptions", {"begin_mask": open_begin, "end_mask": open_end})
    bounds = [begin, end, stride]
    if len(dims) > _MOST_AXES:
        moves(w, node, lambda a, b: _slice_merged(w, (a, b), bounds, (open_begin, open_end)))
        return
    numbers = [w.ints(v) for v in bounds]
    moves(w, node, lambda a, b: w.op("STRIDED_SLICE", [a, *numbers], [b], options))


def _slice_merged(w: Emitter, ends: tuple[int, int], bounds: list[list[int]], masks: tuple[int, int]) -> None:
    """STRIDED_SLICE with neighbouring axes that stay whole taken as one."""
    source, target = ends
    whole = [bool(masks[0] & masks[1] & 1 << i) and step == 1 for i, step in enumerate(bounds[2])]
    groups: list[list[int]] = []
    for axis, kept in enumerate(whole):
        if kept and groups and whole[groups[-1][0]]:
            groups[-1].append(axis)
        else:
            groups.append([axis])

    def merged(shape: tuple[int, ...]) -> list[int]:
        return [-1 if any(shape[a] < 0 for a in g) else int(np.prod([shape[a] for a in g])) for g in groups]

    first, last = (sum(1 << i for i, g in enumerate(groups) if mask >> g[0] & 1) for mask in masks)
    options: Options = ("StridedSliceOptions", {"begin_mask": first, "end_mask": last})
    numbers = [w.ints([v[g[0]] for g in groups]) for v in bounds]
    shape = w.shape(source)
    cut = w.then("STRIDED_SLICE", [w.reshape(source, merged(shape)), *numbers], merged(w.shape(target)), options)
    w.reshape(cut, w.shape(target), target)


def _slice_by_computed(w: Emitter, node: ir.Node, given: list[np.ndarray | None]) -> None:
    """STRIDED_SLICE with bounds that are computed at run time."""
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    axes, steps = (given[i] if len(given) > i else None for i in (2, 3))
    if any(len(node.inputs) > i and node.inputs[i] is not None and not view.is_const(node.inputs[i]) for i in (3, 4)):
        raise Refused("axes or steps that are computed at run time")
    count = dims_of(node.inputs[1])[0] if node.inputs[1] is not None else -1
    if count < 0:
        raise Refused("a number of bounds that is only known at run time")
    places = [int(a) % rank for a in (axes if axes is not None else range(count))]
    stride = [1] * rank
    for place, step in zip(places, steps if steps is not None else [1] * count, strict=True):
        stride[place] = int(step)
    if any(s < 0 for s in stride):
        raise Refused("backwards between bounds that are computed at run time")
    order = w.ints([places.index(i) if i in places else count for i in range(rank)])
    ends = []
    for value in node.inputs[1:3]:
        padded = w.then("CONCATENATION", [_near(w, value), w.ints([0])], (count + 1,), ("ConcatenationOptions", {}))
        ends.append(w.then("GATHER", [padded, order], (rank,), ("GatherOptions", {"axis": 0})))
    free = sum(1 << i for i in range(rank) if i not in places)
    options = ("StridedSliceOptions", {"begin_mask": free, "end_mask": free})
    bounds = [*ends, w.ints(stride)]
    moves(w, node, lambda a, b: w.op("STRIDED_SLICE", [a, *bounds], [b], options))


def _near(w: Emitter, value: ir.Value | None) -> int:
    """Bounds as int32; 'to the very end' may be any large int64."""
    if view.is_const(value):
        given = view.const(value)
        assert given is not None
        return w.ints(np.clip(given, -_FAR, _FAR))
    index = w.take(value)
    if w.tensors[index].type == "INT32":
        return index
    options: Options = ("MaximumMinimumOptions", {})
    low = w.then("MAXIMUM", [index, w.constant(np.array(-_FAR, np.int64))], None, options)
    high = w.then("MINIMUM", [low, w.constant(np.array(_FAR, np.int64))], None, options)
    return w.then("CAST", [high], None, ("CastOptions", {"in_data_type": 4, "out_data_type": 2}), "INT32")


def _bounds(start: int, stop: int, step: int, size: int) -> tuple[int | None, int | None]:
    """Begin and end, None for 'from the very end'; over a known size they are written without negative numbers."""
    if size >= 0:
        first, last, _ = slice(start, stop, step).indices(size)
        if step < 0:
            return (first if first >= 0 else 0), (last if last >= 0 else None)
        return first, max(last, first)
    low = None if (step > 0 and start == 0) or (step < 0 and abs(start) > _FAR - 1) else start
    high = None if abs(stop) >= _FAR else stop
    return low, high


@writes("Split")
def split(w: Emitter, node: ir.Node) -> None:
    """SPLIT into equal parts, SPLIT_V into others; integers stay integers."""
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    axis = int(view.attr(node, "axis", 0)) % rank
    sizes = [dims_of(v)[axis] for v in node.outputs]
    if any(s < 0 for s in sizes):
        raise Refused("parts of a size that is only known at run time")
    source = w.integer(x)
    if source is None:
        source = w.take(x)
        parts = [w.put(v) for v in node.outputs]
    else:
        parts = [w.temp(source, dims_of(v)) for v in node.outputs]
        for value, part in zip(node.outputs, parts, strict=True):
            w.set_integer(value, part)
    if len(set(sizes)) == 1:
        w.op("SPLIT", [w.ints(axis), source], parts, ("SplitOptions", {"num_splits": len(parts)}))
        return
    w.op("SPLIT_V", [source, w.ints(sizes), w.ints(axis)], parts, ("SplitVOptions", {"num_splits": len(parts)}))


@writes("OneHot")
def one_hot(w: Emitter, node: ir.Node) -> None:
    """ONE_HOT."""
    indices, depth, values = node.inputs
    pair, count = view.const(values), view.const(depth)
    if pair is None or count is None:
        raise Refused("a depth or values that are computed at run time")
    assert indices is not None
    options = {"axis": int(view.attr(node, "axis", -1)) % (len(dims_of(indices)) + 1)}
    off, on = (w.constant(np.array(v, pair.dtype)) for v in pair.reshape(-1))
    inputs = [_from_start(w, indices, int(count.reshape(-1)[0])), w.ints(int(count.reshape(-1)[0])), on, off]
    w.op("ONE_HOT", inputs, [w.put(node.outputs[0])], ("OneHotOptions", options))


@writes("NonZero")
def non_zero(w: Emitter, node: ir.Node) -> None:
    """WHERE gives one row per element, ONNX one column."""
    x = node.inputs[0]
    assert x is not None
    source = w.take(x)
    if w.tensors[source].type != "BOOL":
        zero = w.constant(np.zeros((), w.tensors[source].type.lower()))
        source = w.then("NOT_EQUAL", [source, zero], None, None, "BOOL")
    rows = w.then("WHERE", [source], (-1, len(dims_of(x))), ("WhereOptions", {}), "INT64")
    w.op("TRANSPOSE", [rows, w.ints([1, 0])], [w.put(node.outputs[0])], ("TransposeOptions", {}))


@writes("Shape")
def shape(w: Emitter, node: ir.Node) -> None:
    """SHAPE, cut where only some dimensions are wanted."""
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    first, last, _ = slice(view.attr(node, "start", 0), view.attr(node, "end", rank)).indices(rank)
    index = w.integer(x)
    source = w.take(x) if index is None else index
    out = w.put(node.outputs[0])
    whole = out if (first, last) == (0, rank) else w.tensor(f"{node.name}/all", "INT64", (rank,))
    w.op("SHAPE", [source], [whole], ("ShapeOptions", {"out_type": 4}))
    if whole != out:
        bounds = [w.ints([first]), w.ints([max(last - first, 0)])]
        w.op("SLICE", [whole, *bounds], [out], ("SliceOptions", {}))


@writes("Range")
def range_(w: Emitter, node: ir.Node) -> None:
    """RANGE of scalars."""
    ends = [w.take(v) for v in node.inputs]
    ends = [w.reshape(i, ()) if w.shape(i) else i for i in ends]
    w.op("RANGE", ends, [w.put(node.outputs[0])], ("RangeOptions", {}))


@writes("ConstantOfShape")
def constant_of_shape(w: Emitter, node: ir.Node) -> None:
    """FILL."""
    value = node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
    scalar = w.constant(fill.reshape(()))
    w.op("FILL", [as_int32(w, node.inputs[0]), scalar], [w.put(node.outputs[0])], ("FillOptions", {}))


def _known_triangle(node: ir.Node) -> bool:
    x = node.inputs[0]
    known = x is not None and x.shape is not None and all(isinstance(d, int) for d in x.shape[-2:])
    return known and (len(node.inputs) < 2 or node.inputs[1] is None or view.is_const(node.inputs[1]))


@writes("Trilu", when=_known_triangle)
def trilu(w: Emitter, node: ir.Node) -> None:
    """SELECT_V2 between the matrix and zeros, by a constant mask."""
    x = node.inputs[0]
    assert x is not None
    rows, columns = dims_of(x)[-2:]
    offset_value = node.inputs[1] if len(node.inputs) > 1 else None
    offset = view.const(offset_value)
    if rows < 0 or columns < 0 or (offset_value is not None and offset is None):
        raise Refused("a triangle that is only known at run time")
    k = 0 if offset is None else int(offset.reshape(-1)[0])
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, k) if view.attr(node, "upper", 1) else np.tril(ones, k)
    source = w.take(x)
    zero = w.constant(np.zeros((), w.tensors[source].type.lower()))
    w.op("SELECT_V2", [w.constant(mask), source, zero], [w.put(node.outputs[0])], ("SelectV2Options", {}))
