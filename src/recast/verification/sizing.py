"""Values that decide sizes: a disturbed run must leave them as they are, or its tensors get other shapes."""

from __future__ import annotations

import onnx_ir as ir

_SLOTS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Tile": (1,),
    "TopK": (1,),
}
_MEASURES = ("Shape", "Size")  # what they look at may move, its size stays


def sizing(graph: ir.Graph) -> frozenset[str]:
    """Names of all values that sizes are computed from, in the graph and its sub-graphs."""
    ahead = [
        node.inputs[slot]
        for node in graph.all_nodes()
        for slot in _SLOTS.get(node.op_type, ())
        if not node.domain and slot < len(node.inputs)
    ]
    found: set[ir.Value] = set()
    while ahead:
        value = ahead.pop()
        if value is None or value in found:
            continue
        found.add(value)
        producer = value.producer()
        if producer is not None and producer.op_type not in _MEASURES:
            ahead.extend(producer.inputs)
    return frozenset(value.name or "" for value in found)
