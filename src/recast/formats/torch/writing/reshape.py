"""Shapes: reading them, changing them, joining and cutting tensors."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._ints import Ints
from recast.formats.torch.writing._literals import literal
from recast.formats.torch.writing._types import TYPES
from recast.graph import view


def rank_of(node: ir.Node, index: int = 0) -> int:
    """Rank of an input.

    Raises:
        Refuse: it is unknown.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.shape is None:
        raise Refuse("the input's rank is unknown")
    return len(value.shape)


@writes("Shape")
def shape(e: Emitter, node: ir.Node) -> str | Ints:
    x = e.x(node)
    value = node.inputs[0]
    start, end = view.attr(node, "start", 0), view.attr(node, "end")
    if value is None or value.shape is None:
        return f"torch.tensor(list({x}.shape)[{start}:{'' if end is None else end}], dtype=torch.int64)"
    dims = view.dims(value)
    items = [str(d) if isinstance(d, int) else f"{x}.shape[{i}]" for i, d in enumerate(dims)]
    return Ints(tuple(items[start : len(dims) if end is None else end]), natural=True)


@writes("Size")
def size(e: Emitter, node: ir.Node) -> Ints:
    return Ints((f"{e.x(node)}.numel()",), True, True)


@writes("Reshape")
def reshape(e: Emitter, node: ir.Node) -> str | Ints:
    ints = e.ints(node, 1)
    if e.is_host(node, 0) and ints is not None:
        held = e.ints(node, 0)
        if held is not None and len(held.items) == 1 and ints.constant in ([], [1], [-1]):
            return Ints(held.items, not ints.constant, held.natural)
        if held is not None and not held.scalar and ints.constant == [-1]:
            return held
    x = e.x(node)
    zero = bool(view.attr(node, "allowzero", 0))
    if ints is None:
        return f"{e.helper('reshape')}({x}, {e.x(node, 1)}.tolist(), {zero})"
    if ints.constant == [0, -1] and not zero and rank_of(node) > 2:
        return f"{x}.flatten(1)"
    items = [f"{x}.shape[{i}]" if d == "0" and not zero else d for i, d in enumerate(ints.items)]
    if ints.constant and -1 in ints.constant and 0 in (view.static_shape(node.outputs[0]) or ()):
        items = [str(d) for d in view.static_shape(node.outputs[0]) or ()]
    return f"{x}.reshape({', '.join(items) if items else '()'})"


@writes("Flatten")
def flatten(e: Emitter, node: ir.Node) -> str:
    axis, x, rank = view.attr(node, "axis", 1), e.x(node), rank_of(node)
    axis = axis + rank if axis < 0 else axis
    if axis == 1 and rank > 1:
        return f"{x}.flatten(1)"
    if axis == 0:
        return f"{x}.reshape(1, -1)"
    return f"{x}.reshape(math.prod({x}.shape[:{axis}]), -1)"


@writes("Transpose")
def transpose(e: Emitter, node: ir.Node) -> str:
    perm = view.attr(node, "perm") or list(reversed(range(rank_of(node))))
    return f"{e.x(node)}.permute({', '.join(map(str, perm)) if perm else '()'})"


@writes("Squeeze")
def squeeze(e: Emitter, node: ir.Node) -> str | Ints:
    axes = e.ints(node, 1)
    held = e.ints(node, 0) if e.is_host(node, 0) else None
    if held is not None and len(held.items) == 1:
        return Ints(held.items, True, held.natural)
    x = e.x(node)
    if e.value(node, 1) is None:
        return f"{x}.squeeze()"
    if axes is None:
        return f"{x}.squeeze({e.x(node, 1)}.tolist())"
    return f"{x}.squeeze({axes.args() if len(axes.items) == 1 else '(' + axes.args() + ')'})"


@writes("Unsqueeze")
def unsqueeze(e: Emitter, node: ir.Node) -> str | Ints:
    axes = e.ints(node, 1)
    held = e.ints(node, 0) if e.is_host(node, 0) else None
    if held is not None and held.scalar and axes is not None and len(axes.items) == 1:
        return Ints(held.items, False, held.natural)
    x = e.x(node)
    numbers = axes.constant if axes is not None else None
    if numbers is None:
        return f"{e.helper('unsqueeze')}({x}, {e.list_code(node, 1)})"
    if len(numbers) > 1 and min(numbers) < 0:
        rank = rank_of(node) + len(numbers)
        numbers = [a % rank for a in numbers]
    code = x
    for axis in sorted(numbers):
        code += f".unsqueeze({axis})"
    return code


@writes("Concat")
def concat(e: Emitter, node: ir.Node) -> str | Ints:
    if any(e.is_host(node, i) for i in range(len(node.inputs))):
        held = [e.ints(node, i) for i in range(len(node.inputs))]
        known = [h for h in held if h is not None and not h.scalar]
        if len(known) == len(held):
            return Ints(tuple(i for h in known for i in h.items), False, all(h.natural for h in known))
    return f"torch.cat([{', '.join(e.xs(node))}], {view.attr(node, 'axis')})"


@writes("Split")
def split(e: Emitter, node: ir.Node) -> str:
    axis, x = view.attr(node, "axis", 0), e.x(node)
    count = len(node.outputs)
    end = "[0]" if count == 1 else ""
    if e.value(node, 1) is not None:
        return f"torch.split({x}, {e.list_code(node, 1)}, {axis}){end}"
    value = node.inputs[0]
    whole = view.dims(value)[axis] if value is not None and value.shape is not None else None
    if isinstance(whole, int) and -(-whole // count) * (count - 1) >= whole:
        raise Refuse("a split into more parts than there are elements")
    return f"torch.split({x}, -(-{x}.shape[{axis}] // {count}), {axis}){end}"


@writes("Slice")
def slice_(e: Emitter, node: ir.Node) -> str | Ints:
    parts = [e.ints(node, i) for i in range(1, 5)]
    starts, ends, axes, steps = (p.constant if p is not None else None for p in parts)
    held = e.ints(node, 0) if e.is_host(node, 0) else None
    if held is not None and starts and ends:
        step = (steps or [1])[0]
        return Ints(held.items[slice(starts[0], _bound(ends[0], step), step)], False, held.natural)
    x = e.x(node)
    ranked = node.inputs[0] is not None and node.inputs[0].shape is not None
    if ranked and parts[0] is not None and (axes is not None or e.value(node, 3) is None):
        numbers = steps or [1] * len(parts[0].items)
        if parts[1] is not None and all(s > 0 for s in numbers) and (steps is not None or e.value(node, 4) is None):
            return f"{x}[{_index(node, (parts[0].items, parts[1].items), axes, numbers)}]"
    lists = [e.list_code(node, i) if e.value(node, i) is not None else "None" for i in range(1, 5)]
    return f"{e.helper('slice_steps')}({x}, {', '.join(lists)})"


def _bound(end: int, step: int) -> int | None:
    return None if step < 0 and end < -(1 << 30) else end


def _index(
    node: ir.Node, bounds: tuple[tuple[str, ...], tuple[str, ...]], axes: list[int] | None, steps: list[int]
) -> str:
    rank = rank_of(node)
    index = [":"] * rank
    for i, (start, end) in enumerate(zip(*bounds, strict=True)):
        axis = (axes[i] if axes is not None else i) % rank
        low = "" if start == "0" else start
        high = "" if end.isdigit() and int(end) >= 1 << 31 else end
        index[axis] = f"{low}:{high}" + (f":{steps[i]}" if steps[i] != 1 else "")
    while len(index) > 1 and index[-1] == ":":
        index.pop()
    first = next((i for i, part in enumerate(index) if part != ":"), 0)
    if len(index) == rank and first > 1:
        index[:first] = ["..."]
    return ", ".join(index)


@writes("Expand")
def expand(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('expand')}({e.x(node)}, {e.list_code(node, 1)})"


@writes("Tile")
def tile(e: Emitter, node: ir.Node) -> str:
    return f"{e.x(node)}.repeat({e.list_code(node, 1)})"


@writes("Constant")
def constant(e: Emitter, node: ir.Node) -> None:
    if not view.is_const(node.outputs[0]):
        raise Refuse("a constant of another type than tensor")
    e.alias(node.outputs[0], e.constant(node.outputs[0]))


@writes("ConstantOfShape")
def constant_of_shape(e: Emitter, node: ir.Node) -> str:
    value = view.attr(node, "value")
    fill = "0.0" if value is None else literal(value.numpy().reshape(-1)[0])
    kind = "torch.float32" if value is None else f"torch.{e.type(value.dtype).torch}"
    return f"torch.full({e.list_code(node, 0)}, {fill}, dtype={kind}{device(e)})"


def device(e: Emitter) -> str:
    """``, device=…`` of the first tensor argument."""
    for name, value in zip(e.arguments, e.graph.inputs, strict=True):
        if isinstance(value.type, ir.TensorType) and value.dtype in TYPES:
            return f", device={name}.device"
    return ""


@writes("Range")
def range_(e: Emitter, node: ir.Node) -> str:
    kind = e.dtype(node.outputs[0])
    parts = []
    for i in range(3):
        ints, array = e.ints(node, i), e.const(node, i)
        if ints is not None:
            parts.append(ints.items[0])
        elif array is not None:
            parts.append(literal(array.reshape(-1)[0]))
        else:
            parts.append(f"{e.x(node, i)}.item()")
    return f"torch.arange({', '.join(parts)}, dtype={kind}{device(e)})"


@writes("DepthToSpace")
def depth_to_space(e: Emitter, node: ir.Node) -> str:
    block = view.attr(node, "blocksize")
    if view.attr(node, "mode", "DCR") == "CRD":
        return f"{e.module(node, f'nn.PixelShuffle({block})', {})}({e.x(node)})"
    return f"{e.helper('depth_to_space')}({e.x(node)}, {block})"


@writes("SpaceToDepth")
def space_to_depth(e: Emitter, node: ir.Node) -> str:
    block = view.attr(node, "blocksize")
    if view.attr(node, "mode", "DCR") == "CRD":
        return f"{e.module(node, f'nn.PixelUnshuffle({block})', {})}({e.x(node)})"
    return f"{e.helper('space_to_depth')}({e.x(node)}, {block})"


@writes("Pad")
def pad(e: Emitter, node: ir.Node) -> str:
    mode = view.attr(node, "mode", "constant")
    pads, axes = e.ints(node, 1), e.ints(node, 3)
    rank = rank_of(node)
    fill = e.const(node, 2)
    numbers = pads.constant if pads is not None else None
    listed = list(range(rank)) if axes is None else [a % rank for a in axes.constant or []]
    exact = fill is None or fill.dtype.kind not in "iu" or abs(int(fill.reshape(-1)[0])) < 1 << 31
    known = numbers is not None and exact and (axes is not None or e.value(node, 3) is None)
    if known and numbers and mode == "constant" and (fill is not None or e.value(node, 2) is None):
        amounts = [0] * (2 * rank)
        for i, axis in enumerate(listed):
            amounts[2 * (rank - 1 - axis)] = numbers[i]
            amounts[2 * (rank - 1 - axis) + 1] = numbers[i + len(listed)]
        while len(amounts) > 2 and amounts[-2:] == [0, 0]:
            del amounts[-2:]
        value = "" if fill is None or not fill.reshape(-1)[0] else f", value={literal(fill.reshape(-1)[0])}"
        return f"F.pad({e.x(node)}, {amounts}{value})"
    places = e.list_code(node, 3) if e.value(node, 3) is not None else str(listed)
    constant_value = e.optional(node, 2)
    return f'{e.helper("pad")}({e.x(node)}, {e.list_code(node, 1)}, {places}, "{_mode(mode)}", {constant_value})'


def _mode(mode: str) -> str:
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Refuse(f"padding mode {mode!r}")
    return mode
