"""Choose a physical layout for every tensor, so that as few bytes as possible are transposed.

Given: a graph in the dialect, with image operators channels-first (or in the domain ``recast.channels_last``).
Result: image operators are in the target's layout, recurrent ones time- or batch-major; Transposes are left only where
    two layouts meet, chosen by minimum cut; those of constants are folded; a flatten before a dense layer permutes its
    weights instead. Inputs and outputs keep their axes unless ``io_layout`` says otherwise (``recast.perm``).
Refuses when: an image operator cannot take the target's layout (its rank is unknown, or MaxPool's indices are used).
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph import CHANNELS_LAST_DOMAIN, PERM
from recast.graph.finding import Finding
from recast.graph.view import is_const
from recast.passes import PassOptions
from recast.passes._tied import kept
from recast.passes.layout_dense import dense_fold
from recast.passes.layout_edit import Constants
from recast.passes.layout_plan import Plan, transpose_perm
from recast.passes.layout_rewrite import Rewriter
from recast.passes.layout_rules import inverse


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Lay out the model's graph in place.

    Raises:
        UnsupportedOp: operators that cannot take the target's layout (all of them).
    """
    graph = model.graph
    with kept(graph, options.keep_tied):
        _fold_constant_transposes(graph)
        _fold_transposes_before_dense(graph)
        plan = Plan(graph, options)
        plan.solve()
        moved = Rewriter(plan).run()
    if any(node.domain == CHANNELS_LAST_DOMAIN for node in graph):
        graph.opset_imports[CHANNELS_LAST_DOMAIN] = 1
    else:
        graph.opset_imports.pop(CHANNELS_LAST_DOMAIN, None)
    return [
        Finding(f"its axes are permuted: new = transpose(old, ({v.metadata_props[PERM]}))", v.name or "")
        for v in moved
        if PERM in v.metadata_props
    ]


def _fold_constant_transposes(graph: ir.Graph) -> None:
    constants = Constants(graph)
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Transpose" and node.domain == "" else None
        if source is not None and is_const(source) and not node.outputs[0].is_graph_output():
            made = constants.transposed(source, transpose_perm(node))
            ir.convenience.replace_all_uses_with(node.outputs[0], made)
            graph.remove(node, safe=True)
    constants.drop_unused()


def _fold_transposes_before_dense(graph: ir.Graph) -> None:
    """A Transpose of any axes but the batch, then a flatten and a dense layer: the weights take the order instead."""
    constants = Constants(graph)
    for node in list(graph):
        value = node.inputs[0] if node.op_type in ("Reshape", "Flatten") and node.domain == "" else None
        before = value.producer() if value is not None else None
        if before is None or before.op_type != "Transpose" or before.domain != "" or before.graph is not node.graph:
            continue
        fold = dense_fold(node, inverse(transpose_perm(before)))
        if fold is None:
            continue
        for user, index, axis in fold.sites:
            weight = user.inputs[index]
            if weight is not None:
                user.replace_input_with(index, constants.taken(weight, fold, axis))
        node.replace_input_with(0, before.inputs[0])
        if not before.outputs[0].uses() and not before.outputs[0].is_graph_output():
            graph.remove(before, safe=True)
    constants.drop_unused()
