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
from recast.graph.view import attr, is_const
from recast.passes import PassOptions
from recast.passes.clean import remove_dead

Dims = list[int | str | None]
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
    before, after = _dims(x), _dims(spread)
    if x is None or before is None or after is None or len(before) > len(after):
        return
    wide = [*[1] * (len(after) - len(before)), *before]
    if any(a not in (1, b) for a, b in zip(wide, after, strict=True)):
        return
    for use in list(spread.uses()):
        if use.node.domain:
            continue
        if _broadcasts(use.node, use.idx, before):
            use.node.replace_input_with(use.idx, x)
        elif use.node.op_type == "Gather" and use.idx == 1:
            _gather_once(use.node, x)


def _dims(value: ir.Value | None) -> Dims | None:
    """The dimensions, or None where one of them has neither size nor name."""
    if value is None or value.shape is None:
        return None
    found: Dims = [d if isinstance(d, int) else d.value for d in value.shape]
    return None if None in found else found


def _broadcasts(node: ir.Node, index: int, dims: Dims) -> bool:
    """Whether a user gives the same with an input of these dimensions."""
    if node.op_type == "Attention":
        return index == 3 and len(dims) == 4
    if node.op_type not in _ELEMENTWISE:
        return False
    result = _dims(node.outputs[0])
    shapes = [dims if i == index else _dims(v) for i, v in enumerate(node.inputs)]
    if result is None or None in shapes:
        return False
    for place in range(1, len(result) + 1):
        sizes = {s[-place] for s in shapes if s is not None and place <= len(s)} - {1}
        if sizes != ({result[-place]} if result[-place] != 1 else set()):
            return False
    return True


def _gather_once(node: ir.Node, indices: ir.Value) -> None:
    """Rows of a table by indices that are not spread, where all users of the rows broadcast."""
    table, rows = node.inputs[0], node.outputs[0]
    own = _dims(indices)
    if table is None or not is_const(table) or table.shape is None or own is None or attr(node, "axis", 0) != 0:
        return
    dims = [*own, *(d for d in table.shape[1:] if isinstance(d, int))]
    if rows.is_graph_output() or not all(_broadcasts(use.node, use.idx, dims) for use in rows.uses()):
        return
    node.replace_input_with(1, indices)
    rows.shape = None
    refine_node(node)
