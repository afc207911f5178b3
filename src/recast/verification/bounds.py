"""What integer inputs may hold, read off the graph: an index into a constant must lie inside it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const

_CARRIERS = frozenset((
    "Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice",
    "Gather", "Concat", "Expand", "Tile", "Split", "Clip",
))  # fmt: skip


def integer_bounds(graph: ir.Graph) -> dict[str, tuple[int, int]]:
    """For each integer graph input whose values end up as indices: (0, size - 1) of the smallest indexed axis."""
    found = {}
    for value in graph.inputs:
        if value.dtype is None or value.dtype.numpy().kind not in "iu":
            continue
        limit = _limit(value)
        if limit is not None:
            found[value.name or ""] = (0, limit - 1)
    return found


def integer_choices(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    """For each integer graph input that is compared with constants: these numbers, which random ones would miss."""
    found = {}
    for value in graph.inputs:
        if value.dtype is None or value.dtype.numpy().kind not in "iu":
            continue
        numbers = {number for node, index in _uses(value) for number in _compared(node, index)}
        if numbers:
            found[value.name or ""] = tuple(sorted(numbers))
    return found


def _compared(node: ir.Node, index: int) -> list[int]:
    other = const(node.inputs[1 - index]) if node.op_type == "Equal" else None
    return [int(n) for n in other.reshape(-1)] if other is not None and other.dtype.kind in "iu" else []


def _uses(start: ir.Value) -> list[tuple[ir.Node, int]]:
    """All uses of a value (node, input), also behind operators that carry values unchanged."""
    seen: set[int] = set()
    queue, found = [start], []
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for use in value.uses():
            found.append((use.node, use.idx))
            if use.node.op_type in _CARRIERS and (use.idx == 0 or use.node.op_type == "Concat"):
                queue.extend(use.node.outputs)
    return found


def _limit(start: ir.Value) -> int | None:
    """The smallest size that values are used as indices into."""
    limits = [size for node, index in _uses(start) if (size := _indexed(node, index)) is not None]
    return min(limits) if limits else None


def _indexed(node: ir.Node, index: int) -> int | None:
    if node.op_type in ("Gather", "GatherElements") and index == 1:
        data = node.inputs[0]
        if data is not None and data.shape is not None:
            size = data.shape[int(attr(node, "axis", 0))]
            return int(size) if isinstance(size, int) else None
    if node.op_type == "OneHot" and index == 0:
        depth = const(node.inputs[1])
        return int(np.asarray(depth).reshape(-1)[0]) if depth is not None else None
    if node.op_type in ("Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual"):
        other = const(node.inputs[1 - index])
        if other is not None and other.dtype.kind in "iu" and other.size == 1:
            return max(2, 2 * abs(int(other.reshape(-1)[0])) + 2)
    return None
