"""Moving elements: reshape, transpose, slice, gather, pad, join, split."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer, ints, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.formats.mindspore.writing.pooling import pad_last
from recast.graph.view import attr, const, dims, is_const, static_shape

_FAR = 2**31 - 1


def target_shape(value: ir.Value) -> tuple[int, ...]:
    """A value's shape with at most one unknown dimension as -1."""
    shape = tuple(d if isinstance(d, int) else -1 for d in dims(value))
    if shape.count(-1) > 1:
        raise Refusal(f"more than one dimension of {value.name} is unknown")
    return shape


@writes("Reshape", "Flatten")
def reshape(w: Writer, node: ir.Node) -> None:
    x, y = value_of(node), node.outputs[0]
    if y.shape is None:
        raise Refusal("the new shape is not known")
    given = const(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is not None and all(int(d) > 0 or int(d) == -1 for d in given):
        w.bind(y, w.fn("Reshape", x, tuple(int(d) for d in given)))
        return
    if sum(not isinstance(d, int) for d in dims(y)) <= 1:
        w.bind(y, w.fn("Reshape", x, target_shape(y)))
        return
    # several unknown dimensions that are copied from the input: read at run time
    now = w.fn("Shape", x)
    source = list(dims(x))
    parts: list[Arg] = []
    for d in dims(y):
        if isinstance(d, int):
            parts.append(d)
        elif d is not None and d in source:
            parts.append(w.item(now, source.index(d)))
        elif -1 not in parts:
            parts.append(-1)
        else:
            raise Refusal("more than one dimension is unknown")
    w.bind(y, w.fn("Reshape", x, w.pack(parts)))


@writes("Squeeze")
def squeeze(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    axes = ints(node.inputs[1], "axes") if len(node.inputs) > 1 and node.inputs[1] is not None else []
    if not axes:
        axes = [i for i, d in enumerate(dims(x)) if d == 1]
    w.bind(node.outputs[0], w.fn("Squeeze", x, tuple(axes)) if axes else w.ref(x))


@writes("Unsqueeze")
def unsqueeze(w: Writer, node: ir.Node) -> None:
    x, axes = value_of(node), ints(value_of(node, 1), "axes")
    rank = len(dims(x)) + len(axes)
    result: Arg = x
    for axis in sorted(a % rank for a in axes):
        result = w.fn("ExpandDims", result, axis)
    w.bind(node.outputs[0], result if isinstance(result, Ref) else w.ref(x))


@writes("Transpose")
def transpose(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    perm = attr(node, "perm", list(reversed(range(len(dims(x))))))
    w.bind(node.outputs[0], w.fn("Transpose", x, tuple(perm)))


@writes("Concat")
def concat(w: Writer, node: ir.Node) -> None:
    parts: list[Arg] = [v for v in node.inputs if v is not None and 0 not in dims(v)]
    w.bind(node.outputs[0], w.fn("Concat", w.pack(parts), int(attr(node, "axis"))))


@writes("Split")
def split(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    rank = len(dims(x))
    axis = attr(node, "axis", 0) % rank
    sizes = [dims(v)[axis] for v in node.outputs]
    if not all(isinstance(s, int) for s in sizes):
        raise Refusal("the sizes of its parts must be known")
    if len(set(sizes)) == 1 and sizes[0]:
        made = w.fn("Split", x, axis, len(sizes))
        for index, value in enumerate(node.outputs):
            w.bind(value, w.item(made, index))
        return
    start = 0
    for value, size in zip(node.outputs, sizes, strict=True):
        end = start + int(size or 0)
        w.bind(value, strided(w, x, {axis: (start, end, 1)}, rank))
        start = end


def strided(w: Writer, x: ir.Value, spans: dict[int, tuple[int, int, int]], rank: int) -> Ref:
    """NumPy's basic slicing: spans are (start, end, step) by axis, with ONNX's clamping."""
    begin, end, step, begin_mask, end_mask = [0] * rank, [0] * rank, [1] * rank, 0, 0
    for axis in range(rank):
        if axis not in spans:
            begin_mask, end_mask = begin_mask | 1 << axis, end_mask | 1 << axis
            continue
        start, stop, stride = spans[axis]
        size = dims(x)[axis]
        known = size if isinstance(size, int) else None
        first, last = (0, known) if stride > 0 else (None if known is None else known - 1, -1)
        if known is not None:
            start, stop = _clamp(start, known, stride), _clamp(stop, known, stride)
        whole_start = start == first or (known is None and (start >= _FAR if stride < 0 else start <= -_FAR))
        whole_end = stop == last if known is not None else (stop >= _FAR if stride > 0 else stop <= -_FAR)
        begin[axis], end[axis], step[axis] = start, stop, stride
        if whole_start:
            begin[axis], begin_mask = 0, begin_mask | 1 << axis
        if whole_end:
            end[axis], end_mask = 0, end_mask | 1 << axis
    return w.fn("StridedSlice", x, tuple(begin), tuple(end), tuple(step), begin_mask, end_mask, 0, 0, 0)


def _clamp(at: int, size: int, step: int) -> int:
    at = at + size if at < 0 else at
    return min(max(at, 0), size) if step > 0 else min(max(at, -1), size - 1)


def _constant_bounds(node: ir.Node) -> bool:
    return all(const(v) is not None for v in node.inputs[1:] if v is not None)


@writes("Slice", when=_constant_bounds)
def slice_(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    rank = len(dims(x))
    starts, ends = ints(value_of(node, 1), "starts"), ints(value_of(node, 2), "ends")
    given = [node.inputs[i] if len(node.inputs) > i else None for i in (3, 4)]
    axes = list(range(len(starts))) if given[0] is None else ints(given[0], "axes")
    steps = [1] * len(starts) if given[1] is None else ints(given[1], "steps")
    spans = {a % rank: (s, e, t) for a, s, e, t in zip(axes, starts, ends, steps, strict=True)}
    w.bind(node.outputs[0], strided(w, x, spans, rank))


def _broadcasts(node: ir.Node) -> bool:
    """BroadcastTo takes whole shapes; repetition says which axes grow."""
    return not is_const(node.inputs[1]) or static_shape(node.outputs[0]) is not None


@writes("Expand", when=_broadcasts)
def expand(w: Writer, node: ir.Node) -> None:
    x, y = value_of(node), node.outputs[0]
    if y.shape is None:
        raise Refusal("the new shape is not known")
    offset = len(dims(y)) - len(dims(x))
    shape: list[Arg] = []
    for i, d in enumerate(dims(y)):
        source = dims(x)[i - offset] if i >= offset else None
        kept = not isinstance(d, int) and source is not None and source == d
        shape.append(-1 if kept else w.dimension(d))
    fixed = all(isinstance(d, int) for d in shape)
    w.bind(y, w.fn("BroadcastTo", x, tuple(shape) if fixed else w.pack(shape)))


@writes("Tile")
def tile(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.fn("Tile", value_of(node), tuple(ints(value_of(node, 1), "repeats"))))


@writes("Pad")
def pad(w: Writer, node: ir.Node) -> None:
    x, pads = value_of(node), ints(value_of(node, 1), "pads")
    rank = len(dims(x))
    axes = ints(node.inputs[3], "axes") if len(node.inputs) > 3 and node.inputs[3] is not None else range(rank)
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pairs[axis % rank] = (pads[i], pads[len(pads) // 2 + i])
    while pairs and pairs[0] == (0, 0):  # only the last dimensions need to be named
        pairs.pop(0)
    mode = attr(node, "mode", "constant")
    if not pairs:
        w.bind(node.outputs[0], w.ref(x))
    elif mode == "constant":
        given = node.inputs[2] if len(node.inputs) > 2 else None
        array = np.zeros(()) if given is None else const(given)
        if array is None:
            value: Arg = w.fn("Reshape", given, ())
        else:
            value = np.asarray(array.reshape(()), dtype_of(x).numpy())
        w.bind(node.outputs[0], pad_last(w, x, pairs, value))
    else:
        w.bind(node.outputs[0], _pad_by_gather(w, x, pairs, mode))


def _pad_by_gather(w: Writer, x: ir.Value, pairs: list[tuple[int, int]], mode: str) -> Ref:
    """Reflect, edge and wrap: each padded axis is a selection of what is there."""
    names = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    result: Arg = x
    first = len(dims(x)) - len(pairs)
    for axis, (begin, end) in enumerate(pairs, first):
        size = dims(x)[axis]
        if (begin, end) == (0, 0):
            continue
        if not isinstance(size, int):
            raise Refusal("padding an axis of unknown size")
        kept = np.arange(size)[max(0, -begin) : size - max(0, -end)]
        widths: Any = (max(0, begin), max(0, end))
        picked = np.pad(kept, widths, mode=names[mode])  # type: ignore[call-overload]
        result = w.fn("Gather", result, picked.astype(np.int64), axis, 0)
    return result if isinstance(result, Ref) else w.ref(x)


@writes("DepthToSpace", "SpaceToDepth")
def depth_space(w: Writer, node: ir.Node) -> None:
    x, block = value_of(node), int(attr(node, "blocksize"))
    n, c, h, wide = (-1 if not isinstance(d, int) else d for d in dims(x))
    if -1 in (c, h, wide):
        raise Refusal("channels, height and width must be known")
    if node.op_type == "SpaceToDepth":
        made = w.fn("Reshape", x, (n, c, h // block, block, wide // block, block))
        order = (0, 3, 5, 1, 2, 4) if attr(node, "mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
        made = w.fn("Transpose", made, order)
        w.bind(node.outputs[0], w.fn("Reshape", made, (n, c * block * block, h // block, wide // block)))
        return
    small = c // (block * block)
    if attr(node, "mode", "DCR") == "DCR":
        made = w.fn("Transpose", w.fn("Reshape", x, (n, block, block, small, h, wide)), (0, 3, 4, 1, 5, 2))
    else:
        made = w.fn("Transpose", w.fn("Reshape", x, (n, small, block, block, h, wide)), (0, 1, 4, 2, 5, 3))
    w.bind(node.outputs[0], w.fn("Reshape", made, (n, small, h * block, wide * block)))


@writes("Shape")
def shape_(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    rank = len(dims(x))
    start, end = attr(node, "start", 0), attr(node, "end", rank)
    start, end = _clamp(start, rank, 1), _clamp(end, rank, 1)
    shape = static_shape(x)
    if shape is not None:
        w.bind(node.outputs[0], w.constant(np.asarray(shape[start:end], np.int64)))
        return
    made = w.fn("TensorShape", x)
    if (start, end) != (0, rank):
        made = w.fn("StridedSlice", made, (start,), (end,), (1,), 0, 0, 0, 0, 0)
    w.bind(node.outputs[0], made)


@writes("Size")
def size(w: Writer, node: ir.Node) -> None:
    shape = static_shape(value_of(node))
    if shape is None:
        raise Refusal("the shape is not known")
    w.bind(node.outputs[0], w.constant(np.asarray(int(np.prod(shape)), np.int64)))


@writes("Trilu")
def trilu(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    shift = ints(node.inputs[1], "k")[0] if len(node.inputs) > 1 and node.inputs[1] is not None else 0
    rows, columns = dims(x)[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Refusal("the matrix's size must be known")
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, shift) if attr(node, "upper", 1) else np.tril(ones, shift)
    w.bind(node.outputs[0], w.fn("Select", mask, x, scalar(0, x)))
