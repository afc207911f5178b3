"""Operations of ``keras.ops`` that choose, gather and scatter elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.keras.arguments import argument, numpy_type, promote, tensor, type_of, typed
from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads


@reads("ops.Where")
def where(c: LayerCall) -> ir.Value:
    """condition ? x1 : x2, at the promoted type."""
    choices = [argument(c, "x1", 1), argument(c, "x2", 2)]
    name = promote(c, choices)
    condition = typed(c, argument(c, "condition", 0), "bool")
    return c.op("Where", [condition, *(typed(c, v, name) for v in choices)])


@reads("ops.Take")
def take(c: LayerCall) -> ir.Value:
    """Gather along an axis, or from all elements; indices may be constants."""
    x, indices, axis = tensor(c, argument(c, "x", 0)), argument(c, "indices", 1), argument(c, "axis", 2)
    if axis is None:
        x, axis = c.op("Reshape", [x, c.const([-1])]), 0
    if not isinstance(indices, ir.Value) or indices.dtype not in (ir.DataType.INT32, ir.DataType.INT64):
        indices = typed(c, indices, "int64")
    return c.op("Gather", [x, indices], {"axis": int(axis) % len(c.dims(x))})


@reads("ops.TakeAlongAxis")
def take_along_axis(c: LayerCall) -> ir.Value:
    """One element per index along an axis; the other axes broadcast."""
    x, indices, axis = (
        tensor(c, argument(c, "x", 0)),
        typed(c, argument(c, "indices", 1), "int64"),
        argument(c, "axis", 2),
    )
    if axis is None:
        x, axis = c.op("Reshape", [x, c.const([-1])]), 0
    sizes, counts = c.dims(x), c.dims(indices)
    if len(sizes) != len(counts):
        raise c.refuse(f"indices of rank {len(counts)} for a tensor of rank {len(sizes)}")
    axis = int(axis) % len(sizes)
    others = [(a, b) for i, (a, b) in enumerate(zip(sizes, counts, strict=True)) if i != axis]
    if any(a == 1 != b for a, b in others):
        x = c.op("Expand", [x, c.const([1 if i == axis else n or 1 for i, n in enumerate(counts)])])
    if any(b == 1 != a for a, b in others):
        indices = c.op("Expand", [indices, c.const([1 if i == axis else n or 1 for i, n in enumerate(sizes)])])
    if any(1 in (a, b) and None in (a, b) for a, b in others):
        raise c.refuse("axes that broadcast to a size that is only known at run time")
    return c.op("GatherElements", [x, indices], {"axis": axis})


@reads("ops.ScatterUpdate")
def scatter_update(c: LayerCall) -> ir.Value:
    """Write slices at coordinates, or combine them with what is there."""
    x, how = tensor(c, argument(c, "inputs", 0)), argument(c, "reduction", 3)
    indices = typed(c, argument(c, "indices", 1), "int64")
    updates = typed(c, argument(c, "updates", 2), type_of(c, x))
    return c.op("ScatterND", [x, indices, updates], {"reduction": str(how or "none")})


@reads("ops.OneHot")
def one_hot(c: LayerCall) -> ir.Value:
    """Rows of an identity matrix; all zero for an id outside (ONNX would count a negative one from the end)."""
    count, axis = int(argument(c, "num_classes", 1)), int(argument(c, "axis", 2, -1))
    ids = typed(c, argument(c, "x", 0), "int64")
    if not type_of(c, argument(c, "x", 0)).startswith("uint"):
        ids = c.op("Where", [c.op("Less", [ids, c.like(0, ids)]), c.like(count, ids), ids])
    wanted = str(argument(c, "dtype", 3) or "float32")
    values = c.b.const(np.asarray([0, 1], np.int64 if wanted == "int64" else np.float32))  # runtimes have no others
    return typed(c, c.op("OneHot", [ids, c.const(count), values], {"axis": axis}), wanted)


@reads("ops.Tril", "ops.Triu")
def triangle(c: LayerCall) -> ir.Value:
    """Lower or upper triangle of the last two axes."""
    diagonal = c.b.const(np.asarray(int(argument(c, "k", 1, 0)), np.int64))
    return c.op("Trilu", [c.x, diagonal], {"upper": int(c.layer.class_name == "Triu")})


@reads("ops.ZerosLike", "ops.OnesLike")
def filled(c: LayerCall) -> ir.Value:
    """Zeros or ones of a tensor's shape."""
    value = int(c.layer.class_name == "OnesLike")
    dtype = numpy_type(c, str(argument(c, "dtype", 1) or type_of(c, c.x)))
    y = c.op("Expand", [c.b.const(np.asarray(value).astype(dtype)), c.op("Shape", [c.x])])
    y.shape = c.x.shape
    if not value:
        c.reading.zeros.add(y)
    return y


@reads("ops.Nonzero")
def non_zero(c: LayerCall) -> list[ir.Value]:
    """Coordinates of what is not zero: one vector an axis."""
    size = c.rank
    if not size:
        raise c.refuse("the coordinates of a scalar")
    rows = c.b.node("Split", [c.op("NonZero", [c.x])], {"axis": 0, "num_outputs": size}, size)
    return [typed(c, c.op("Squeeze", [row, c.const([0])]), "int32") for row in rows]
