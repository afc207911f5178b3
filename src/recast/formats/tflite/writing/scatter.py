"""Writing elements at places."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import Emitter, Options, dims_of
from recast.formats.tflite.writing.move import as_int32
from recast.graph import view


@writes("ScatterND", when=lambda n: view.attr(n, "reduction", "none") in ("none", "add"))
def scatter_nd(w: Emitter, node: ir.Node) -> None:
    """SCATTER_ND into zeros, which is added, or chosen where something was written."""
    x, indices, updates = node.inputs
    assert x is not None
    assert indices is not None
    dims = dims_of(x)
    depth = dims_of(indices)[-1]
    places = _places(w, indices, dims[:depth])
    source, fresh, out = w.take(x), w.take(updates), w.put(node.outputs[0])
    size = w.ints(dims) if -1 not in dims else _shape(w, source, len(dims))
    options: Options = ("ScatterNdOptions", {})
    if view.attr(node, "reduction", "none") == "add":
        sums = w.temp(out)
        w.op("SCATTER_ND", [places, fresh, size], [sums], options)
        w.op("ADD", [source, sums], [out], ("AddOptions", {}))
        return
    _refuse_repeats(indices)
    placed = w.temp(out)
    w.op("SCATTER_ND", [places, fresh, size], [placed], options)
    mask = _written(w, indices, (places, size), dims, w.shape(fresh))
    w.op("SELECT_V2", [mask, placed, source], [out], ("SelectV2Options", {}))


def _places(w: Emitter, indices: ir.Value, dims: tuple[int, ...]) -> int:
    """The indices as int32, counted from the start."""
    given = view.const(indices)
    if given is not None:
        if np.any(given < 0) and any(d < 0 for d in dims):
            raise Refused("negative places in a dimension that is only known at run time")
        return w.ints(np.where(given < 0, given + np.array(dims), given))
    raw = as_int32(w, indices)
    if any(d < 0 for d in dims):
        return raw
    negative = w.then("LESS", [raw, w.ints(0)], None, None, "BOOL")
    counted = w.then("ADD", [raw, w.ints(dims)], None, ("AddOptions", {}))
    chosen = w.temp(raw)
    w.op("SELECT_V2", [negative, counted, raw], [chosen], ("SelectV2Options", {}))
    return chosen


def _refuse_repeats(indices: ir.Value) -> None:
    """SCATTER_ND would add what ONNX leaves undefined: two elements for one place."""
    given = view.const(indices)
    if given is None:
        return
    rows = given.reshape(-1, given.shape[-1])
    if len(np.unique(rows, axis=0)) != len(rows):
        raise Refused("several elements for one place")


def _shape(w: Emitter, index: int, rank: int) -> int:
    return w.then("SHAPE", [index], (rank,), ("ShapeOptions", {"out_type": 2}), "INT32")


def _written(
    w: Emitter, indices: ir.Value, targets: tuple[int, int], dims: tuple[int, ...], fresh: tuple[int, ...]
) -> int:
    """Where something is written: a constant where the places and sizes are."""
    given = view.const(indices)
    places, size = targets
    if given is not None and -1 not in dims:
        mask = np.zeros(dims, bool)
        rows = given.reshape(-1, given.shape[-1])
        mask[tuple(np.where(rows < 0, rows + np.array(dims[: rows.shape[1]]), rows).T)] = True
        return w.constant(mask)
    if -1 in fresh:
        raise Refused("updates of a size that is only known at run time")
    ones = w.constant(np.ones(fresh, np.int32))
    marks = w.tensor(f"{indices.name}/marks", "INT32", dims)
    w.op("SCATTER_ND", [places, ones, size], [marks], ("ScatterNdOptions", {}))
    return w.then("GREATER", [marks, w.ints(0)], None, None, "BOOL")
