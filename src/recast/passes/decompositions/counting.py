"""Numbers in a row and repetition, where sizes are only known at run time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph import dims
from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.positions import stretched

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


def _terms(node: ir.Node) -> dict[str, int]:
    """The length of a Range as a sum of names; empty where it is none, or holds something else than plain names."""
    shape = node.outputs[0].shape
    if shape is None or len(shape) != 1 or isinstance(shape[0], int) or shape[0].value is None:
        return {}
    found = dims.parse(shape[0].value)
    return found if all(times > 0 for times in found.values()) else {}


def _countable(node: ir.Node) -> bool:
    start, step = const(node.inputs[0]), const(node.inputs[2])
    return start is not None and step is not None and node.outputs[0].dtype in _INTEGERS and bool(_terms(node))


@decomposes("Range", when=_countable)
def count(e: Expansion) -> Results:
    """start + step · (0, 1, …): a running sum of ones, as many as the inputs of the network that have this length."""
    parts = []
    for name, times in _terms(e.node).items():
        if name:
            parts += [_ones(e, name)] * times
        else:
            parts.append(e.array(np.ones(times, np.int64)))
    ones = parts[0] if len(parts) == 1 else e.op("Concat", *parts, axis=0)
    counted = e.op("Sub", e.op("CumSum", ones, e.int(0)), e.int(1))
    start, step = (const(e.input(i)) for i in (0, 2))
    if step is not None and step.item() != 1:
        counted = e.op("Mul", counted, e.int(step.item()))
    if start is not None and start.item():
        counted = e.op("Add", counted, e.int(start.item()))
    return (e.cast(counted, e.node.outputs[0].dtype),)


def _ones(e: Expansion, name: str) -> ir.Value:
    """As many ones (int64) as a dimension is long, by an input that has it.

    Raises:
        Unfit: no input has it.
    """
    for value in e.editor.graph.inputs:
        shape = [] if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
        if name not in shape or value.dtype in (None, ir.DataType.BOOL, ir.DataType.STRING):
            continue
        others = [axis for axis, _ in enumerate(shape) if axis != shape.index(name)]
        nothing = e.op("Cast", e.op("Greater", value, value), to=int(ir.DataType.INT64))  # also of what is no number
        line = e.op("ReduceSum", nothing, e.ints(*others), keepdims=0) if others else nothing
        return e.op("Add", line, e.int(1))
    raise Unfit(f"no input is as long as '{name}'")


@decomposes("Expand")
def expand(e: Expansion) -> Results:
    """Repetition, where every axis that grows has one element now; sizes known at run time are those of an input."""
    x = e.input(0)
    wanted = const(e.input(1))
    if wanted is None:
        return stretched(e)
    missing = len(wanted) - e.rank(x)
    if missing > 0:
        x = e.op("Unsqueeze", x, e.ints(*range(missing)))
    wanted = np.concatenate([np.ones(max(0, -missing), np.int64), wanted])
    repeats = []
    for size, now in zip(wanted.tolist(), e.dims(x), strict=True):
        if size not in (1, now) and now != 1:
            raise Unfit("a broadcast of a dimension that is only known at run time")
        repeats.append(size if now == 1 else 1)
    return (e.op("Tile", x, e.ints(*repeats)),)
