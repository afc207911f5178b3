"""Slices whose bounds are computed, and slices that are written."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads


def slice_by_computed(c: Call) -> bool:
    """A STRIDED_SLICE with bounds computed at run time as Slice; False where both are constant."""
    if c.array(1) is not None and c.array(2) is not None:
        return False
    steps = c.ints(3, "strides")
    masks = {n: int(c.opt(f"{n}_mask")) for n in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if masks["ellipsis"] or masks["new_axis"] or masks["shrink_axis"] or c.opt("offset") or min(steps) < 1:
        raise UnsupportedOp("STRIDED_SLICE with these options between bounds that are computed")
    free = masks["begin"] & masks["end"]
    if (masks["begin"] ^ masks["end"]) & ((1 << len(steps)) - 1):
        raise UnsupportedOp("STRIDED_SLICE with one computed bound of an axis")
    axes = [i for i in range(len(steps)) if not free >> i & 1]
    picks = c.b.const(axes, np.int64, "axes")
    bounds = [c.b.op("Gather", [c.int64(n), picks], {"axis": 0}) for n in (1, 2)]
    c.out(c.b.op("Slice", [c.x(0), *bounds, picks, c.b.const([steps[i] for i in axes], np.int64, "steps")]))
    return True


@reads("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(c: Call) -> None:
    """ScatterND over the axes in which the update is smaller; its start is kept within the operand."""
    have, given = c.shape(0), c.shape(1)
    if len(have) != len(given):
        raise c.bad("an update of another rank")
    axes = [i for i, (a, b) in enumerate(zip(have, given, strict=True)) if a is None or a != b]
    if not axes:
        c.out(c.b.op("Identity", [c.x(1)]))
        return
    sizes = [given[i] for i in axes]
    if not all(isinstance(s, int) for s in sizes):
        c.out(_padded(c))
        return
    block = [int(s) for s in sizes if isinstance(s, int)]
    picks = c.b.const(axes, np.int64, "axes")
    start = c.b.op("Gather", [c.int64(2), picks], {"axis": 0})
    room = c.b.op("Gather", [c.b.op("Shape", [c.x(0)]), picks], {"axis": 0})
    last = c.b.op("Sub", [room, c.b.const(block, np.int64, "block")])
    kept = c.b.op("Max", [c.b.op("Min", [start, last]), c.b.const(0, np.int64, "zero")])
    grid = np.moveaxis(np.indices(block, dtype=np.int64), 0, -1)
    places = c.b.op("Add", [c.b.const(grid, np.int64, "places"), kept])
    order = axes + [i for i in range(len(have)) if i not in axes]
    operand, update = (_turned(c, c.x(n), order) for n in (0, 1))
    written = c.b.op("ScatterND", [operand, places, update])
    c.out(_turned(c, written, [int(i) for i in np.argsort(order)]))


def _padded(c: Call) -> ir.Value:
    """The update and a mask of it, both padded to the operand's size: for updates whose size is not known."""
    operand, update = c.x(0), c.x(1)
    size = c.b.op("Shape", [update])
    last = c.b.op("Sub", [c.b.op("Shape", [operand]), size])
    zero = c.b.const(0, np.int64, "zero")
    start = c.b.op("Max", [c.b.op("Min", [c.int64(2), last]), zero])
    pads = c.b.op("Concat", [start, c.b.op("Sub", [last, start])], {"axis": 0})
    inside = c.b.op("Pad", [c.b.op("Expand", [c.b.const(1, np.int32, "one"), size]), pads])
    wide = c.b.op("Pad", [update, pads])
    return c.b.op("Where", [c.b.op("Cast", [inside], {"to": int(ir.DataType.BOOL)}), wide, operand])


def _turned(c: Call, value: ir.Value, perm: list[int]) -> ir.Value:
    return value if perm == sorted(perm) else c.b.op("Transpose", [value], {"perm": perm})
