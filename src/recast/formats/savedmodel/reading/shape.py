"""Operators that only change the shape, or compute with shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel import constants
from recast.formats.savedmodel.call import SMALL, Call, dims_of
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Held

_MOST_MADE_BYTES = 1 << 24


@reads("Reshape")
def reshape(c: Call) -> None:
    """To a constant shape, or one computed from other shapes while running."""
    thing, target = c.thing(0), c.array(1)
    if isinstance(thing, Held) and target is not None:
        c.out(Held(_reshaped(c, thing.array, target), thing.name))
        return
    value = c.x(0)
    if target is not None:
        c.out(c.reshape(value, _keep_batch(c, value, [int(v) for v in target.reshape(-1)])))
        return
    part = constants.partial(c.scope.reading, c.x(1))
    if part is not None and not part.scalar:
        have = dims_of(value, "the input")
        known = [
            e if isinstance(e, int) else (0 if axis < len(have) and e is not None and have[axis] == e else -1)
            for axis, e in enumerate(part.entries)
        ]
        if known.count(-1) <= 1 and 0 not in part.entries:
            made = c.reshape(value, known)
            if made.shape is not None:
                dims = [
                    s if isinstance(s, int) or e is None else e for s, e in zip(made.shape, part.entries, strict=True)
                ]
                made.shape = ir.Shape(dims)
            c.out(made)
            return
    c.out(c.op("Reshape", [value, c.int64(1)], allowzero=1))


def _reshaped(c: Call, array: np.ndarray, target: np.ndarray) -> np.ndarray:
    try:
        return array.reshape([int(v) for v in target.reshape(-1)])
    except ValueError as error:
        raise c.bad(f"shape {list(array.shape)} cannot become {target.tolist()}") from error


def _keep_batch(c: Call, value: ir.Value, target: list[int]) -> list[int]:
    """[-1, …] becomes [0, …] where the first dimension stays what it is; a real 0 (no elements) is refused."""
    if any(v < -1 or v == 0 for v in target):
        raise UnsupportedOp(f"Reshape to {target}")
    have = dims_of(value, "the input")
    known = [d for d in have[1:] if isinstance(d, int)]
    if target[:1] == [-1] and have and len(known) == len(have) - 1 and math.prod(known) == math.prod(target[1:]):
        return [0, *target[1:]]
    return target


@reads("Squeeze")
def squeeze(c: Call) -> None:
    """Named axes, or all of size 1."""
    rank = c.rank(0)
    axes = sorted({c.axis(int(a), rank) for a in c.attr("squeeze_dims", c.attr("axis", [])) or []})
    if not axes:
        shape = c.shape(0)
        if not all(isinstance(d, int) for d in shape):
            raise UnsupportedOp("Squeeze of all axes of size 1 where some sizes are unknown")
        axes = [i for i, d in enumerate(shape) if d == 1]
    thing = c.thing(0)
    if isinstance(thing, Held) and all(thing.array.shape[a] == 1 for a in axes):
        c.out(Held(thing.array.squeeze(tuple(axes)), thing.name))
        return
    c.out(c.op("Squeeze", [c.x(0), c.axes(*axes)]) if axes else thing)


@reads("ExpandDims")
def expand_dims(c: Call) -> None:
    """A new axis of size 1."""
    axis = c.axis(c.int_(1, "the axis"), c.rank(0) + 1)
    thing = c.thing(0)
    if isinstance(thing, Held):
        c.out(Held(np.expand_dims(thing.array, axis), thing.name))
        return
    c.out(c.op("Unsqueeze", [c.x(0), c.axes(axis)]))


@reads("Transpose")
def transpose(c: Call) -> None:
    """By a constant permutation."""
    rank = c.rank(0)
    perm = [c.axis(p, rank) for p in c.ints(1, "the permutation")]
    if sorted(perm) != list(range(rank)):
        raise c.bad(f"{perm} is no permutation of {rank} axes")
    thing = c.thing(0)
    c.out(
        Held(thing.array.transpose(perm), thing.name)
        if isinstance(thing, Held)
        else c.op("Transpose", [c.x(0)], perm=perm)
    )


@reads("Shape")
def shape(c: Call) -> None:
    """The shape as int32 or int64."""
    c.out(_shape(c, 0))


@reads("ShapeN")
def shape_n(c: Call) -> None:
    """The shapes of all inputs."""
    c.outs([_shape(c, i) for i in range(c.count)])


def _shape(c: Call, number: int) -> Held | ir.Value:
    kind = c.type_attr("out_type", 3)
    thing = c.thing(number)
    known = thing.array.shape if isinstance(thing, Held) else None
    if known is None and all(isinstance(d, int) for d in c.x(number).shape or [None]):
        known = tuple(d for d in dims_of(c.x(number), "the input") if isinstance(d, int))
    if known is not None:
        return Held(np.array(known, kind.numpy()), f"{c.scope.place(c.node)}")
    return c.cast(c.op("Shape", [c.x(number)]), kind)


@reads("Rank")
def rank(c: Call) -> None:
    """The number of dimensions, which is always known."""
    c.out(Held(np.array(c.rank(0), np.int32), c.scope.place(c.node)))


@reads("Size")
def size(c: Call) -> None:
    """The number of elements."""
    kind = c.type_attr("out_type", 3)
    known = [d for d in c.shape(0) if isinstance(d, int)]
    if len(known) == c.rank(0):
        c.out(Held(np.array(math.prod(known), kind.numpy()), c.scope.place(c.node)))
        return
    c.out(c.cast(c.op("Size", [c.x(0)]), kind))


@reads("Pack")
def pack(c: Call) -> None:
    """Stack along a new axis."""
    if not c.count:
        raise c.bad("nothing to stack")
    axis = c.axis(int(c.attr("axis", 0)), c.rank(0) + 1)
    held = [t.array for t in c.given if isinstance(t, Held)]
    if len(held) == c.count and sum(a.size for a in held) <= SMALL:
        if len({a.shape for a in held}) > 1:
            raise c.bad("tensors of different shapes")
        c.out(Held(np.stack(held, axis), c.scope.place(c.node)))
        return
    parts = [c.op("Unsqueeze", [v, c.axes(axis)]) for v in c.all()]
    c.out(c.op("Concat", parts, axis=axis))


@reads("Concat", "ConcatV2")
def concat(c: Call) -> None:
    """Along one axis, which is the first or the last input."""
    first = c.kind == "Concat"
    if c.count < 2:
        raise c.bad("nothing to join")
    parts = list(c.given[1:] if first else c.given[:-1])
    axis = c.axis(c.int_(0 if first else c.count - 1, "the axis"), c.rank(1 if first else 0))
    held = [t.array for t in parts if isinstance(t, Held)]
    if len(held) == len(parts) and sum(a.size for a in held) <= SMALL and len({a.ndim for a in held}) == 1:
        c.out(Held(np.concatenate(held, axis), c.scope.place(c.node)))
        return
    values = [c.value(p) for p in parts]
    c.out(values[0] if len(values) == 1 else c.op("Concat", values, axis=axis))


@reads("Unpack")
def unpack(c: Call) -> None:
    """Take the slices along an axis apart."""
    axis = c.axis(int(c.attr("axis", 0)), c.rank(0))
    count = int(c.attr("num", 0))
    if not 0 < count <= 1 << 16 or c.shape(0)[axis] not in (count, None) and isinstance(c.shape(0)[axis], int):
        raise c.bad(f"{count} slices of {c.shape(0)[axis]}")
    thing = c.thing(0)
    if isinstance(thing, Held) and thing.array.size <= SMALL:
        c.outs([Held(np.take(thing.array, i, axis), f"{thing.name}_{i}") for i in range(count)])
        return
    parts: tuple[ir.Value, ...] = (c.x(0),)
    if count > 1:
        parts = c.b.node("Split", [c.x(0)], {"axis": axis, "num_outputs": count}, count)
    c.outs([c.op("Squeeze", [p, c.axes(axis)]) for p in parts])


@reads("Split", "SplitV")
def split(c: Call) -> None:
    """Into equal parts (Split: axis first), or parts of given sizes (SplitV: input, sizes, axis)."""
    data, place = (1, 0) if c.kind == "Split" else (0, 2)
    shape_ = c.shape(data)
    axis = c.axis(c.int_(place, "the axis"), len(shape_))
    count = int(c.attr("num_split", 0))
    if not 0 < count <= 1 << 16:
        raise c.bad(f"{count} parts")
    total, thing = shape_[axis], c.thing(data)
    if isinstance(thing, Held) and c.kind == "Split" and thing.array.shape[axis] % count == 0:
        parts_ = np.split(thing.array, count, axis)
        c.outs([Held(a, f"{thing.name}_{i}") for i, a in enumerate(parts_)])
    elif count == 1:
        c.out(c.thing(data))
    elif c.kind == "SplitV":
        parts = c.ints(1, "the sizes")
        if len(parts) != count or parts.count(-1) > 1 or min(parts) < -1:
            raise c.bad(f"sizes {parts} for {count} outputs")
        if -1 in parts:
            if not isinstance(total, int):
                raise UnsupportedOp("one size is open and the input's is unknown")
            parts[parts.index(-1)] = total - sum(p for p in parts if p >= 0)
        c.outs(c.b.node("Split", [c.x(data), c.b.const(parts, np.int64, "sizes")], {"axis": axis}, count))
    elif isinstance(total, int) and total % count:
        raise c.bad(f"{total} elements cannot be split into {count}")
    else:
        c.outs(c.b.node("Split", [c.x(data)], {"axis": axis, "num_outputs": count}, count))


@reads("Tile")
def tile(c: Call) -> None:
    """Repeat along every axis."""
    c.out(c.op("Tile", [c.x(0), c.int64(1)]))


@reads("BroadcastTo")
def broadcast_to(c: Call) -> None:
    """Repeat axes of size 1 to a shape."""
    c.out(c.op("Expand", [c.x(0), c.int64(1)]))


@reads("BroadcastArgs")
def broadcast_args(c: Call) -> None:
    """The common shape of two shapes."""
    left, right = c.array(0), c.array(1)
    if left is not None and right is not None:
        count = max(left.size, right.size)
        if count > 32:
            raise c.bad(f"{count} dimensions")
        pairs = zip([1] * (count - left.size) + left.tolist(), [1] * (count - right.size) + right.tolist(), strict=True)
        c.out(Held(np.array([b if a == 1 else a for a, b in pairs], left.dtype), c.scope.place(c.node)))
        return
    sides = c.shape(0) + c.shape(1)
    if len(sides) != 2 or sides[0] != sides[1]:
        raise UnsupportedOp("shapes of different lengths")
    first, second = c.x(0), c.x(1)
    c.out(c.op("Where", [c.op("Equal", [first, c.ones(first)]), second, first]))


@reads("Fill")
def fill(c: Call) -> None:
    """One value in a given shape."""
    shape_, value = c.array(0), c.array(1)
    if shape_ is not None and value is not None:
        count = math.prod(int(v) for v in shape_.reshape(-1))
        if 0 <= count * value.itemsize <= SMALL * 8 and value.size == 1:
            c.out(Held(np.full(shape_.reshape(-1).tolist(), value.reshape(-1)[0]), c.scope.place(c.node)))
            return
    made = c.op("Expand", [c.x(1), c.int64(0)])
    part = None if shape_ is not None else constants.partial(c.scope.reading, c.x(0))
    if part is not None and not part.scalar:
        made.shape = ir.Shape(part.entries)
    c.out(made)


@reads("Range")
def range_(c: Call) -> None:
    """start, start + delta, … below limit."""
    arrays = [c.array(i) for i in range(3)]
    if all(a is not None and a.size == 1 for a in arrays):
        start, limit, delta = (a.reshape(-1)[0] for a in arrays if a is not None)
        if not all(math.isfinite(v) for v in (start, limit, delta)) or delta == 0:
            raise c.bad("the limits are no numbers, or the step is zero")
        count = max(0, math.ceil((limit - start) / delta))
        if count * start.itemsize > _MOST_MADE_BYTES:
            raise c.bad(f"{count} numbers")
        if start.dtype.kind in "iu":
            c.scope.reading.allocate(count * start.itemsize, c.place())
            made = np.arange(int(start), int(limit), int(delta)).astype(start.dtype)
            c.out(Held(made, c.scope.place(c.node)))
            return
    c.out(c.op("Range", [v if not v.shape else c.reshape(v, []) for v in c.all()]))


@reads("LinSpace")
def linspace(c: Call) -> None:
    """``num`` numbers from start to stop, both included."""
    start, stop = c.array(0), c.array(1)
    count = c.int_(2, "the number of steps")
    if start is None or stop is None or start.size != 1 or not 0 < count <= 1 << 20:
        raise UnsupportedOp("LinSpace of computed limits")
    made = np.linspace(start.reshape(-1)[0], stop.reshape(-1)[0], count, dtype=start.dtype)
    c.scope.reading.allocate(made.nbytes, c.place())
    c.out(Held(made, c.scope.place(c.node)))


@reads("InvertPermutation")
def invert_permutation(c: Call) -> None:
    """The inverse of a constant permutation."""
    perm = c.ints(0, "the permutation")
    if sorted(perm) != list(range(len(perm))):
        raise c.bad(f"{perm} is no permutation")
    c.out(Held(np.argsort(perm).astype(c.dtype(0).numpy()), c.scope.place(c.node)))
