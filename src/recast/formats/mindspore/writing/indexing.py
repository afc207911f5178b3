"""Reading and writing elements at indices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Writer, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.formats.mindspore.writing.shape import strided
from recast.graph.integers import never_negative
from recast.graph.view import attr, const, dims, static_shape

_SCATTER = {"none": "Update", "add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def wrapped(w: Writer, indices: ir.Value, size: int | str | None) -> Arg:
    """Indices without negative ones, which MindSpore reads as out of range."""
    array = const(indices)
    if never_negative(indices):
        return indices
    if not isinstance(size, int):
        raise Refusal("negative indices into an axis of unknown size")
    if array is not None:
        return np.where(array < 0, array + size, array).astype(array.dtype)
    negative = w.fn("Less", indices, scalar(0, indices))
    return w.fn("Select", negative, w.fn("Add", indices, scalar(size, indices)), indices)


@writes("Gather")
def gather(w: Writer, node: ir.Node) -> None:
    x, indices = value_of(node), value_of(node, 1)
    axis = attr(node, "axis", 0) % len(dims(x))
    w.bind(node.outputs[0], w.fn("Gather", x, wrapped(w, indices, dims(x)[axis]), axis, 0))


@writes("GatherElements")
def gather_elements(w: Writer, node: ir.Node) -> None:
    x, indices = value_of(node), value_of(node, 1)
    axis = attr(node, "axis", 0) % len(dims(x))
    shapes = [d for i, d in enumerate(dims(x)) if i != axis], [d for i, d in enumerate(dims(indices)) if i != axis]
    result: Arg = x
    if shapes[0] != shapes[1]:
        spans = {}
        for i, d in enumerate(dims(indices)):
            if i != axis and d != dims(x)[i]:
                if not isinstance(d, int):
                    raise Refusal("its indices' shape is not known")
                spans[i] = (0, d, 1)
        result = strided(w, x, spans, len(dims(x)))
    w.bind(node.outputs[0], w.fn("GatherD", result, axis, wrapped(w, indices, dims(x)[axis])))


def _tuples(w: Writer, indices: ir.Value, sizes: list[int | str | None]) -> Arg:
    """Index tuples (…, k) into axes of these sizes, without negative numbers."""
    array = const(indices)
    if never_negative(indices):
        return indices
    if not all(isinstance(s, int) for s in sizes):
        raise Refusal("indices that may be negative, into axes of unknown size")
    limits = np.asarray(sizes, dtype_of(indices).numpy())
    if array is not None:
        return np.where(array < 0, array + limits, array).astype(array.dtype)
    return w.fn("Select", w.fn("Less", indices, scalar(0, indices)), w.fn("Add", indices, limits), indices)


def _grid(shape: tuple[int, ...], axes: list[int], dtype: np.dtype) -> list[np.ndarray]:
    """For each axis the index of every element along it: (*shape, 1)."""
    return [np.broadcast_to(g[..., None], (*shape, 1)).astype(dtype) for g in np.indices(shape)[axes]]


def _with_grid(w: Writer, shape: tuple[int, ...], axes: list[int], held: Arg, dtype: ir.DataType) -> list[Arg]:
    """Columns of index tuples: constant ones for ``axes``, ``held`` for the rest."""
    return [*_grid(shape, axes, dtype.numpy()), held]


def _counted(node: ir.Node) -> bool:
    """Whether the length of the tuples is known; for batch dimensions or negative numbers the sizes, too."""
    x, indices, batch = value_of(node), value_of(node, 1), int(attr(node, "batch_dims", 0))
    depth = dims(indices)[-1]
    if not isinstance(depth, int) or (batch and static_shape(indices) is None):
        return False
    return never_negative(indices) or all(isinstance(d, int) for d in dims(x)[batch : batch + depth])


@writes("GatherND", when=_counted)
def gather_nd(w: Writer, node: ir.Node) -> None:
    x, indices, batch = value_of(node), value_of(node, 1), int(attr(node, "batch_dims", 0))
    depth = dims(indices)[-1]
    if not isinstance(depth, int):
        raise Refusal("the length of its index tuples must be known")
    held = _tuples(w, indices, list(dims(x)[batch : batch + depth]))
    if batch:
        shape = static_shape(indices)
        if shape is None:
            raise Refusal("batch_dims with indices of unknown shape")
        columns = _with_grid(w, shape[:-1], list(range(batch)), held, dtype_of(indices))
        held = w.fn("Concat", w.pack(columns), -1)
    w.bind(node.outputs[0], w.fn("GatherNd", x, held))


@writes("ScatterND")
def scatter_nd(w: Writer, node: ir.Node) -> None:
    op, x, indices = _SCATTER[attr(node, "reduction", "none")], value_of(node), value_of(node, 1)
    depth = dims(indices)[-1]
    if not isinstance(depth, int):
        raise Refusal("the length of its index tuples must be known")
    held = _tuples(w, indices, list(dims(x)[:depth]))
    w.bind(node.outputs[0], w.prim(f"TensorScatter{op}", [x, held, value_of(node, 2)]))


@writes("ScatterElements")
def scatter_elements(w: Writer, node: ir.Node) -> None:
    x, indices, updates = value_of(node), value_of(node, 1), value_of(node, 2)
    reduction, rank = attr(node, "reduction", "none"), len(dims(x))
    axis = attr(node, "axis", 0) % rank
    held = wrapped(w, indices, dims(x)[axis])
    if reduction in ("none", "add"):
        how = int(reduction == "add")
        w.bind(node.outputs[0], w.fn("TensorScatterElements", x, held, updates, axis, how))
        return
    shape = static_shape(indices)
    if shape is None:
        raise Refusal(f"reduction {reduction} with indices of unknown shape")
    columns = _with_grid(w, shape, list(range(rank)), w.fn("ExpandDims", held, -1), dtype_of(indices))
    columns[axis] = columns.pop()
    tuples = w.fn("Concat", w.pack(columns), -1)
    w.bind(node.outputs[0], w.prim(f"TensorScatter{_SCATTER[reduction]}", [x, tuples, updates]))
