"""Slices, gathers, scatters and padding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite import schema
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads
from recast.formats.tflite.reading.placing import slice_by_computed

_END = np.iinfo(np.int64).max


@reads("SLICE")
def slice_(c: Call) -> None:
    """From ``begin``, ``size`` elements; -1 means up to the end."""
    rank = c.rank(0)
    if c.array(1) is None or c.array(2) is None:
        begin, size = c.int64(1), c.int64(2)
        total = c.b.op("Shape", [c.x(0)])
        open_ = c.b.op("Less", [size, c.b.const(0, np.int64)])
        end = c.b.op("Where", [open_, total, c.b.op("Add", [begin, size])])
        c.out(c.b.op("Slice", [c.x(0), begin, end]))
        return
    begin_, size_ = c.ints(1), c.ints(2)
    if len(begin_) != rank or len(size_) != rank or min([*begin_, *(s + 1 for s in size_), 0]) < 0:
        raise c.bad(f"begin {begin_} and size {size_} for {rank} dimensions")
    ends = [_END if s < 0 else b + s for b, s in zip(begin_, size_, strict=True)]
    c.out(_cut(c, c.x(0), [(axis, b, e, 1) for axis, (b, e) in enumerate(zip(begin_, ends, strict=True))]))


def _cut(c: Call, value: ir.Value, cuts: list[tuple[int, int, int, int]]) -> ir.Value:
    """Slice the axes that are really cut: (axis, begin, end, step)."""
    real = [cut for cut in cuts if cut[1:] != (0, _END, 1)]
    if not real:
        return c.b.op("Identity", [value])
    axes, begins, ends, steps = (list(v) for v in zip(*real, strict=True))
    inputs = [c.b.const(v, np.int64, n) for v, n in ((begins, "begin"), (ends, "end"), (axes, "axes"), (steps, "step"))]
    return c.b.op("Slice", [value, *inputs])


@reads("STRIDED_SLICE")
def strided_slice(c: Call) -> None:
    """NumPy indexing as TensorFlow encodes it in five masks."""
    if slice_by_computed(c):
        return
    begins, ends, steps = c.ints(1, "begin"), c.ints(2, "end"), c.ints(3, "strides")
    if not len(begins) == len(ends) == len(steps) or 0 in steps:
        raise c.bad(f"begin {begins}, end {ends}, strides {steps}")
    if c.opt("offset"):
        ends = [b + e for b, e in zip(begins, ends, strict=True)]
    masks = {n: int(c.opt(f"{n}_mask")) for n in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if bin(masks["ellipsis"]).count("1") > 1:
        raise c.bad("more than one ellipsis")
    rank = c.rank(0)
    used = sum(not (masks["ellipsis"] | masks["new_axis"]) >> i & 1 for i in range(len(begins)))
    if used > rank:
        raise c.bad(f"{used} indices for {rank} dimensions")
    cuts: list[tuple[int, int, int, int]] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = place = 0  # axis of the input, axis of the result before dropping
    for i in range(len(begins)):
        if masks["ellipsis"] >> i & 1:
            axis, place = axis + rank - used, place + rank - used
            continue
        if masks["new_axis"] >> i & 1:
            added.append(place)
            place += 1
            continue
        if masks["shrink_axis"] >> i & 1:
            cuts.append((axis, begins[i], begins[i] + 1 if begins[i] != -1 else _END, 1))
            dropped.append(place)
        else:
            cuts.append(_range(axis, i, (begins[i], ends[i], steps[i]), masks))
        axis, place = axis + 1, place + 1
    value = _cut(c, c.x(0), cuts)
    if added:
        value = c.b.op("Unsqueeze", [value, c.b.const(added, np.int64, "axes")])
    if dropped:
        value = c.b.op("Squeeze", [value, c.b.const(dropped, np.int64, "axes")])
    c.out(value)
    content = c.scope.contents.get(c.index(0))
    if content is not None and len(begins) == 1 and not added:
        _, first, last, step = cuts[0] if cuts else (0, 0, _END, 1)
        last_ = None if abs(last) >= _END - 1 else last
        c.scope.contents[c.output(0)] = content[first if abs(first) < _END - 1 else None : last_ : step]


def _range(axis: int, i: int, given: tuple[int, int, int], masks: dict[str, int]) -> tuple[int, int, int, int]:
    begin, end, step = given
    if masks["begin"] >> i & 1:
        begin = 0 if step > 0 else _END - 1
    if masks["end"] >> i & 1:
        end = _END if step > 0 else -_END
    return axis, begin, end, step


@reads("GATHER")
def gather(c: Call) -> None:
    """Along an axis; ``batch_dims`` leading axes belong together."""
    rank, indices = c.rank(0), c.rank(1)
    axis = c.axis(int(c.opt("axis")), rank)
    batch = int(c.opt("batch_dims"))
    if batch < 0:
        batch += indices
    places = c.raw(1)
    if places.dtype not in (ir.DataType.INT32, ir.DataType.INT64):
        places = c.cast(places, ir.DataType.INT64)
    if batch == 0:
        c.out(c.b.op("Gather", [c.weight(0, "table") if c.source(0) is not None else c.x(0), places], {"axis": axis}))
        content = c.scope.contents.get(c.index(0))
        chosen = c.tensor(1).data
        if content is not None and chosen is not None and chosen.size <= 64:
            wanted = [int(v) for v in chosen.reshape(-1)]
            if all(-len(content) <= v < len(content) for v in wanted):
                c.scope.contents[c.output(0)] = [content[v] for v in wanted]
        return
    if batch != axis or indices != batch + 1 or batch >= rank:
        raise UnsupportedOp(f"GATHER with batch_dims {batch}, axis {axis} and indices of rank {indices}")
    nested = c.b.op("Unsqueeze", [places, c.b.const([indices], np.int64, "axes")])
    c.out(c.b.op("GatherND", [c.x(0), c.cast(nested, ir.DataType.INT64)], {"batch_dims": batch}))


@reads("EMBEDDING_LOOKUP")
def embedding_lookup(c: Call) -> None:
    """Rows of a table: inputs are the indices, then the table."""
    table = c.weight(1, "table") if c.source(1) is not None else c.x(1)
    c.out(c.b.op("Gather", [table, c.raw(0)], {"axis": 0}))


@reads("GATHER_ND")
def gather_nd(c: Call) -> None:
    """The last axis of the indices holds coordinates."""
    c.out(c.b.op("GatherND", [c.x(0), c.int64(1)]))


@reads("SCATTER_ND")
def scatter_nd(c: Call) -> None:
    """Add updates into zeros of a given shape."""
    base = c.b.op("ConstantOfShape", [c.int64(2)], {"value": c.zeros(c.x(1))})
    c.out(c.b.op("ScatterND", [base, c.int64(0), c.x(1)], {"reduction": "add"}))


@reads("PAD", "PADV2", "MIRROR_PAD")
def pad(c: Call) -> None:
    """Padding is stored as [rank, 2]: before and after."""
    mode = "constant"
    if c.kind == "MIRROR_PAD":
        mode = schema.name_of("MirrorPadMode", int(c.opt("mode"))) or ""
        if mode != "REFLECT":
            raise UnsupportedOp(f"MIRROR_PAD with mode {mode}")
        mode = "reflect"
    if c.array(1) is None:
        pads = c.reshape(c.b.op("Transpose", [c.int64(1)], {"perm": [1, 0]}), [-1])
    else:
        amounts = c.ints(1)
        if len(amounts) != 2 * c.rank(0) or min([*amounts, 0]) < 0 or max([*amounts, 0]) > 1 << 31:
            raise c.bad(f"padding {amounts}")
        pads = c.b.const(amounts[0::2] + amounts[1::2], np.int64, "pads")
    fill = [c.x(2)] if c.kind == "PADV2" and c.has(2) else []
    if fill and fill[0].shape:
        fill = [c.reshape(fill[0], [])]
    c.out(c.b.op("Pad", [c.x(0), pads, *fill], {"mode": mode}))


@reads("REVERSE_V2")
def reverse(c: Call) -> None:
    """Turn axes round."""
    rank = c.rank(0)
    axes = sorted({c.axis(a, rank) for a in c.ints(1, "the axes")})
    c.out(_cut(c, c.x(0), [(a, _END - 1, -_END, -1) for a in axes]))


@reads("REVERSE_SEQUENCE")
def reverse_sequence(c: Call) -> None:
    """Turn the first ``length`` elements of every sample round."""
    rank = c.rank(0)
    time, batch = c.axis(int(c.opt("seq_dim")), rank), c.axis(int(c.opt("batch_dim")), rank)
    if {time, batch} != {0, 1}:
        raise UnsupportedOp(f"REVERSE_SEQUENCE with seq_dim {time} and batch_dim {batch}")
    c.out(c.b.op("ReverseSequence", [c.x(0), c.int64(1)], {"time_axis": time, "batch_axis": batch}))


@reads("WHERE")
def where(c: Call) -> None:
    """The coordinates of everything that is not zero."""
    c.out(c.b.op("Transpose", [c.b.op("NonZero", [c.x(0)])], {"perm": [1, 0]}))


@reads("ONE_HOT")
def one_hot(c: Call) -> None:
    """Inputs: indices, depth, on value, off value."""
    if c.array(2) is None or c.array(3) is None:
        raise UnsupportedOp("on and off values are not constant")
    values = c.b.op("Concat", [c.reshape(c.x(3), [1]), c.reshape(c.x(2), [1])], {"axis": 0})
    depth = c.reshape(c.int64(1), [])
    # a negative index is off in TFLite and counts from the end in ONNX: move it out of range
    places = c.cast(c.raw(0), ir.DataType.INT64)
    negative = c.b.op("Less", [places, c.b.const(0, np.int64)])
    places = c.b.op("Where", [negative, depth, places])
    c.out(c.b.op("OneHot", [places, depth, values], {"axis": int(c.opt("axis"))}))
