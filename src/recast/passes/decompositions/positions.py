"""Sizes that are known when the network runs, for targets whose operators want numbers: counted from a tensor.

A tensor of the wanted size is always there: the graph input that has the dim. ``range(n)`` is the running sum of ones
of that size, less one; a broadcast to it is a choice between equal values by a mask of that size.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.ops import fact
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

_FAR = 2**31 - 1


def stretched(e: Expansion) -> Results:
    """An Expand to sizes known at run time: ``where(False of the wanted sizes, x, x)``."""
    x, target = e.input(0), e.node.outputs[0].shape
    if target is None or x.shape is None or e.dtype(x) == ir.DataType.STRING:
        raise Unfit("a shape that is not known")
    rank, held = len(target), [1] * (len(target) - len(x.shape)) + list(x.shape)
    grown = [i for i, (a, b) in enumerate(zip(held, target, strict=True)) if a != b]
    named = [i for i in grown if isinstance(target[i], ir.SymbolicDim)]
    if not named or any(held[i] != 1 for i in grown):
        raise Unfit("an axis that grows to a size without a name")
    result = x
    for axis in named:
        nothing = e.op("And", _some(e, target[axis], axis, rank), e.array(np.array(False)))
        result = e.op("Where", nothing, result, result)
    fixed = [i for i in grown if i not in named]
    if fixed:
        sizes = [int(str(d)) if i in fixed else 1 for i, d in enumerate(target)]
        result = e.op("Where", e.array(np.zeros(sizes, bool)), result, result)
    return (result,)


@decomposes("Slice")
def slice_(e: Expansion) -> Results:
    """The first n rows of a constant vector, where n beyond its length fits nothing that follows."""
    data, starts, ends = e.constant(0, "data"), e.constant(1, "starts"), e.input(2)
    axes = e.constant(3, "axes") if e.optional(3) is not None else np.arange(1)
    steps = e.constant(4, "steps") if e.optional(4) is not None else np.ones(1)
    if data is None or starts is None or axes is None or steps is None or const(ends) is not None:
        raise Unfit("its bounds are computed at run time")
    axis = int(axes.item()) % data.ndim if axes.size == 1 else -1
    if axis < 0 or starts.item() != 0 or steps.item() != 1 or data.size != data.shape[axis]:
        raise Unfit("its bounds are computed at run time")
    size = _measured(ends)
    if size is None or not _fits_only(e.node.outputs[0], axis, size):
        raise Unfit("its bounds are computed at run time")
    places = _count(e, ir.SymbolicDim(size), axis, data.ndim)
    return (e.op("Gather", e.array(data.reshape(-1)), places, axis=0),)


def _count(e: Expansion, dim: int | ir.SymbolicDim, axis: int, rank: int) -> ir.Value:
    """0 … n-1 along one axis, int64."""
    ones = e.op("Or", _some(e, dim, axis, rank), e.array(np.array(True)))
    return e.op("Sub", e.op("CumSum", e.cast(ones, ir.DataType.INT64), e.int(axis)), e.int(1))


def _some(e: Expansion, dim: int | ir.SymbolicDim, axis: int, rank: int) -> ir.Value:
    """Some booleans of size n along one axis, 1 along all others: cut out of a graph input."""
    for value in e.editor.graph.inputs:
        shape = list(value.shape or ())
        if not isinstance(dim, ir.SymbolicDim) or dim.value is None or dim not in shape:
            continue
        at = shape.index(dim)
        others = [i for i in range(len(shape)) if i != at]
        if any(isinstance(d, int) and d < 1 for d in shape) or value.dtype == ir.DataType.STRING:
            continue
        ends = e.ints(*[1] * len(others))
        cut = e.op("Slice", value, e.ints(*[0] * len(others)), ends, e.ints(*others)) if others else value
        cut.shape = ir.Shape([d if i == at else 1 for i, d in enumerate(shape)])
        cut = e.cast(cut, ir.DataType.BOOL)
        if others and (at != axis or len(shape) != rank):
            cut = e.op("Squeeze", cut, e.ints(*others))
        elif others:
            return cut
        new = [i for i in range(rank) if i != axis]
        return e.op("Unsqueeze", cut, e.ints(*new)) if new else cut
    raise Unfit("no graph input has the size")


def _measured(value: ir.Value | None) -> str | None:
    """The name of the dim that a computed number is."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity"):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "Shape" or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    start, end = (node.attributes[k].as_int() if k in node.attributes else None for k in ("start", "end"))
    dims = list(node.inputs[0].shape)[start or 0 : end]
    return dims[0].value if len(dims) == 1 and isinstance(dims[0], ir.SymbolicDim) else None


def _fits_only(value: ir.Value, axis: int, size: str) -> bool:
    """Whether something that follows fails unless the axis has this size (or 1): a sum with a tensor that has it."""
    pending, seen = [(value, axis - len(value.shape or ()))], set[ir.Value]()
    while pending:
        held, at = pending.pop()  # the axis from the end
        if held in seen:
            continue
        seen.add(held)
        for node, index in held.uses():
            facts = fact(node.op_type)
            if (
                node.op_type == "Gather"
                and index == 1
                and node.inputs[0] is not None
                and node.inputs[0].shape is not None
            ):
                behind = len(node.inputs[0].shape) - 1 - node.attributes.get_int("axis", 0) % len(node.inputs[0].shape)
                pending.append((node.outputs[0], at - behind))
            elif facts is not None and facts.kind == "elementwise" and not node.domain:
                others = [v for v in node.inputs if v is not None and v is not held and v.shape is not None]
                if any(len(v.shape or ()) >= -at and v.shape[at] == size for v in others):  # type: ignore[index]
                    return True
                pending.append((node.outputs[0], at))
    return False
