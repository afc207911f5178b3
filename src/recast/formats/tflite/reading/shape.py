"""Operators that only change the shape, or compute with shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call, dims_of
from recast.formats.tflite.reading import reads


@reads("RESHAPE")
def reshape(c: Call) -> None:
    """To a constant shape, or one computed from other shapes while running."""
    value = c.x(0)
    content = c.scope.contents.get(c.index(1)) if c.has(1) else None
    array = c.array(1) if c.has(1) else None
    if not c.has(1) and c.operator.options is not None:
        array = c.operator.options.get("new_shape")
    if array is not None and 0 in array and -1 not in array:  # no elements
        shape = c.b.const([int(v) for v in np.asarray(array).reshape(-1)], np.int64, "shape")
        c.out(c.b.op("Reshape", [value, shape], {"allowzero": 1}))
    elif array is not None:
        c.out(c.reshape(value, _keep_batch(c, value, [int(v) for v in np.asarray(array).reshape(-1)])))
    elif content is not None and (target := _symbolic(c, value, content)) is not None:
        c.out(c.reshape(value, target))
    elif c.has(1):
        c.out(c.b.op("Reshape", [value, c.int64(1)], {"allowzero": 0}))
    else:
        raise c.bad("no shape is given")


def _keep_batch(c: Call, value: ir.Value, target: list[int]) -> list[int]:
    """[-1, …] becomes [0, …] where the first dimension stays what it is; a real 0 (no elements) is refused."""
    if any(v < -1 or v == 0 for v in target):
        raise UnsupportedOp(f"RESHAPE to {target}")
    rest = dims_of(value, "the input")[1:]
    known = [d for d in rest if isinstance(d, int)]
    if target[:1] == [-1] and value.shape and len(known) == len(rest) and math.prod(known) == math.prod(target[1:]):
        return [0, *target[1:]]
    return target


def _symbolic(c: Call, value: ir.Value, content: list[int | str]) -> list[int] | None:
    """The target with 0 for a dimension that stays and -1 for one other; None where two are unknown."""
    have = dims_of(value, "the input")
    target = [
        v if isinstance(v, int) else (0 if axis < len(have) and have[axis] == v else -1)
        for axis, v in enumerate(content)
    ]
    return target if target.count(-1) <= 1 else None


@reads("SQUEEZE")
def squeeze(c: Call) -> None:
    """Named axes, or all of size 1."""
    options = c.operator.options
    rank = c.rank(0)
    axes = [c.axis(int(a), rank) for a in options.get("squeeze_dims")] if options is not None else []
    axes = sorted(set(axes)) or [i for i, d in enumerate(c.shape(0)) if d == 1]
    if not axes:
        c.out(c.b.op("Identity", [c.x(0)]))
        return
    c.out(c.b.op("Squeeze", [c.x(0), c.b.const(axes, np.int64, "axes")]))


@reads("EXPAND_DIMS")
def expand_dims(c: Call) -> None:
    """A new axis of size 1."""
    axis = c.axis((c.ints(1, "the axis") or [0])[0], c.rank(0) + 1)
    c.out(c.b.op("Unsqueeze", [c.x(0), c.b.const([axis], np.int64, "axes")]))
    if c.index(0) in c.scope.contents:
        c.scope.contents[c.output(0)] = c.scope.contents[c.index(0)]


@reads("TRANSPOSE")
def transpose(c: Call) -> None:
    """By a constant permutation."""
    rank = c.rank(0)
    perm = [c.axis(p, rank) for p in c.ints(1, "the permutation")]
    if sorted(perm) != list(range(rank)):
        raise c.bad(f"{perm} is no permutation of {rank} axes")
    c.out(c.b.op("Transpose", [c.x(0)], {"perm": perm}))


@reads("SHAPE")
def shape(c: Call) -> None:
    """The shape; known numbers and names are remembered."""
    c.out(c.b.op("Shape", [c.x(0)]))
    dims = c.shape(0)
    if all(d is not None for d in dims):
        c.scope.contents[c.output(0)] = [d for d in dims if d is not None]


@reads("RANK")
def rank(c: Call) -> None:
    """The number of dimensions, which is always known."""
    c.out(c.b.op("Identity", [c.b.const(c.rank(0), np.int64)]))
    c.scope.contents[c.output(0)] = [c.rank(0)]


@reads("PACK")
def pack(c: Call) -> None:
    """Stack along a new axis."""
    if not c.count:
        raise c.bad("nothing to stack")
    axis = c.axis(int(c.opt("axis")), c.rank(0) + 1)
    axes = c.b.const([axis], np.int64, "axes")
    parts = [c.b.op("Unsqueeze", [c.x(i), axes]) for i in range(c.count)]
    c.out(c.b.op("Concat", parts, {"axis": axis}))
    _join(c)


@reads("CONCATENATION")
def concatenation(c: Call) -> None:
    """Along one axis, then the fused activation."""
    if not c.count:
        raise c.bad("nothing to join")
    axis = c.axis(int(c.opt("axis")), c.rank(0))
    c.out(c.activate(c.b.op("Concat", [c.x(i) for i in range(c.count)], {"axis": axis})))
    _join(c)


def _join(c: Call) -> None:
    if c.tensor(0).dtype not in ("int32", "int64") or c.tensor(0).is_quantised or c.rank(0) > 1:
        return
    joined: list[int | str] = []
    for number in range(c.count):
        data = c.tensor(number).data
        content = c.scope.contents.get(c.index(number))
        if content is None and (data is None or data.size > 64):
            return
        joined += content if content is not None else [int(v) for v in np.asarray(data).reshape(-1)]
    c.scope.contents[c.output(0)] = joined


@reads("UNPACK")
def unpack(c: Call) -> None:
    """Take the slices along an axis apart."""
    axis = c.axis(int(c.opt("axis")), c.rank(0))
    count = len(c.operator.outputs)
    if c.shape(0)[axis] not in (count, None) and isinstance(c.shape(0)[axis], int):
        raise c.bad(f"{c.shape(0)[axis]} slices for {count} outputs")
    axes = c.b.const([axis], np.int64, "axes")
    if count == 1:
        parts: tuple[ir.Value, ...] = (c.x(0),)
    else:
        parts = c.b.node("Split", [c.x(0)], {"axis": axis, "num_outputs": count}, count)
    for number, part in enumerate(parts):
        c.out(c.b.op("Squeeze", [part, axes]), number)


@reads("SPLIT", "SPLIT_V")
def split(c: Call) -> None:
    """Into equal parts (SPLIT: axis first), or parts of given sizes (SPLIT_V: input, sizes, axis)."""
    data, place = (1, 0) if c.kind == "SPLIT" else (0, 2)
    size = c.shape(data)
    axis = c.axis((c.ints(place, "the axis") or [0])[0], len(size))
    count = len(c.operator.outputs)
    if not count:
        raise c.bad("no outputs")
    if c.kind == "SPLIT_V":
        sizes = c.ints(1, "the sizes")
        total = size[axis]
        if len(sizes) != count or sizes.count(-1) > 1 or min(sizes) < -1:
            raise c.bad(f"sizes {sizes} for {count} outputs")
        if -1 in sizes:
            if not isinstance(total, int):
                raise UnsupportedOp("one size is open and the input's is unknown")
            sizes[sizes.index(-1)] = total - sum(s for s in sizes if s >= 0)
        parts = c.b.node("Split", [c.x(data), c.b.const(sizes, np.int64, "sizes")], {"axis": axis}, count)
    elif isinstance(size[axis], int) and int(size[axis] or 0) % count:
        raise c.bad(f"{size[axis]} elements cannot be split into {count}")
    else:
        parts = c.b.node("Split", [c.x(data)], {"axis": axis, "num_outputs": count}, count)
    for number, part in enumerate(parts):
        c.out(part, number)


@reads("TILE")
def tile(c: Call) -> None:
    """Repeat along every axis."""
    c.out(c.b.op("Tile", [c.x(0), c.int64(1)]))


@reads("BROADCAST_TO")
def broadcast_to(c: Call) -> None:
    """Repeat axes of size 1 to a shape."""
    c.out(c.b.op("Expand", [c.x(0), c.int64(1)]))


@reads("BROADCAST_ARGS")
def broadcast_args(c: Call) -> None:
    """The common shape of two constant shapes."""
    left, right = c.ints(0), c.ints(1)
    if max([*left, *right, 0]) > 1 << 31:
        raise c.bad("a dimension is too large")
    size = max(len(left), len(right))
    pairs = zip([1] * (size - len(left)) + left, [1] * (size - len(right)) + right, strict=True)
    result = [b if a == 1 else a for a, b in pairs]
    c.out(c.b.op("Identity", [c.b.const(result, np.int64)]))
    c.scope.contents[c.output(0)] = list(result)


@reads("FILL")
def fill(c: Call) -> None:
    """One value in a given shape."""
    c.out(c.b.op("Expand", [c.x(1), c.int64(0)]))


@reads("RANGE")
def range_(c: Call) -> None:
    """start, start + delta, … below limit."""
    parts = [c.x(i) for i in range(3)]
    for number in range(3):
        data = c.tensor(number).data
        if data is not None and (data.size != 1 or not math.isfinite(float(data.reshape(-1)[0]))):
            raise c.bad("the limits are no numbers")
    parts = [p if not p.shape else c.reshape(p, []) for p in parts]
    c.out(c.b.op("Range", parts))
