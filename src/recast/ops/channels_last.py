"""Turn channels-last operators back into standard ONNX, so that any ONNX runtime can run a graph after ``layout``."""

from __future__ import annotations

import onnx_ir as ir

from recast.graph import CHANNELS_LAST_DOMAIN
from recast.graph.view import attr, rank
from recast.ops import fact


def expand(model: ir.Model) -> ir.Model:
    """A copy in which ``recast.channels_last`` and batch-major recurrent nodes are Transpose → operator → Transpose.

    Weights are shared with the original. The original is not changed.
    """
    copy = ir.Model(
        model.graph.clone(),
        ir_version=model.ir_version,
        functions=[f.clone() for f in model.functions.values()],
    )
    for node in list(copy.graph):
        facts = fact(node.op_type)
        if node.domain == CHANNELS_LAST_DOMAIN and facts is not None:
            size = rank(node.inputs[0]) if node.inputs[0] is not None else 0
            size = size or 0
            first, last = (0, size - 1, *range(1, size - 1)), (0, *range(2, size), 1)
            node.domain = ""
            count = range(len(node.inputs))
            slots = {i: first for i in count if i < len(facts.inputs) and facts.inputs[i].dims[:1] == ("n",)}
            _wrap(copy.graph, node, slots, {0: last})
        elif node.op_type in ("LSTM", "GRU", "RNN") and node.domain == "" and attr(node, "layout", 0):
            node.attributes["layout"] = ir.AttrInt64("layout", 0)
            swap = (1, 0, 2)
            slots = {i: swap for i in (0, 5, 6) if i < len(node.inputs) and node.inputs[i] is not None}
            _wrap(copy.graph, node, slots, {0: (2, 0, 1, 3), 1: swap, 2: swap})
    copy.graph.opset_imports.pop(CHANNELS_LAST_DOMAIN, None)
    return copy


def _wrap(
    graph: ir.Graph, node: ir.Node, inputs: dict[int, tuple[int, ...]], outputs: dict[int, tuple[int, ...]]
) -> None:
    """Transpose some inputs before a node, and some outputs after it."""
    for slot, perm in inputs.items():
        before = ir.node("Transpose", [node.inputs[slot]], {"perm": list(perm)}, name=f"{node.name}/in{slot}")
        before.outputs[0].name = f"{node.name}/in{slot}_out"
        graph.insert_before(node, before)
        node.replace_input_with(slot, before.outputs[0])
    for slot, perm in outputs.items():
        if slot >= len(node.outputs):
            continue
        old = node.outputs[slot]
        after = ir.node("Transpose", [old], {"perm": list(perm)}, name=f"{node.name}/out{slot}")
        made = after.outputs[0]
        made.name, made.type, made.shape = old.name, old.type, old.shape
        ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
        after.replace_input_with(0, old)
        old.name, old.shape = f"{old.name}/raw", None
        graph.insert_after(node, after)
