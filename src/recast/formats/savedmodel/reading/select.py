"""Slices, gathers, scatters and padding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import SMALL, Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Handle, Held

_END = np.iinfo(np.int64).max
Cut = tuple[int, int, int, int]  # axis, begin, end, step


def cut(c: Call, value: ir.Value, cuts: list[Cut]) -> ir.Value:
    """Slice the axes that are really cut."""
    real = [cut for cut in cuts if cut[1:] != (0, _END, 1) and not _whole(value, cut)]
    if not real:
        return value
    axes, begins, ends, steps = (list(v) for v in zip(*real, strict=True))
    inputs = [c.b.const(v, np.int64, n) for v, n in ((begins, "begin"), (ends, "end"), (axes, "axes"), (steps, "step"))]
    return c.op("Slice", [value, *inputs])


def _whole(value: ir.Value, wanted: Cut) -> bool:
    """Whether a slice takes the only element of an axis."""
    axis, begin, end, step = wanted
    return value.shape is not None and value.shape[axis] == 1 and begin in (0, -1) and end > 0 and step > 0


@reads("Slice")
def slice_(c: Call) -> None:
    """From ``begin``, ``size`` elements; -1 means up to the end."""
    rank = c.rank(0)
    if c.array(1) is None or c.array(2) is None:
        begin, size = c.int64(1), c.int64(2)
        total = c.op("Shape", [c.x(0)])
        open_ = c.op("Less", [size, c.b.const(0, np.int64)])
        end = c.op("Where", [open_, total, c.op("Add", [begin, size])])
        c.out(c.op("Slice", [c.x(0), begin, end]))
        return
    begins, sizes = c.ints(1), c.ints(2)
    if len(begins) != rank or len(sizes) != rank or min([*begins, *(s + 1 for s in sizes), 0]) < 0:
        raise c.bad(f"begin {begins} and size {sizes} for {rank} dimensions")
    ends = [_END if s < 0 else b + s for b, s in zip(begins, sizes, strict=True)]
    c.out(cut(c, c.x(0), [(axis, b, e, 1) for axis, (b, e) in enumerate(zip(begins, ends, strict=True))]))


@reads("StridedSlice")
def strided_slice(c: Call) -> None:
    """NumPy indexing as TensorFlow encodes it in five masks."""
    masks = {n: int(c.attr(f"{n}_mask", 0)) for n in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if bin(masks["ellipsis"]).count("1") > 1:
        raise c.bad("more than one ellipsis")
    rank = c.rank(0)
    if c.array(1) is None or c.array(2) is None:
        _computed_slice(c, masks, rank)
        return
    begins, ends, steps = c.ints(1, "begin"), c.ints(2, "end"), c.ints(3, "strides")
    if not len(begins) == len(ends) == len(steps) or 0 in steps:
        raise c.bad(f"begin {begins}, end {ends}, strides {steps}")
    cuts, added, dropped = _indices(c, (begins, ends, steps), masks, rank)
    thing = c.thing(0)
    if isinstance(thing, Held) and thing.array.size <= SMALL:
        c.out(Held(_cut_array(thing.array, cuts, added, dropped), thing.name))
        return
    value = cut(c, c.x(0), cuts)
    if added:
        value = c.op("Unsqueeze", [value, c.axes(*added)])
    if dropped:
        value = c.op("Squeeze", [value, c.axes(*dropped)])
    c.out(value)


def _indices(
    c: Call, given: tuple[list[int], list[int], list[int]], masks: dict[str, int], rank: int
) -> tuple[list[Cut], list[int], list[int]]:
    """The cuts, new axes, and axes that are dropped afterwards (places in the result before dropping)."""
    begins, ends, steps = given
    used = sum(not (masks["ellipsis"] | masks["new_axis"]) >> i & 1 for i in range(len(begins)))
    if used > rank:
        raise c.bad(f"{used} indices for {rank} dimensions")
    cuts: list[Cut] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = place = 0
    for i in range(len(begins)):
        if masks["ellipsis"] >> i & 1:
            axis, place = axis + rank - used, place + rank - used
            continue
        if masks["new_axis"] >> i & 1:
            added.append(place)
            place += 1
            continue
        if masks["shrink_axis"] >> i & 1:
            begin = 0 if masks["begin"] >> i & 1 else begins[i]
            cuts.append((axis, begin, begin + 1 if begin != -1 else _END, 1))
            dropped.append(place)
        else:
            begin, end, step = begins[i], ends[i], steps[i]
            if masks["begin"] >> i & 1:
                begin = 0 if step > 0 else _END - 1
            if masks["end"] >> i & 1:
                end = _END if step > 0 else -_END
            cuts.append((axis, begin, end, step))
        axis, place = axis + 1, place + 1
    return cuts, added, dropped


def _cut_array(array: np.ndarray, cuts: list[Cut], added: list[int], dropped: list[int]) -> np.ndarray:
    index = [slice(None)] * array.ndim
    for axis, begin, end, step in cuts:
        first = None if step < 0 and begin >= _END - 1 else begin
        index[axis] = slice(first, None if abs(end) >= _END - 1 else end, step)
    result = np.expand_dims(array[tuple(index)], tuple(added)) if added else array[tuple(index)]
    return result.squeeze(tuple(dropped)) if dropped else result


def _computed_slice(c: Call, masks: dict[str, int], rank: int) -> None:
    """Begin or end depend on the inputs: leading axes, positive steps, no new axes."""
    steps = c.ints(3, "strides")
    if masks["ellipsis"] or masks["new_axis"] or min(steps) < 1 or len(steps) > rank:
        raise UnsupportedOp("a slice with computed limits and an ellipsis, new axes or negative strides")
    begin, end = c.int64(1), c.int64(2)
    count = len(steps)
    far = c.b.const([_END] * count, np.int64, "end")
    open_end = [bool(masks["end"] >> i & 1) for i in range(count)]
    single = [bool(masks["shrink_axis"] >> i & 1) for i in range(count)]
    if any(masks["begin"] >> i & 1 for i in range(count)):
        flags = c.b.const([bool(masks["begin"] >> i & 1) for i in range(count)], np.bool_, "open")
        begin = c.op("Where", [flags, c.b.const([0] * count, np.int64, "begin"), begin])
    if any(open_end):
        end = c.op("Where", [c.b.const(open_end, np.bool_, "open"), far, end])
    if any(single):
        after = c.op("Add", [begin, c.b.const([1] * count, np.int64, "one")])
        last = c.op("Equal", [begin, c.b.const([-1] * count, np.int64, "last")])
        after = c.op("Where", [last, far, after])
        end = c.op("Where", [c.b.const(single, np.bool_, "single"), after, end])
    value = c.op("Slice", [c.x(0), begin, end, c.axes(*range(count)), c.b.const(steps, np.int64, "step")])
    dropped = [i for i in range(count) if single[i]]
    c.out(c.op("Squeeze", [value, c.axes(*dropped)]) if dropped else value)


@reads("Gather", "GatherV2", "ResourceGather")
def gather(c: Call) -> None:
    """Along an axis; ``batch_dims`` leading axes belong together."""
    data = c.thing(0)
    if isinstance(data, Handle):
        data = c.scope.reading.variable(data)
    rank, indices = len(data.array.shape) if isinstance(data, Held) else c.rank(0), c.rank(1)
    batch = int(c.attr("batch_dims", 0))
    axis = c.axis(c.int_(2, "the axis"), rank) if c.kind == "GatherV2" else batch
    batch = batch + indices if batch < 0 else batch
    places = c.thing(1)
    if (
        isinstance(data, Held)
        and isinstance(places, Held)
        and max(data.array.size, places.array.size) <= SMALL
        and not batch
    ):
        if places.array.size and not 0 <= int(places.array.min()) <= int(places.array.max()) < data.array.shape[axis]:
            raise c.bad("a place outside of the tensor")
        c.out(Held(np.take(data.array, places.array, axis), c.scope.place(c.node)))
        return
    value, where = c.value(data), c.x(1)
    if where.dtype not in (ir.DataType.INT32, ir.DataType.INT64):
        where = c.cast(where, ir.DataType.INT64)
    if batch == 0:
        c.out(c.op("Gather", [value, where], axis=axis))
        return
    if batch != axis or indices != batch + 1 or batch >= rank:
        raise UnsupportedOp(f"batch_dims {batch}, axis {axis} and indices of rank {indices}")
    nested = c.op("Unsqueeze", [c.cast(where, ir.DataType.INT64), c.axes(indices)])
    c.out(c.op("GatherND", [value, nested], batch_dims=batch))


@reads("GatherNd", "ResourceGatherNd")
def gather_nd(c: Call) -> None:
    """The last axis of the indices holds coordinates."""
    data = c.thing(0)
    if isinstance(data, Handle):
        data = c.scope.reading.variable(data)
    c.out(c.op("GatherND", [c.value(data), c.int64(1)]))


@reads("ScatterNd")
def scatter_nd(c: Call) -> None:
    """Add updates into zeros of a given shape."""
    zero = ir.Tensor(np.zeros(1, c.dtype(1).numpy()))
    base = c.op("ConstantOfShape", [c.int64(2)], value=zero)
    c.out(c.op("ScatterND", [base, c.int64(0), c.x(1)], reduction="add"))


@reads("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin")
def tensor_scatter(c: Call) -> None:
    """Change a copy of a tensor at given places."""
    mode = c.kind.removeprefix("TensorScatter").lower()
    updates = c.op("Neg", [c.x(2)]) if mode == "sub" else c.x(2)
    reduction = {"update": "none", "sub": "add"}.get(mode, mode)
    c.out(c.op("ScatterND", [c.x(0), c.int64(1), updates], reduction=reduction))


@reads("UnsortedSegmentSum", "SegmentSum")
def segment_sum(c: Call) -> None:
    """Sum the rows of each segment; the number of segments is known."""
    count = c.int_(2, "the number of segments") if c.kind == "UnsortedSegmentSum" else 0
    if c.kind == "SegmentSum":
        ids = c.ints(1, "the segments")
        count = max(ids, default=-1) + 1
    if c.rank(1) != 1 or not 0 < count < 1 << 24:
        raise UnsupportedOp(f"{count} segments of rank {c.rank(1)}")
    rest = [d for d in c.shape(0)[1:] if isinstance(d, int)]
    if len(rest) != c.rank(0) - 1:
        raise UnsupportedOp("rows of unknown size")
    base = c.op(
        "ConstantOfShape",
        [c.b.const([count, *rest], np.int64, "shape")],
        value=ir.Tensor(np.zeros(1, c.dtype(0).numpy())),
    )
    c.out(c.op("ScatterND", [base, c.op("Unsqueeze", [c.int64(1), c.axes(1)]), c.x(0)], reduction="add"))


@reads("Pad", "PadV2", "MirrorPad")
def pad(c: Call) -> None:
    """Padding is stored as [rank, 2]: before and after."""
    mode = "constant"
    if c.kind == "MirrorPad":
        mode = str(c.attr("mode"))
        if mode not in ("REFLECT", "SYMMETRIC"):
            raise c.bad(f"mode {mode}")
        mode = mode.lower()
    if c.array(1) is None:
        pads = c.reshape(c.op("Transpose", [c.int64(1)], perm=[1, 0]), [-1])
    else:
        amounts = c.ints(1)
        if len(amounts) != 2 * c.rank(0) or min([*amounts, 0]) < 0 or max([*amounts, 0]) > 1 << 31:
            raise c.bad(f"padding {amounts}")
        if mode == "symmetric":
            c.out(_symmetric(c, amounts))
            return
        pads = c.b.const(amounts[0::2] + amounts[1::2], np.int64, "pads")
    if mode == "symmetric":
        raise UnsupportedOp("symmetric padding of computed size")
    filling = [c.x(2)] if c.kind == "PadV2" else []
    c.out(c.op("Pad", [c.x(0), pads, *filling], mode=mode))


def _symmetric(c: Call, amounts: list[int]) -> ir.Value:
    """Mirrored with the edge itself: reversed slices joined to the ends."""
    value = c.x(0)
    for axis, (before, after) in enumerate(zip(amounts[0::2], amounts[1::2], strict=True)):
        size = c.shape(0)[axis]
        if isinstance(size, int) and max(before, after) > size:
            raise c.bad(f"padding {before}, {after} of {size}")
        parts = [value]
        if before:
            parts.insert(0, cut(c, value, [(axis, before - 1, -_END, -1)]))
        if after:
            parts.append(cut(c, value, [(axis, -1, -after - 1, -1)]))
        value = c.op("Concat", parts, axis=axis) if len(parts) > 1 else value
    return value


@reads("Reverse", "ReverseV2")
def reverse(c: Call) -> None:
    """Turn axes round."""
    rank = c.rank(0)
    if c.kind == "Reverse":
        flags = c.array(1)
        if flags is None or flags.size != rank:
            raise UnsupportedOp("computed axes")
        axes = [i for i, f in enumerate(flags.reshape(-1)) if f]
    else:
        axes = sorted({c.axis(a, rank) for a in c.ints(1, "the axes")})
    given = c.x(0)
    value = cut(c, given, [(a, _END - 1, -_END, -1) for a in axes])
    value.shape = given.shape  # ONNX's inference forgets names
    c.out(value)


@reads("ReverseSequence")
def reverse_sequence(c: Call) -> None:
    """Turn the first ``length`` elements of every sample round."""
    rank = c.rank(0)
    time, batch = c.axis(int(c.attr("seq_dim", 0)), rank), c.axis(int(c.attr("batch_dim", 0)), rank)
    if {time, batch} != {0, 1}:
        raise UnsupportedOp(f"seq_dim {time} and batch_dim {batch}")
    c.out(c.op("ReverseSequence", [c.x(0), c.int64(1)], time_axis=time, batch_axis=batch))


@reads("Roll")
def roll(c: Call) -> None:
    """Move along axes; what falls off the end comes in at the start."""
    value, rank = c.x(0), c.rank(0)
    for amount, axis in zip(c.ints(1, "the shift"), c.ints(2, "the axis"), strict=True):
        place = c.axis(axis, rank)
        size = c.shape(0)[place]
        step = amount % size if isinstance(size, int) and size else amount
        if step == 0:
            continue
        tail, head = cut(c, value, [(place, -step, _END, 1)]), cut(c, value, [(place, 0, -step, 1)])
        value = c.op("Concat", [tail, head], axis=place)
    c.out(value)


@reads("Where")
def where(c: Call) -> None:
    """The coordinates of everything that is not zero."""
    c.out(c.op("Transpose", [c.op("NonZero", [c.x(0)])], perm=[1, 0]))


@reads("OneHot")
def one_hot(c: Call) -> None:
    """Inputs: indices, depth, on value, off value."""
    depth = c.int64(1)
    values = c.op("Concat", [c.reshape(c.x(3), [1]), c.reshape(c.x(2), [1])], axis=0)
    # a negative index is off in TensorFlow and counts from the end in ONNX: move it out of range
    places = c.cast(c.x(0), ir.DataType.INT64)
    negative = c.op("Less", [places, c.b.const(0, np.int64)])
    places = c.op("Where", [negative, depth, places])
    c.out(c.op("OneHot", [places, depth, values], axis=int(c.attr("axis", -1))))


@reads("MatrixBandPart")
def matrix_band_part(c: Call) -> None:
    """Keep ``lower`` diagonals below the main one and ``upper`` above; negative: all."""
    lower, upper = c.int_(1, "the band"), c.int_(2, "the band")
    value = c.x(0)
    if lower >= 0:
        value = c.op("Trilu", [value, c.b.const(-lower, np.int64)], upper=1)
    if upper >= 0:
        value = c.op("Trilu", [value, c.b.const(upper, np.int64)], upper=0)
    c.out(value)
