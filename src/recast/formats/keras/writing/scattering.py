"""Writing into a tensor at places: Keras's ScatterUpdate takes whole coordinates, with or without a reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype
from recast.formats.keras.writing._network import Shape, Tensor
from recast.formats.keras.writing._typed import cast, compute, operand, working_type
from recast.graph import view

_REDUCTIONS = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _reduction(node: ir.Node, dtype: str) -> str | None:
    name = view.attr(node, "reduction", "none")
    if name not in _REDUCTIONS:
        raise Unfit(f"Keras has no reduction {name}")
    if name in ("max", "min") and dtype in ("uint64", "bool"):
        raise Unfit(f"Keras has no {name} of {dtype}")
    return _REDUCTIONS[name]


def _places(ctx: Context, node: ir.Node, value: ir.Value | None, sizes: Shape) -> Any:
    """Indices that count from the start, as int64: an array where they are constant, else a tensor.

    ``sizes`` are what the entries of the last axis count in; for a single size all entries.
    """
    found = ctx.const(value)
    if found is not None and ctx.bound(value) is None:  # type: ignore[arg-type]
        array = found.load().astype(np.int64)
        if (array < 0).any() and any(n is None for n in sizes):
            raise Unfit("its indices count from the end of an axis of unknown size")
        return np.where(array < 0, array + np.array([n or 0 for n in sizes], np.int64), array)
    if any(n is None for n in sizes):
        raise Unfit("its axes' sizes are only known at run time")
    x = cast(ctx, node, ctx.tensor(value), "int64")
    below = compute(ctx, node, "numpy.Less", [x, 0], gives="bool", shape=x.shape, suffix="negative")
    ends = ctx.literal(np.array([n or 0 for n in sizes], np.int64))
    turned = compute(ctx, node, "numpy.Add", [x, ends], shape=x.shape, suffix="turned")
    return compute(ctx, node, "numpy.Where", [below, turned, x], gives="int64", shape=x.shape, suffix="places")


def _argument(ctx: Context, places: Any) -> Any:
    return places if isinstance(places, Tensor) else ctx.literal(places)


@writes("ScatterND")
def scatter_nd(ctx: Context, node: ir.Node) -> None:
    """Slices at the coordinates in the last axis of the indices."""
    out = node.outputs[0]
    dtype = keras_dtype(out)
    work = working_type(dtype)
    x = cast(ctx, node, ctx.tensor(node.inputs[0]), work)
    indices = node.inputs[1]
    depth = None if indices is None else view.dims(indices)[-1]
    if not isinstance(depth, int):
        raise Unfit("the depth of its indices is not known")
    places = _places(ctx, node, indices, x.shape[:depth])
    updates = operand(ctx, node, node.inputs[2], work)
    if isinstance(updates, int | float):
        updates = ctx.literal(np.array(updates, work))
    config = {"reduction": _reduction(node, dtype)}
    args = [x, _argument(ctx, places), updates]
    ctx.bind(out, compute(ctx, node, "core.ScatterUpdate", args, config))


@writes("ScatterElements")
def scatter_elements(ctx: Context, node: ir.Node) -> None:
    """One element per index along an axis: the other coordinates are those of the index itself."""
    out = node.outputs[0]
    dtype = keras_dtype(out)
    work = working_type(dtype)
    x = cast(ctx, node, ctx.tensor(node.inputs[0]), work)
    axis = view.attr(node, "axis", 0) % len(x.shape)
    shape = None if node.inputs[1] is None else view.static_shape(node.inputs[1])
    if shape is None:
        raise Unfit("the shape of its indices is only known at run time")
    places = _places(ctx, node, node.inputs[1], (x.shape[axis],))
    grid = np.indices(shape).reshape(len(shape), -1)
    count = grid.shape[1]
    if isinstance(places, Tensor):
        flat = compute(ctx, node, "numpy.Reshape", [places], {"newshape": [count, 1]}, shape=(count, 1), suffix="flat")
        parts: list[Any] = [ctx.literal(row[:, None]) for row in grid]
        parts[axis] = flat
        places = compute(
            ctx, node, "numpy.Concatenate", [parts], {"axis": 1}, shape=(count, len(shape)), suffix="coordinates"
        )
    else:
        grid[axis] = places.reshape(-1)
        places = np.ascontiguousarray(grid.T)
    updates = operand(ctx, node, node.inputs[2], work)
    if isinstance(updates, Tensor):
        updates = compute(
            ctx, node, "numpy.Reshape", [updates], {"newshape": [count]}, shape=(count,), suffix="updates"
        )
    else:
        updates = ctx.literal(ctx.array(node.inputs[2], "updates").astype(work).reshape(-1))
    config = {"reduction": _reduction(node, dtype)}
    ctx.bind(out, compute(ctx, node, "core.ScatterUpdate", [x, _argument(ctx, places), updates], config))


@writes("Shape")
def shape_of(ctx: Context, node: ir.Node) -> None:
    """Sizes that are known as a constant; an unknown one is counted: the sum of ones along its axis."""
    x = ctx.tensor(node.inputs[0])
    first, last = view.attr(node, "start", 0), view.attr(node, "end")
    axes = list(range(len(x.shape)))[first : None if last is None else last]
    if all(x.shape[a] is not None for a in axes):
        ctx.bind(node.outputs[0], ctx.held(np.array([x.shape[a] for a in axes], np.int64), view.layer_of(node)))
        return
    parts: list[Any] = []
    for axis in axes:
        size = x.shape[axis]
        if size is not None:
            parts.append(ctx.literal(np.array([size], np.int64)))
            continue
        others = [a for a in range(len(x.shape)) if a != axis]
        config = {"axis": others, "keepdims": False}
        line = compute(ctx, node, "numpy.Any", [x], config, gives="bool", shape=(None,), suffix=f"line{axis}")
        ones = compute(ctx, node, "numpy.OnesLike", [cast(ctx, node, line, "int64", f"long{axis}")], **_vector(axis))
        config = {"axis": [0], "keepdims": True}
        parts.append(compute(ctx, node, "numpy.Sum", [ones], config, shape=(1,), suffix=f"size{axis}"))
    if len(parts) == 1:
        ctx.bind(node.outputs[0], parts[0])
        return
    ctx.bind(node.outputs[0], compute(ctx, node, "numpy.Concatenate", [parts], {"axis": 0}, gives="int64"))


def _vector(axis: int) -> dict[str, Any]:
    return {"shape": (None,), "suffix": f"ones{axis}"}


@writes("ReverseSequence")
def reverse_sequence(ctx: Context, node: ir.Node) -> None:
    """Turn the first steps of every sequence round: elements are taken along the time axis."""
    x = ctx.tensor(node.inputs[0])
    time, batch = view.attr(node, "time_axis", 0), view.attr(node, "batch_axis", 1)
    steps = x.shape[time]
    if steps is None or any(n is None for n in x.shape):
        raise Unfit("its sizes are only known at run time")
    lengths = ctx.ints(node.inputs[1], "lengths")
    places = np.array([[n - 1 - t if t < n else t for n in lengths] for t in range(steps)])
    places = places if time < batch else places.T
    wide = [n if a in (time, batch) else 1 for a, n in enumerate(x.shape)]
    full = np.broadcast_to(places.reshape([n or 1 for n in wide]), [n or 0 for n in x.shape])
    indices = (
        ctx.literal(np.ascontiguousarray(full))
        if full.size <= 4096
        else ctx.held(full.astype(np.int64), node.name or "")
    )
    y = compute(ctx, node, "numpy.TakeAlongAxis", [x, indices], {"axis": time})
    ctx.bind(node.outputs[0], y)


@writes("TensorScatter")
def tensor_scatter(ctx: Context, node: ir.Node) -> None:
    """Write new steps into a cache at constant places, one per sample of the batch."""
    x, update = ctx.tensor(node.inputs[0]), node.inputs[1]
    shape = None if update is None else view.static_shape(update)
    axis = view.attr(node, "axis", -2) % len(x.shape)
    if shape is None or x.shape[axis] is None:
        raise Unfit("its sizes are only known at run time")
    given = node.inputs[2] if len(node.inputs) > 2 else None
    starts = [0] * shape[0] if given is None else ctx.ints(given, "places")
    grid = np.indices(shape)
    grid[axis] += np.array(starts).reshape([-1] + [1] * (len(shape) - 1))
    size = x.shape[axis] or 0
    if view.attr(node, "mode", "linear") == "circular":
        grid[axis] %= size
    elif (grid[axis] >= size).any() or (grid[axis] < 0).any():
        raise Unfit("it writes beyond the end")
    places = np.ascontiguousarray(grid.reshape(len(shape), -1).T)
    count = len(places)
    work = working_type(x.dtype)
    new = cast(ctx, node, ctx.tensor(update), work)
    flat = compute(ctx, node, "numpy.Reshape", [new], {"newshape": [count]}, shape=(count,), suffix="flat")
    args = [cast(ctx, node, x, work), ctx.literal(places), flat]
    ctx.bind(node.outputs[0], compute(ctx, node, "core.ScatterUpdate", args, {"reduction": None}))
