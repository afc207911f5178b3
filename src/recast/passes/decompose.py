"""Write operators that the target lacks as plainer ONNX operators.

Given: ``PassOptions.native`` says which nodes the target has a form for (None: it has all).
Result: every other node with a decomposition (``passes/decompositions/``) is replaced by it, again and again until
    nothing is left to replace, in sub-graphs too; new nodes carry the origin of the node they come from.
Refuses when: never; a node whose decomposition does not fit stays, and ``reason`` tells the writer why.
"""

from __future__ import annotations

from collections import deque

import onnx_ir as ir

from recast.errors import InternalError
from recast.graph.finding import Finding
from recast.graph.infer import better, refine_node
from recast.graph.view import all_nodes
from recast.passes import PassOptions, fold_constants
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead
from recast.passes.decompositions import Expansion, Unfit, decomposable, decompositions

_REASON = "recast.not_decomposed"
_DEEPEST = 16  # a decomposition of a decomposition of ...


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Decompose in place.

    Raises:
        InternalError: decompositions that lead to each other.
    """
    native, known = options.native, decompositions()
    if native is not None and any(
        n.op_type in known and not n.domain and not native(n) for n in all_nodes(model.graph)
    ):
        fold_constants.apply(model, options)  # what shapes decide need not be written out
        _graph(Editor(model.graph), options)
    return []


def reason(node: ir.Node) -> str:
    """Why a node was not decomposed, or "" where there is no decomposition."""
    return str(node.meta.get(_REASON, ""))


def _graph(editor: Editor, options: PassOptions) -> None:
    assert options.native is not None
    known = decompositions()
    pending = deque((node, 0) for node in editor.graph)
    stale: set[ir.Value] = set()
    changed = False
    while pending:
        node, depth = pending.popleft()
        if any(v in stale for v in node.inputs):
            refine_node(node)
        for attribute in node.attributes.values():
            graphs = attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else ()
            for graph in [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else graphs:
                _graph(editor.inside(graph), options)
        if node.domain or not decomposable(node) or options.native(node):
            continue
        if depth > _DEEPEST:
            raise InternalError(f"the decompositions of {node.op_type} lead to each other", "recast/passes")
        expansion = Expansion(editor, node)
        try:
            results = known[node.op_type](expansion)
        except Unfit as why:
            node.meta[_REASON] = str(why)
            editor.graph.remove(expansion.made[::-1], safe=True)
            continue
        _replace(editor, node, results)
        _release(node, expansion.made)
        stale.update(v for v in results if v is not None)
        pending.extendleft((n, depth + 1) for n in reversed(expansion.made))
        changed = True
    if changed:
        remove_dead(editor.graph)


def _replace(editor: Editor, node: ir.Node, results: tuple[ir.Value | None, ...]) -> None:
    """Let the users of a node take the results; what was known of their shapes is kept."""
    for index, old in enumerate(node.outputs):
        new = results[index] if index < len(results) else None
        if new is None:
            if old.uses() or old.is_graph_output():
                raise InternalError(f"{node.op_type}: its decomposition has no result {index}", "recast/passes")
            continue
        if old.is_graph_output() and (new.producer() is None or new.is_graph_output()):
            new = editor.node("Identity", [new], None, before=node)
        if new.dtype is None and old.dtype is not None:
            new.dtype = old.dtype
        if new.shape is None:
            new.shape = old.shape
        elif old.shape is not None and len(old.shape) == len(new.shape):
            pairs = zip(new.shape, old.shape, strict=True)
            new.shape = ir.Shape([better(a, b) for a, b in pairs])
        editor.replace(old, new)
    editor.graph.remove(node, safe=True)


def _release(node: ir.Node, made: list[ir.Node]) -> None:
    """The sub-graphs of a node that is gone use nothing any more, unless a new node has taken them over."""
    taken = {id(graph) for new in made for graph in _graphs(new)}
    for graph in _graphs(node):
        if id(graph) in taken:
            continue
        for inner in ir.traversal.RecursiveGraphIterator(graph):
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def _graphs(node: ir.Node) -> list[ir.Graph]:
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
