"""Choosing and counting elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

FAR = 2**31 - 1
_HELD_BY = {  # types that hold the same integers, or (of 64 bits) the same bits
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
    ir.DataType.UINT64: ir.DataType.INT64,
}


@decomposes("ArgMax", "ArgMin")
def arg_last(e: Expansion) -> Results:
    """The last of several equal elements is the first of the reversed axis."""
    if not e.attr("select_last_index", 0):
        raise Unfit("the target has no such operator")
    x = e.input(0)
    axis = e.attr("axis", 0) % max(e.rank(x), 1)
    turned = e.op("Slice", x, e.ints(-1), e.ints(-FAR), e.ints(axis), e.ints(-1))
    first = e.op(e.node.op_type, turned, axis=axis, keepdims=e.attr("keepdims", 1))
    last = e.op("Sub", extent(e, x, axis), e.ints(1))
    return (e.op("Sub", e.op("Reshape", last, e.ints()), first),)


def extent(e: Expansion, x: ir.Value, axis: int) -> ir.Value:
    """One dimension as an int64 vector of one element."""
    known = e.dims(x)[axis]
    return e.ints(known) if known is not None else e.op("Shape", x, start=axis, end=axis + 1)


@decomposes("Hardmax")
def hardmax(e: Expansion) -> Results:
    """One at the first largest element along the axis, zero elsewhere."""
    x = e.input(0)
    axis = e.attr("axis", -1) % e.rank(x)
    best = e.op("ArgMax", x, axis=axis, keepdims=0)
    depth = e.op("Reshape", extent(e, x, axis), e.ints())
    return (e.op("OneHot", best, depth, e.array(np.array([0, 1], e.dtype(x).numpy())), axis=axis),)


@decomposes("Size")
def size(e: Expansion) -> Results:
    """The product of the dimensions."""
    x = e.input(0)
    if None not in e.dims(x):
        return (e.int(int(np.prod(e.static(x), dtype=np.int64))),)
    return (e.op("ReduceProd", e.op("Shape", x), keepdims=0),)


@decomposes("CastLike")
def cast_like(e: Expansion) -> Results:
    """Cast to the other input's type."""
    return (e.op("Cast", e.input(0), to=int(e.dtype(e.input(1)))),)


@decomposes("BitCast")
def bit_cast(e: Expansion) -> Results:
    """A boolean is a byte that is 0 or 1."""
    x, to = e.input(0), ir.DataType(e.attr("to"))
    if e.dtype(x) != ir.DataType.BOOL or to not in (ir.DataType.UINT8, ir.DataType.INT8):
        raise Unfit("the target has no such operator")
    return (e.cast(x, to),)


@decomposes("Where")
def where(e: Expansion) -> Results:
    """Of booleans: by logic. Of integers: in a wider type, or one as wide whose casts keep all bits."""
    chosen, x, y = e.input(0), e.input(1), e.input(2)
    dtype = e.dtype(x)
    if dtype == ir.DataType.BOOL:
        return (e.op("Or", e.op("And", chosen, x), e.op("And", e.op("Not", chosen), y)),)
    through = _HELD_BY.get(dtype)
    if through is None:
        raise Unfit("the target has no such operator")
    return (e.cast(e.op("Where", chosen, e.cast(x, through), e.cast(y, through)), dtype),)


@decomposes("NonZero")
def non_zero(e: Expansion) -> Results:
    """Of the booleans that are true where an element is not zero (NaN is none)."""
    if e.dtype(e.input(0)) == ir.DataType.BOOL:
        raise Unfit("the target has no such operator")
    return (e.op("NonZero", e.cast(e.input(0), ir.DataType.BOOL)),)


@decomposes("Constant")
def constant(e: Expansion) -> Results:
    """Constants inside of function bodies and branches become initializers."""
    tensor = ir.convenience.get_const_tensor(e.node.outputs[0])
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        raise Unfit("a constant that is no tensor of numbers")
    return (e.array(tensor.numpy()),)


@decomposes("EyeLike")
def eye_like(e: Expansion) -> Results:
    """Ones where column - row is ``k``."""
    x, k = e.input(0), e.attr("k", 0)
    dtype = ir.DataType(e.attr("dtype", e.dtype(x)))
    if None not in e.dims(x):
        rows, columns = e.static(x)
        return (e.array(np.eye(rows, columns, k, dtype.numpy())),)
    down, along = (counted(e, x, axis) for axis in (0, 1))
    moved = e.op("Add", e.op("Unsqueeze", down, e.ints(1)), e.int(k))
    return (e.cast(e.op("Equal", moved, along), dtype),)


def counted(e: Expansion, x: ir.Value, axis: int) -> ir.Value:
    """0, 1, ... along an axis, int64."""
    known = e.dims(x)[axis]
    if known is not None:
        return e.array(np.arange(known, dtype=np.int64))
    return e.op("Range", e.int(0), e.op("Reshape", extent(e, x, axis), e.ints()), e.int(1))


@decomposes("Dropout")
def dropout_mask(e: Expansion) -> Results:
    """In inference everything is kept, and the mask says so."""
    training = e.constant(2, "training mode")
    if training is not None and training.any():
        raise Unfit("a dropout in training mode")
    x = e.input(0)
    mask = e.op("Expand", e.array(np.array(True)), e.op("Shape", x)) if e.wanted(1) else None
    return e.op("Identity", x), mask


@decomposes("Compress")
def compress(e: Expansion) -> Results:
    """The elements at the places where the condition holds."""
    x, axis = e.input(0), e.attr("axis")
    if axis is None:
        x, axis = e.op("Reshape", x, e.ints(-1)), 0
    keep = const(e.input(1))
    if keep is not None:
        return (e.op("Gather", x, e.array(np.flatnonzero(keep).astype(np.int64)), axis=axis),)
    places = e.op("Squeeze", e.op("NonZero", e.input(1)), e.ints(0))
    return (e.op("Gather", x, places, axis=axis),)


@decomposes("Trilu")
def trilu(e: Expansion) -> Results:
    """What lies on or above (below) the k-th diagonal; the rest is zero."""
    x = e.input(0)
    k = e.optional(1)
    down = e.op("Unsqueeze", counted(e, x, e.rank(x) - 2), e.ints(1))
    along = counted(e, x, e.rank(x) - 1)
    apart = e.op("Sub", along, down)
    bound = e.int(0) if k is None else e.op("Reshape", k, e.ints())
    kept = e.op("GreaterOrEqual" if e.attr("upper", 1) else "LessOrEqual", apart, bound)
    return (e.op("Where", kept, x, e.number(0, x)),)


@decomposes("CumProd")
def cum_prod(e: Expansion) -> Results:
    """Products over windows that double in length (Hillis and Steele, 1986)."""
    x = e.input(0)
    array = e.constant(1, "an axis")
    axis = int(np.reshape(array, -1)[0]) % e.rank(x) if array is not None else 0
    length, backwards = e.size(x, axis), e.attr("reverse", 0)

    def shifted(value: ir.Value, by: int) -> ir.Value:
        pads = [by if i == axis else 0 for i in range(e.rank(x))]
        none = [0] * e.rank(x)
        bounds = (by, FAR) if backwards else (0, length - by)
        cut = e.op("Slice", value, e.ints(bounds[0]), e.ints(bounds[1]), e.ints(axis), e.ints(1))
        both = [*none, *pads] if backwards else [*pads, *none]
        return e.op("Pad", cut, e.ints(*both), e.number(1, x), mode="constant")

    value = shifted(x, 1) if e.attr("exclusive", 0) else x
    step = 1
    while step < length:
        value = e.op("Mul", value, shifted(value, step))
        step *= 2
    return (e.op("Identity", value) if value is x else value,)


@decomposes("TopK")
def smallest(e: Expansion) -> Results:
    """The smallest are the largest of the reversed order (integers: ``-1 - x``, which never overflows)."""
    if e.attr("largest", 1):
        return _largest_unsigned(e)
    x, dtype = e.input(0), e.dtype(e.input(0)).numpy()

    def turned(value: ir.Value) -> ir.Value:
        if dtype.kind == "f":
            return e.op("Neg", value)
        return e.op("Sub", e.number(np.iinfo(dtype).max if dtype.kind == "u" else -1, value), value)

    given = {"axis": e.attr("axis", -1), "largest": 1, "sorted": e.attr("sorted", 1)}
    values, places = e.ops("TopK", [turned(x), e.input(1)], given, 2)
    return turned(values), places


def _largest_unsigned(e: Expansion) -> Results:
    """In a wider type; of 64 bits with the first bit turned around, which is the order of signed integers."""
    x = e.input(0)
    through = _HELD_BY.get(e.dtype(x))
    if through is None:
        raise Unfit("the target has no such operator")
    first = e.array(np.array(1 << 63, np.uint64)) if e.dtype(x) == ir.DataType.UINT64 else None

    def turned(value: ir.Value) -> ir.Value:
        return value if first is None else e.op("BitwiseXor", value, first)

    given = {"axis": e.attr("axis", -1), "largest": 1, "sorted": e.attr("sorted", 1)}
    values, places = e.ops("TopK", [e.cast(turned(x), through), e.input(1)], given, 2)
    return turned(e.cast(values, e.dtype(x))), places


@decomposes("ReverseSequence")
def reverse_sequence(e: Expansion) -> Results:
    """The first elements of each sequence turned around: picked one by one."""
    x, lengths = e.input(0), e.input(1)
    along, batch, rank = e.attr("time_axis", 0), e.attr("batch_axis", 1), e.rank(e.input(0))
    shape = e.static(x)
    steps = np.arange(shape[along], dtype=np.int64).reshape(-1, 1) if along < batch else np.arange(shape[along])
    steps = steps.astype(np.int64)
    ends = e.op("Reshape", lengths, e.ints(1, -1) if along < batch else e.ints(-1, 1))
    last = e.op("Sub", e.op("Sub", ends, e.int(1)), e.array(steps))
    picks = e.op("Where", e.op("Less", e.array(steps), ends), last, e.array(steps))
    spread = e.op("Reshape", picks, e.ints(*[shape[i] if i in (along, batch) else 1 for i in range(rank)]))
    return (e.op("GatherElements", x, e.op("Expand", spread, e.ints(*shape)), axis=along),)
