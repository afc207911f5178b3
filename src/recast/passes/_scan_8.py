"""Scan of opset 8 has a batch axis that later ones lack, and ONNX's version converter drops it silently.

Every item of the batch runs on its own, so it is a Scan over the batch whose body is the Scan of today.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir

from recast.errors import BadModel
from recast.graph.view import all_nodes


def batched_scans(model: ir.Model, where: str) -> None:
    """Write every Scan of opset 8 as two nested ones of opset 9.

    Raises:
        BadModel: a Scan with sequence lengths, or one inside a sub-graph.
    """
    changed = sorted({n.op_type for n in all_nodes(model.graph) if _since(n.op_type, 8) != _since(n.op_type, 9)})
    found = [n for n in all_nodes(model.graph) if n.op_type == "Scan" and n.domain in ("", "ai.onnx")]
    if found and changed != ["Scan"]:
        raise BadModel(
            f"Scan of opset 8 together with operators that changed in opset 9: {', '.join(changed)}",
            where,
            "export it again with opset 9 or newer",
        )
    for node in found:
        if node.graph is not model.graph or node.inputs[0] is not None:
            raise BadModel(
                "a Scan of opset 8 with sequence lengths, or inside a sub-graph, has no equal in later opsets",
                where,
                "export it again with opset 9 or newer",
            )
        _nest(node)
        model.opset_imports[""] = 9


def _since(op_type: str, version: int) -> int:
    try:
        return int(onnx.defs.get_schema(op_type, version, "").since_version)
    except onnx.defs.SchemaError:
        return 0


def _nest(node: ir.Node) -> None:
    given = list(node.inputs[1:])
    inner_inputs = [ir.Value(name=f"{node.name or 'scan'}_item_{i}") for i in range(len(given))]
    inner = ir.node("Scan", inner_inputs, _attributes(node), num_outputs=len(node.outputs))
    for index, value in enumerate(inner.outputs):
        value.name = f"{node.name or 'scan'}_result_{index}"
    body = ir.Graph(inner_inputs, inner.outputs, nodes=[inner], name=f"{node.name or 'scan'}_item")
    del node.attributes["body"]
    for name in ("directions", "num_scan_inputs"):
        node.attributes.pop(name, None)
    node.attributes["body"] = ir.AttrGraph("body", body)
    node.attributes["num_scan_inputs"] = ir.AttrInt64("num_scan_inputs", len(given))
    for index, source in enumerate(given):
        node.replace_input_with(index, source)
    node.resize_inputs(len(given))


def _attributes(node: ir.Node) -> dict[str, Any]:
    graph = node.attributes["body"].as_graph()
    count = node.attributes["num_scan_inputs"].as_int()
    made: dict[str, Any] = {"body": graph, "num_scan_inputs": count}
    if "directions" in node.attributes:
        made["scan_input_directions"] = node.attributes["directions"].as_ints()
    return made
