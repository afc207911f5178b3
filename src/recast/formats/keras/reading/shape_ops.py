"""Operations of ``keras.ops`` that move elements: slices, reshapes, joins."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras import holding
from recast.formats.keras.arguments import argument, promote, type_of, typed
from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads

_FAR = 2**62


@reads("ops.GetItem")
def get_item(c: LayerCall) -> ir.Value:
    """``x[...]`` with slices, numbers, ``None`` and ``...``."""
    return item(c, c.x, argument(c, "key", 1))


def item(c: LayerCall, x: ir.Value, key: Any) -> ir.Value:
    """Slice, then drop the axes that were indexed by a number, then add the new ones."""
    parts = list(key) if isinstance(key, list | tuple) else [key]
    if any(isinstance(p, ir.Value | np.ndarray | list) for p in parts):
        raise c.refuse("an index that is a tensor", "use keras.ops.take")
    rank, used = len(c.dims(x)), sum(1 for p in parts if p is not None and p is not Ellipsis)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (rank - used)
    starts, ends, axes, steps, drop, add = [], [], [], [], [], []
    axis = kept = 0
    for part in parts:
        if part is None:
            add.append(kept)
            kept += 1
            continue
        if isinstance(part, slice):
            step = 1 if part.step is None else int(part.step)
            begin = (0 if step > 0 else -1) if part.start is None else part.start
            end = (_FAR if step > 0 else -_FAR) if part.stop is None else part.stop
            kept += 1
        else:
            begin, end, step = int(part), int(part) + 1 if part != -1 else _FAR, 1
            drop.append(axis)
        if (begin, end, step) != (0, _FAR, 1):
            if not isinstance(begin, int) or not isinstance(end, int):
                raise c.refuse("a slice whose ends are tensors")
            starts.append(begin)
            ends.append(end)
            axes.append(axis)
            steps.append(step)
        axis += 1
    if starts:
        x = c.op("Slice", [x, c.const(starts), c.const(ends), c.const(axes), c.const(steps)])
    if drop:
        x = c.op("Squeeze", [x, c.const(drop)])
    return c.op("Unsqueeze", [x, c.const(add)]) if add else x


@reads("ops.Reshape")
def reshape(c: LayerCall) -> ir.Value:
    """To a shape that includes the batch; its size or -1 in front keeps the batch."""
    given = argument(c, "newshape", 1)
    target = [-1 if t is None else t for t in (argument(c, "shape", 1) if given is None else given)]
    if not all(isinstance(t, int) for t in target):
        raise c.refuse("a shape made of tensors")
    return to_shape(c, c.x, target)


def to_shape(c: LayerCall, x: ir.Value, target: list[int]) -> ir.Value:
    """Reshape; where the rest keeps its size, the batch stays symbolic."""
    held = holding.constant(x)
    if held is not None:
        return holding.constant_as(c, x, held.reshape(target))
    sizes = c.dims(x)
    rest = [d for d in sizes[1:] if d is not None]
    if target and target[0] == -1 and len(rest) == len(sizes) - 1 and -1 not in target[1:]:
        batch = x.shape[0] if x.shape is not None else None
        y = c.op("Reshape", [x, c.const(target)])
        if int(np.prod(rest)) == int(np.prod(target[1:])):
            y.shape = ir.Shape([batch, *target[1:]])
        return y
    return c.op("Reshape", [x, c.const(target)], {"allowzero": 1} if 0 in target else None)


@reads("ops.Copy")
def copy(c: LayerCall) -> ir.Value:
    """The tensor itself."""
    return c.op("Identity", [c.x])


@reads("ops.Transpose")
def transpose(c: LayerCall) -> ir.Value:
    """Permute the axes, or reverse them."""
    axes = argument(c, "axes", 1)
    perm = list(reversed(range(c.rank))) if axes is None else [int(a) % c.rank for a in axes]
    return c.op("Transpose", [c.x], {"perm": perm})


@reads("ops.Swapaxes", "ops.Moveaxis")
def move_axes(c: LayerCall) -> ir.Value:
    """Exchange two axes, or move some."""
    order = list(range(c.rank))
    if c.layer.class_name == "Swapaxes":
        a, b = int(argument(c, "axis1", 1)), int(argument(c, "axis2", 2))
        order[a], order[b] = order[b], order[a]
    else:
        pair = [argument(c, "source", 1), argument(c, "destination", 2)]
        source, target = ([int(a) % c.rank for a in (p if isinstance(p, list) else [p])] for p in pair)
        order = [axis for axis in order if axis not in source]
        for to, axis in sorted(zip(target, source, strict=True)):
            order.insert(to, axis)
    return c.op("Transpose", [c.x], {"perm": order})


@reads("ops.ExpandDims")
def expand_dims(c: LayerCall) -> ir.Value:
    """New axes of size 1."""
    axis = argument(c, "axis", 1)
    axes = axis if isinstance(axis, list) else [axis]
    return c.op("Unsqueeze", [c.x, c.const([int(a) % (c.rank + len(axes)) for a in axes])])


@reads("ops.Squeeze")
def squeeze(c: LayerCall) -> ir.Value:
    """Drop axes of size 1."""
    axis = argument(c, "axis", 1)
    if axis is None:
        axis = [i for i, d in enumerate(c.dims(c.x)) if d == 1]
    axes = axis if isinstance(axis, list) else [axis]
    return c.op("Squeeze", [c.x, c.const([int(a) % c.rank for a in axes])])


@reads("ops.Concatenate", "ops.Stack")
def join(c: LayerCall) -> ir.Value:
    """Along an axis, old or new."""
    given = argument(c, "xs", 0) or argument(c, "x", 0)
    name = promote(c, given)
    values = [typed(c, v, name) for v in given]
    axis = int(argument(c, "axis", 1, 0))
    rank = len(c.dims(values[0]))
    if c.layer.class_name == "Stack":
        axis %= rank + 1
        values = [c.op("Unsqueeze", [v, c.const([axis])]) for v in values]
    return c.op("Concat", values, {"axis": axis % (rank + (c.layer.class_name == "Stack"))})


@reads("ops.Split")
def split(c: LayerCall) -> list[ir.Value]:
    """Equal parts, or parts that end at given places."""
    sections, axis = argument(c, "indices_or_sections", 1), int(argument(c, "axis", 2, 0)) % c.rank
    size = c.fixed(c.x, axis)
    if isinstance(sections, int):
        if size % sections:
            raise c.refuse(f"{size} does not split into {sections} parts")
        lengths = [size // sections] * sections
    else:
        edges = [0, *sections, size]
        lengths = [b - a for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return list(c.b.node("Split", [c.x, c.const(lengths)], {"axis": axis}, len(lengths)))


@reads("ops.Pad")
def pad(c: LayerCall) -> ir.Value:
    """Constant, reflected or repeated borders."""
    width, mode = argument(c, "pad_width", 1), str(argument(c, "mode", 2, "constant"))
    if isinstance(width, int):
        width = [[width, width]] * c.rank
    if len(width) == 1:
        width = width * c.rank
    if mode not in ("constant", "reflect", "edge") or len(width) != c.rank:
        raise c.refuse(f"mode '{mode}', width {width}")
    fill = argument(c, "constant_values", 1 if "pad_width" in c.layer.config else 3)
    pads = c.const([*[int(w[0]) for w in width], *[int(w[1]) for w in width]])
    return c.op("Pad", [c.x, pads, None if fill is None else typed(c, fill, type_of(c, c.x))], {"mode": mode})


@reads("ops.Tile")
def tile(c: LayerCall) -> ir.Value:
    """Repeat whole tensors."""
    repeats = argument(c, "repeats", 1)
    repeats = [repeats] if isinstance(repeats, int) else list(repeats)
    new = len(repeats) - c.rank
    x = c.op("Unsqueeze", [c.x, c.const(list(range(new)))]) if new > 0 else c.x
    return c.op("Tile", [x, c.const([1] * -new + repeats)])


@reads("ops.Repeat")
def repeat(c: LayerCall) -> ir.Value:
    """Repeat each element along an axis."""
    times, axis = argument(c, "repeats", 1), argument(c, "axis", 2)
    if not isinstance(times, int) or axis is None:
        raise c.refuse("repeats other than one number along one axis")
    indices = np.repeat(np.arange(c.fixed(c.x, axis), dtype=np.int64), times)
    return c.op("Gather", [c.x, c.b.const(indices)], {"axis": int(axis) % c.rank})


@reads("ops.Flip")
def flip(c: LayerCall) -> ir.Value:
    """Reverse axes."""
    axis = argument(c, "axis", 1)
    axes = list(range(c.rank)) if axis is None else axis if isinstance(axis, list) else [axis]
    count = len(axes)
    ends, back = c.const([-_FAR] * count), c.const([-1] * count)
    return c.op("Slice", [c.x, c.const([-1] * count), ends, c.const([int(a) % c.rank for a in axes]), back])


@reads("ops.BroadcastTo")
def broadcast_to(c: LayerCall) -> ir.Value:
    """Expand to a fixed shape."""
    shape = [1 if s in (None, -1) else int(s) for s in argument(c, "shape", 1)]
    return c.op("Expand", [c.x, c.const(shape)])
