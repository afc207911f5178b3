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


def _limit(start: ir.Value) -> int | None:
    """Walk forward through operators that carry values unchanged to operators that use them as indices."""
    seen: set[int] = set()
    queue = [start]
    limits: list[int] = []
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for use in value.uses():
            node, index = use.node, use.idx
            size = _indexed(node, index)
            if size is not None:
                limits.append(size)
            elif node.op_type in _CARRIERS and (index == 0 or node.op_type == "Concat"):
                queue.extend(node.outputs)
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
