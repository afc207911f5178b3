"""Positions and masks are the same for a whole batch: they are not repeated for each sample of it.

``drop_broadcasts`` follows elementwise operators alone; this goes through tables and Attention, and knows Tile.

Given: a graph with inferred shapes; equal names of dimensions are equal sizes.
Result: an Expand or Tile that only repeats axes of one element goes where its users (elementwise operators, the mask of
    Attention) give the same without it; a Gather of a table by repeated indices gathers once.
Refuses when: never; where a user needs the repeated tensor, or a shape is not known, it stays.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.infer import refine_node
from recast.graph.view import attr, broadcast, is_const, told_dims
from recast.passes import PassOptions
from recast.passes.clean import remove_dead

Dims = tuple[int | str, ...]
_ELEMENTWISE = frozenset((
    "Add", "Sub", "Mul", "Div", "Min", "Max", "And", "Or", "Xor", "Where",
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
))  # fmt: skip


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Remove them from the model's graph in place."""
    for node in list(model.graph):
        if node.op_type in ("Expand", "Tile") and not node.domain and node.inputs[0] is not None:
            _spare(node)
    remove_dead(model.graph)
    return []


def _spare(node: ir.Node) -> None:
    x, spread = node.inputs[0], node.outputs[0]
    before, after = told_dims(x), told_dims(spread)
    if x is None or before is None or after is None or len(before) > len(after):
        return
    wide = (*[1] * (len(after) - len(before)), *before)
    if any(a not in (1, b) for a, b in zip(wide, after, strict=True)):
        return
    for use in list(spread.uses()):
        narrowed: dict[ir.Value, Dims] = {}
        if use.node.domain:
            continue
        if _broadcasts(use.node, use.idx, before, narrowed):
            use.node.replace_input_with(use.idx, x)
            for value, dims in narrowed.items():
                value.shape = ir.Shape(dims)
        elif use.node.op_type == "Gather" and use.idx == 1:
            _gather_once(use.node, x)


def _broadcasts(node: ir.Node, index: int, dims: Dims, narrowed: dict[ir.Value, Dims]) -> bool:
    """Whether all gives the same if an input has these dimensions; ``narrowed``: results that then have less."""
    if node.op_type == "Attention":  # a mask may be one for all samples, heads and queries, but tells every key
        held = told_dims(node.inputs[index]) if index == 3 else None
        return held is not None and len(dims) == 4 and dims[3] == held[3]
    if node.op_type not in _ELEMENTWISE or node.domain:
        return False
    result = node.outputs[0]
    before, now = (
        told_dims(result),
        broadcast([dims if i == index else told_dims(v) for i, v in enumerate(node.inputs)]),
    )
    if before is None or now is None or len(now) != len(before):
        return False
    if now == before:
        return True
    narrowed[result] = now
    return not result.is_graph_output() and all(_broadcasts(u.node, u.idx, now, narrowed) for u in result.uses())


def _same(node: ir.Node, index: int, dims: Dims) -> bool:
    narrowed: dict[ir.Value, Dims] = {}
    return _broadcasts(node, index, dims, narrowed) and not narrowed


def _gather_once(node: ir.Node, indices: ir.Value) -> None:
    """Rows of a table by indices that are not spread, where all users of the rows broadcast."""
    table, rows = node.inputs[0], node.outputs[0]
    own = told_dims(indices)
    if table is None or not is_const(table) or table.shape is None or own is None or attr(node, "axis", 0) != 0:
        return
    dims = (*own, *(d for d in table.shape[1:] if isinstance(d, int)))
    if rows.is_graph_output() or not all(_same(use.node, use.idx, dims) for use in rows.uses()):
        return
    node.replace_input_with(1, indices)
    rows.shape = None
    refine_node(node)
