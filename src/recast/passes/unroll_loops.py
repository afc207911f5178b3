"""Write loops out, for targets without control flow.

Given: Loop and Scan nodes, with constants folded.
Result: a Loop with a constant trip count whose condition is constant in every round, and a Scan over axes of known
    size, become their bodies, one copy per round; what is stacked over the rounds is concatenated. An If that depends
    on the inputs becomes both its branches and a Where for every result.
Refuses when: never; a loop whose number of rounds depends on the inputs, or that would grow beyond 20,000 nodes, stays
    a node, and so does an If whose branches give different shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.infer import refine_node
from recast.graph.view import attr, const, is_const, layer_of
from recast.passes import PassOptions
from recast.passes._editor import Editor, copy_origin
from recast.passes.clean import remove_dead
from recast.passes.fold_constants import compute

_MOST_ROUNDS = 1024
_MOST_NODES = 20_000


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Unroll what can be unrolled, in place; loops in loops too."""
    editor = Editor(model.graph)
    changed = False
    while node := next((n for n in model.graph if _possible(n)), None):
        write = {"Loop": _loop, "Scan": _scan, "If": _if}[node.op_type]
        if write(editor, node):
            changed = True
        else:
            node.meta[_STAYS] = True
    for node in model.graph:
        node.meta.pop(_STAYS, None)
    if changed:
        remove_dead(model.graph)
    return []


_STAYS = "recast.loop_stays"


def _possible(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type in ("Loop", "Scan", "If") and _STAYS not in node.meta


def _copy(editor: Editor, node: ir.Node, body: ir.Graph, inputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Put a copy of ``body`` before ``node``, constants folded; returns what it gives."""
    part = body.clone(allow_outer_scope_values=True)
    given = dict(zip(part.inputs, inputs, strict=True))
    results = [given.get(v, v) for v in part.outputs]
    part.outputs.clear()
    for formal, actual in given.items():
        ir.convenience.replace_all_uses_with(formal, actual)
    for value in list(part.initializers.values()):
        part.initializers.pop(value.name or "")
        value.name = editor.unique(value.name or "constant")
        editor.graph.initializers.add(value)
    made = list(part)
    part.remove(made)
    editor.graph.insert_before(node, made)
    for inner in made:
        inner.name = editor.unique(f"{layer_of(node)}/{inner.op_type}")
        copy_origin(node, inner)
        for value in inner.outputs:
            value.name = editor.unique(value.name or "value")
        refine_node(inner)
        folded = _folded(editor, inner)
        for value, held in zip(inner.outputs, folded, strict=False):
            results = [held if r is value else r for r in results]
            ir.convenience.replace_all_uses_with(value, held)
        if folded:
            editor.graph.remove(inner, safe=True)
    return results


def _folded(editor: Editor, node: ir.Node) -> list[ir.Value]:
    """The results of a node of constants as constants; none where they stay computed."""
    name = node.outputs[0].name or "constant"
    if node.op_type == "Constant":
        array = const(node.outputs[0])
        return [] if array is None else [editor.weight(name, array)]
    if not node.inputs or not all(v is None or is_const(v) for v in node.inputs):
        return []
    if node.op_type == "Identity":
        return [v for v in node.inputs if v is not None]
    return [editor.weight(name, array) for array in compute(node) or ()]


def _finish(editor: Editor, node: ir.Node, results: Sequence[ir.Value]) -> None:
    for old, new in zip(node.outputs, results, strict=True):
        if old.is_graph_output() and (new.producer() is None or new.is_graph_output()):
            new = editor.node("Identity", [new], None, before=node)
        editor.replace(old, new)
    editor.graph.remove(node, safe=True)


def _stacked(editor: Editor, node: ir.Node, rounds: Sequence[ir.Value], axis: int) -> ir.Value:
    wide = [editor.node("Unsqueeze", [v, editor.const([axis], "axes")], None, before=node) for v in rounds]
    return wide[0] if len(wide) == 1 else editor.node("Concat", wide, {"axis": axis}, before=node)


def _size(graph: ir.Graph) -> int:
    return sum(1 for _ in graph.all_nodes())


def _true(value: ir.Value | None) -> bool | None:
    array = const(value)
    return None if array is None or array.size != 1 else bool(array.reshape(-1)[0])


def _loop(editor: Editor, node: ir.Node) -> bool:
    """``for i in range(M)`` while the condition, which must be constant in every round, holds."""
    body = node.attributes["body"].as_graph()
    trips, condition = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    limit = _MOST_ROUNDS + 1 if trips is None else _number(trips)
    going = True if condition is None else _true(condition)
    if limit is None or going is None:
        return False
    carried = [v for v in node.inputs[2:] if v is not None]
    count = len(carried)
    rows: list[list[ir.Value]] = [[] for _ in node.outputs[count:]]
    before = set(editor.graph)
    room = _MOST_NODES // max(_size(body), 1)
    held = editor.const(np.array(True), "condition")
    for index in range(limit):
        if not going:
            break
        results = _copy(editor, node, body, [editor.const(index, "round"), held, *carried]) if index < room else []
        passed = _true(results[0]) if results else None
        if passed is None or index >= _MOST_ROUNDS:
            _undo(editor, node, before)
            return False
        going = passed
        carried = results[1 : 1 + count]
        for row, value in zip(rows, results[1 + count :], strict=True):
            row.append(value)
    if any(not row for row in rows):
        _undo(editor, node, before)
        return False  # nothing to stack: its shape is not told
    _finish(editor, node, [*carried, *(_stacked(editor, node, row, 0) for row in rows)])
    return True


def _undo(editor: Editor, node: ir.Node, before: set[ir.Node]) -> None:
    editor.graph.remove([n for n in editor.graph if n not in before][::-1], safe=True)


def _number(value: ir.Value | None) -> int | None:
    array = const(value)
    return None if array is None or array.size != 1 else int(array.reshape(-1)[0])


def _scan(editor: Editor, node: ir.Node) -> bool:
    """States go from round to round; inputs are cut along their axes, results stacked."""
    body = node.attributes["body"].as_graph()
    inputs = [v for v in node.inputs if v is not None]
    scanned = attr(node, "num_scan_inputs")
    count = len(inputs) - scanned
    states, sources = inputs[:count], inputs[count:]
    axes = attr(node, "scan_input_axes") or [0] * scanned
    back = attr(node, "scan_input_directions") or [0] * scanned
    outs = len(node.outputs) - count
    out_axes = attr(node, "scan_output_axes") or [0] * outs
    out_back = attr(node, "scan_output_directions") or [0] * outs
    if any(v.shape is None for v in sources) or not sources:
        return False
    sizes = {v.shape[a] for v, a in zip(sources, axes, strict=True) if v.shape is not None}
    length = next(iter(sizes))
    fits = len(sizes) == 1 and isinstance(length, int) and 0 < length <= _MOST_ROUNDS
    if not fits or not isinstance(length, int) or length * _size(body) > _MOST_NODES:
        return False
    rows: list[list[ir.Value]] = [[] for _ in range(outs)]
    for index in range(length):
        cut = []
        for value, axis, backwards in zip(sources, axes, back, strict=True):
            place = editor.const(length - 1 - index if backwards else index, "round")
            cut.append(editor.node("Gather", [value, place], {"axis": axis}, before=node))
        results = _copy(editor, node, body, [*states, *cut])
        states = results[:count]
        for row, value in zip(rows, results[count:], strict=True):
            row.append(value)
    stacks = [
        _stacked(editor, node, row[::-1] if backwards else row, axis)
        for row, axis, backwards in zip(rows, out_axes, out_back, strict=True)
    ]
    _finish(editor, node, [*states, *stacks])
    return True


def _if(editor: Editor, node: ir.Node) -> bool:
    """Both branches, and a choice for every result (operators have no side effects)."""
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    for one, other in zip(branches[0].outputs, branches[1].outputs, strict=True):
        known = one.shape is not None and other.shape is not None and one.dtype == other.dtype is not None
        if not known or list(one.shape or ()) != list(other.shape or ()):
            return False
        if any(not isinstance(d, int) and d.value is None for d in one.shape or ()):
            return False
    condition = node.inputs[0]
    if condition is None:
        return False
    sides = [_copy(editor, node, branch, []) for branch in branches]
    made = []
    for then, other in zip(*sides, strict=True):
        made.append(editor.node("Where", [condition, then, other], None, before=node))
    _finish(editor, node, made)
    return True
