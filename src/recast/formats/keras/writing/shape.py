"""Shapes and axes: Flatten, Reshape, Permute, Concatenate and operations for what has no layer."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.keras.writing import CHANNELS_LAST, Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Shape, Tensor, slice_literal
from recast.formats.keras.writing._space import crop
from recast.graph import ORIGIN, view


def _keeps_batch(node: ir.Node) -> bool:
    """Whether axis 0 goes through a reshape untouched."""
    before, after = node.inputs[0], node.outputs[0]
    if before is None or before.shape is None or after.shape is None or not len(before.shape) or not len(after.shape):
        return False
    first, second = before.shape[0], after.shape[0]
    if isinstance(first, int) or isinstance(second, int):
        return first == second
    return first.value is not None and first.value == second.value


def reshape_to(ctx: Context, node: ir.Node, x: Tensor, target: Shape, keeps_batch: bool) -> Tensor:
    """Reshape by a layer where the batch stays, else by an operation."""
    unknown = sum(n is None for n in target[1:])
    if keeps_batch and len(target) == 2 and len(x.shape) > 2 and (target[1] is None or unknown == 0):
        return ctx.layer(node, "Flatten", {}, [x], shape=target, dtype=x.dtype)
    if keeps_batch and unknown <= 1:
        config = {"target_shape": [-1 if n is None else n for n in target[1:]]}
        return ctx.layer(node, "Reshape", config, [x], shape=target, dtype=x.dtype)
    if sum(n is None for n in target) > 1:
        raise Unfit(f"its target {list(target)} has several sizes that are only known at run time")
    config = {"newshape": [-1 if n is None else n for n in target]}
    return ctx.op(node, "numpy.Reshape", [x], config, shape=target, dtype=x.dtype)


@writes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(ctx: Context, node: ir.Node) -> None:
    """Everything that only regroups axes. A shape computed at run time must be known to shape inference."""
    x = ctx.tensor(node.inputs[0])
    target = keras_shape(node.outputs[0])
    keeps = _keeps_batch(node)
    if node.op_type == "Reshape" and not keeps:
        given = ctx.const(node.inputs[1])
        if given is not None and not view.attr(node, "allowzero", 0):
            wanted = ctx.ints(node.inputs[1], "shape")
            keeps = bool(wanted) and wanted[0] == 0 and target[0] == x.shape[0]
    if target == x.shape and sum(n is None for n in target) <= 1:
        ctx.bind(node.outputs[0], x)
        return
    if node.op_type in ("Squeeze", "Unsqueeze") and sum(n is None for n in target) > 1:
        ctx.bind(node.outputs[0], _squeeze(ctx, node, x))
        return
    ctx.bind(node.outputs[0], reshape_to(ctx, node, x, target, keeps))


def _squeeze(ctx: Context, node: ir.Node, x: Tensor) -> Tensor:
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if node.op_type == "Unsqueeze":
        rank = len(keras_shape(node.outputs[0]))
        axes = sorted(a % rank for a in ctx.ints(given, "axes"))
        return ctx.op(node, "numpy.ExpandDims", [x], {"axis": axes}, dtype=x.dtype)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if given is None else ctx.ints(given, "axes")
    return ctx.op(node, "numpy.Squeeze", [x], {"axis": sorted(a % len(x.shape) for a in axes)}, dtype=x.dtype)


@writes("Transpose")
def transpose(ctx: Context, node: ir.Node) -> None:
    """Permute where the batch stays first, else Transpose."""
    x = ctx.tensor(node.inputs[0])
    perm = view.attr(node, "perm") or list(range(len(x.shape)))[::-1]
    shape = tuple(x.shape[p] for p in perm)
    if perm == list(range(len(perm))):
        y = x
    elif perm[0] == 0:
        y = ctx.layer(node, "Permute", {"dims": perm[1:]}, [x], shape=shape, dtype=x.dtype)
    else:
        y = ctx.op(node, "numpy.Transpose", [x], {"axes": perm}, shape=shape, dtype=x.dtype)
    ctx.bind(node.outputs[0], y)


@writes("Concat")
def concat(ctx: Context, node: ir.Node) -> None:
    """Concatenate; with constants among the inputs an operation."""
    if len(node.inputs) == 1:
        ctx.bind(node.outputs[0], ctx.tensor(node.inputs[0]))
        return
    constant = [ctx.bound(v) is None and ctx.const(v) is not None for v in node.inputs if v is not None]
    tensors = [ctx.operand(v) if c else ctx.tensor(v) for v, c in zip(node.inputs, constant, strict=True)]
    first = next(t for t in tensors if isinstance(t, Tensor))
    axis = view.attr(node, "axis", 0) % len(first.shape)
    if not any(constant) and axis > 0:
        last = axis == len(first.shape) - 1
        y = ctx.layer(node, "Concatenate", {"axis": -1 if last else axis}, tensors, dtype=first.dtype)
    else:
        y = ctx.op(node, "numpy.Concatenate", [tensors], {"axis": axis}, dtype=first.dtype)
    ctx.bind(node.outputs[0], y)


@writes("Split")
def split(ctx: Context, node: ir.Node) -> None:
    """Split at constant places; every part that is used becomes one slice."""
    x = ctx.tensor(node.inputs[0])
    axis = view.attr(node, "axis", 0) % len(x.shape)
    sizes = [keras_shape(v)[axis] for v in node.outputs]
    if any(n is None for n in sizes):
        raise Unfit("the sizes of its parts are only known at run time")
    start = 0
    for index, (value, size) in enumerate(zip(node.outputs, sizes, strict=True)):
        stop = start + (size or 0)
        keys = [slice_literal(None, None, None)] * axis + [slice_literal(start, stop, None)]
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        part = ctx.op(node, "numpy.GetItem", [x, keys], shape=shape, dtype=x.dtype, suffix=f"part{index}")
        ctx.bind(value, part)
        start = stop


@writes("Slice")
def slice_(ctx: Context, node: ir.Node) -> None:
    """Basic indexing; a negative step is a flip before it."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    starts, ends = (ctx.ints(node.inputs[i], "bounds") for i in (1, 2))
    given = [node.inputs[i] if len(node.inputs) > i else None for i in (3, 4)]
    axes = list(range(len(starts))) if given[0] is None else ctx.ints(given[0], "axes")
    steps = [1] * len(starts) if given[1] is None else ctx.ints(given[1], "steps")
    keys = [slice_literal(None, None, None)] * rank
    flipped: list[int] = []
    for raw, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis, size = raw % rank, x.shape[raw % rank]
        if size is not None:
            low, high, jump = slice(start, end, step).indices(size)
            if step < 0:
                flipped.append(axis)
                low, high, jump = size - 1 - low, size - 1 - high, -step
            keys[axis] = slice_literal(low, max(low, high), jump)
        elif step < 0:
            if not (start in (-1, 2**63 - 1) or start >= 2**31 - 1) or end > -(2**31):
                raise Unfit("it walks backwards over an axis of unknown size from the middle")
            flipped.append(axis)
            keys[axis] = slice_literal(None, None, -step)
        else:
            keys[axis] = slice_literal(start or None, None if end >= 2**31 - 1 else end, step)
    if flipped:
        x = ctx.op(node, "numpy.Flip", [x], {"axis": flipped}, shape=x.shape, dtype=x.dtype, suffix="flip")
    if not flipped and _cropped(ctx, node, x):
        return
    whole = slice_literal(None, None, None)
    full = [k == whole or (x.shape[i] is not None and k == slice_literal(0, x.shape[i], 1)) for i, k in enumerate(keys)]
    if all(full):
        ctx.bind(node.outputs[0], x)
        return
    while full.pop():
        keys.pop()
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.GetItem", [x, keys], dtype=x.dtype))


def _cropped(ctx: Context, node: ir.Node, x: Tensor) -> bool:
    """Cutting off the ends of spatial axes is a Cropping layer where a source of that kind says so."""
    rank = len(x.shape)
    if rank not in (3, 4, 5) or not node.metadata_props.get(ORIGIN, "").startswith("Cropping"):
        return False
    starts, ends, axes = (ctx.ints(node.inputs[i], "bounds") for i in (1, 2, 3))
    steps = ctx.ints(node.inputs[4], "steps") if len(node.inputs) > 4 and node.inputs[4] is not None else [1]
    cuts = [(0, 0)] * rank
    for axis, start, end in zip(axes, starts, ends, strict=True):
        size = x.shape[axis % rank]
        if size is None:
            return False
        low, high, _ = slice(start, end).indices(size)
        cuts[axis % rank] = (low, size - high)
    if any(s != 1 for s in steps) or cuts[0] != (0, 0) or cuts[-1] != (0, 0) or not any(map(any, cuts)):
        return False
    ctx.bind(node.outputs[0], crop(ctx, node, x, cuts[1:-1], suffix=""))
    return True


@writes("Cast")
def cast(ctx: Context, node: ir.Node) -> None:
    """Cast by an operation; nothing where the type is that already."""
    x, wanted = ctx.tensor(node.inputs[0]), keras_dtype(node.outputs[0])
    # no ``cast``: what the graph rounds is rounded
    y = x if x.dtype == wanted else ctx.op(node, "core.Cast", [x], {"dtype": wanted})
    ctx.bind(node.outputs[0], y)


@writes("Tile")
def tile(ctx: Context, node: ir.Node) -> None:
    """Repeat by constant counts."""
    x, repeats = ctx.tensor(node.inputs[0]), ctx.ints(node.inputs[1], "counts")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Tile", [x], {"repeats": repeats}, dtype=x.dtype))


@writes("Expand")
def expand(ctx: Context, node: ir.Node) -> None:
    """Broadcast; only axes of length 1 may grow, and their new size must be known."""
    x, target = ctx.operand(node.inputs[0]), keras_shape(node.outputs[0])
    if not isinstance(x, Tensor):
        x = ctx.tensor(node.inputs[0])
    if x.shape == target:
        ctx.bind(node.outputs[0], x)
        return
    source = (1,) * (len(target) - len(x.shape)) + x.shape
    if all(n is not None for n in target):
        y = ctx.op(node, "numpy.BroadcastTo", [x], {"shape": list(target)}, dtype=x.dtype)
    elif all(b is not None or a is None for a, b in zip(source, target, strict=True)):
        repeats = [b if a == 1 and b is not None else 1 for a, b in zip(source, target, strict=True)]
        y = ctx.op(node, "numpy.Tile", [x], {"repeats": repeats}, dtype=x.dtype)
    else:
        raise Unfit("it grows an axis to a size that is only known at run time")
    ctx.bind(node.outputs[0], y)


@writes("DepthToSpace", "SpaceToDepth")
def depth_space(ctx: Context, node: ir.Node) -> None:
    """Blocks between channels and space, by Reshape and Permute (channels-last)."""
    if node.domain != CHANNELS_LAST:
        raise Unfit("it is channels-first: run the layout pass before writing")
    x, block = ctx.tensor(node.inputs[0]), view.attr(node, "blocksize")
    n, h, w, c = x.shape
    if h is None or w is None or c is None:
        raise Unfit("its image size is only known at run time")
    if node.op_type == "SpaceToDepth":
        parts: Shape = (n, h // block, block, w // block, block, c)
        perm = [0, 1, 3, 2, 4, 5] if view.attr(node, "mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    elif view.attr(node, "mode", "DCR") == "DCR":
        parts, perm = (n, h, w, block, block, c // block**2), [0, 1, 3, 2, 4, 5]
    else:
        parts, perm = (n, h, w, c // block**2, block, block), [0, 1, 4, 2, 5, 3]
    y = ctx.layer(node, "Reshape", {"target_shape": list(parts[1:])}, [x], shape=parts, suffix="blocks")
    moved = tuple(parts[p] for p in perm)
    y = ctx.layer(node, "Permute", {"dims": perm[1:]}, [y], shape=moved, suffix="permute")
    target = keras_shape(node.outputs[0])
    ctx.bind(node.outputs[0], ctx.layer(node, "Reshape", {"target_shape": list(target[1:])}, [y]))
