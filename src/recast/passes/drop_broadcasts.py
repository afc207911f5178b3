"""Let a broadcast happen where it is needed: an Expand whose users broadcast anyway is gone.

Given: a graph with inferred shapes.
Result: an Expand is by-passed where every way from it leads, through elementwise operators, to one whose result has the
    same dims without it; so is an And with what always holds (``range(n) >= 0``). An Add of zeros that were computed
    from constants (a mask that masks nothing) is gone too; weights that happen to be zero stay.
Refuses when: never; what named dims do not prove stays.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.infer import infer_node, refine_node
from recast.graph.view import broadcast, const, told_dims
from recast.ops import fact
from recast.passes import PassOptions, fold_constants
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead

Dims = tuple[int | str, ...]


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Drop broadcasts in place."""
    editor, held = Editor(model.graph), set(model.graph.initializers)
    dropped = False
    for node in model.graph:
        if not node.domain and any(told_dims(v) is None for v in node.outputs):
            refine_node(node)  # what was rewritten before may tell more now
    for node in list(model.graph):
        source = node.inputs[0] if node.op_type == "Expand" and not node.domain else None
        if source is not None:
            dropped = _absorb(editor, node, source) or dropped
    true = set[ir.Value]()
    for node in list(model.graph):
        if node.domain or node.graph is None:
            continue
        if _holds(node, true):
            true.add(node.outputs[0])
        elif node.op_type == "And":
            dropped = _without(editor, node, true) or dropped
    remove_dead(model.graph)
    if dropped:
        fold_constants.apply(model, options)
        _drop_zeros(editor, held)
        remove_dead(model.graph)
    return []


def _absorb(editor: Editor, node: ir.Node, source: ir.Value) -> bool:
    """By-pass a node whose only result is ``source`` in larger dims, where nobody can tell."""
    wide = node.outputs[0]
    narrow = told_dims(source)
    region: dict[ir.Value, Dims] = {}
    if narrow is None or not _vanishes(wide, narrow, region):
        return False
    ir.convenience.replace_all_uses_with(wide, source)
    editor.graph.remove(node, safe=True)
    for value in region:
        inner = value.producer()
        if inner is not None:
            value.shape = None
            infer_node(inner)
    return True


def _holds(node: ir.Node, true: set[ir.Value]) -> bool:
    """Whether a comparison of a range always holds, or all that is ANDed does."""
    if node.op_type == "And":
        return all(v in true or _all_true(v) for v in node.inputs)
    if node.op_type != "GreaterOrEqual":
        return False
    least, limit = _least(node.inputs[0]), const(node.inputs[1])
    return least is not None and limit is not None and limit.size == 1 and bool((limit <= least).all())


def _least(value: ir.Value | None) -> int | None:
    """The smallest number of a range, through what only moves it."""
    node = value.producer() if value is not None else None
    while (
        node is not None
        and node.op_type in ("Unsqueeze", "Reshape", "Expand", "Identity")
        and node.inputs[0] is not None
    ):
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Range" or node.domain:
        return None
    start, step = const(node.inputs[0]), const(node.inputs[2])
    return int(start) if start is not None and step is not None and start.dtype.kind == "i" and step > 0 else None


def _all_true(value: ir.Value | None) -> bool:
    array = const(value)
    return array is not None and array.dtype == bool and bool(array.all())


def _without(editor: Editor, node: ir.Node, true: set[ir.Value]) -> bool:
    """``x AND True`` is x, broadcast."""
    for value, other in (node.inputs[:2], node.inputs[1::-1]):
        if other is not None and (value in true or _all_true(value)):
            return _absorb(editor, node, other)
    return False


def _vanishes(value: ir.Value, dims: Dims, region: dict[ir.Value, Dims]) -> bool:
    """Whether the graph computes the same results if a value has only these dims; ``region``: values that shrink."""
    pending = [(value, dims)]
    while pending:
        held, narrow = pending.pop()
        if held.is_graph_output():
            return False
        for node in {use.node for use in held.uses()}:
            if not _elementwise(node) or node.graph is not held.graph and held.graph is not None:
                return False
            given = [narrow if v is held else region.get(v) or told_dims(v) for v in node.inputs if v is not None]
            result, now = node.outputs[0], broadcast(given)
            before = told_dims(result)
            if before is None or now is None:
                return False
            if now != before and region.get(result) != now:
                region[result] = now
                pending.append((result, now))
    return True


def _elementwise(node: ir.Node) -> bool:
    facts = fact(node.op_type)
    return not node.domain and facts is not None and facts.kind == "elementwise" and len(node.outputs) == 1


def _drop_zeros(editor: Editor, held: set[str]) -> None:
    """Adding zeros that this pass has computed (names that are not in ``held``) changes nothing."""
    for node in list(editor.graph):
        if node.op_type != "Add" or node.domain:
            continue
        for x, zeros in (node.inputs[:2], node.inputs[1::-1]):
            if zeros is None or zeros.name in held or x is None:
                continue
            array = const(zeros)
            if array is None or array.any() or told_dims(x) is None or told_dims(x) != told_dims(node.outputs[0]):
                continue
            if not node.outputs[0].is_graph_output():
                ir.convenience.replace_all_uses_with(node.outputs[0], x)
            break
