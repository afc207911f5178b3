"""Remove Dropout, which does nothing at inference.

Given: Dropout nodes as in the dialect (inference), possibly with a ratio.
Result: their users take the input itself.
Refuses when: a Dropout is in training mode, or its mask is used: it stays, and a finding says so.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import all_nodes, const, layer_of
from recast.passes import PassOptions
from recast.passes._editor import Editor


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Remove the Dropout nodes of the model in place."""
    findings = []
    editor = Editor(model.graph)
    for node in list(all_nodes(model.graph)):
        if node.op_type != "Dropout" or node.domain != "":
            continue
        training = node.inputs[2] if len(node.inputs) > 2 else None
        mode = const(training)
        random = training is not None and (mode is None or bool(mode.reshape(-1)[0]))
        masked = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
        if random or masked:
            why = "training mode" if random else "its mask is used"
            findings.append(Finding(f"Dropout stays ({why})", layer_of(node), "warning"))
        elif not editor.bypass(node):
            node.op_type = "Identity"
            node.resize_inputs(1)
            node.resize_outputs(1)
    return findings
