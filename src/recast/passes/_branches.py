"""Replace an If whose condition is known by the branch that is taken."""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.infer import infer_node
from recast.graph.view import const
from recast.passes._editor import Editor


def taken(node: ir.Node) -> ir.Graph | None:
    """The branch that an If always takes, or None where that depends on the inputs."""
    condition = const(node.inputs[0]) if node.op_type == "If" and node.domain == "" and node.inputs else None
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    return node.attributes[name].as_graph() if name in node.attributes else None


def inline(editor: Editor, node: ir.Node, branch: ir.Graph) -> list[ir.Node]:
    """Put the nodes of ``branch`` in the place of ``node``; returns them, in order."""
    for value in list(branch.initializers.values()):
        branch.initializers.pop(value.name or "")
        value.name = editor.unique(value.name or "constant")
        editor.graph.initializers.add(value)
    moved = list(branch)
    results = list(branch.outputs)
    branch.outputs.clear()
    branch.remove(moved)
    editor.graph.insert_before(node, moved)
    for old, new in zip(node.outputs, results, strict=True):
        if old.is_graph_output() and (new.producer() not in moved or new.is_graph_output()):
            passed = ir.node("Identity", [new], name=editor.unique(f"{node.name}/Identity"))
            passed.outputs[0].name = editor.unique(f"{old.name}_passed")
            editor.graph.insert_before(node, passed)
            infer_node(passed)
            moved.append(passed)
            new = passed.outputs[0]
        editor.replace(old, new)
    editor.graph.remove(node, safe=True)
    return moved
