"""Element types that MindSpore's CPU kernels lack: the operator runs in a type that holds every value of theirs.

Found by running every primitive with every element type in MindSpore 2.10.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.passes._editor import Editor, copy_origin

T = ir.DataType
_SMALL = {T.UINT16: T.INT32, T.UINT32: T.INT64}
_WRAPS = {**_SMALL, T.UINT64: T.INT64}  # sums and products keep their low bits in the signed type
_REAL = dict.fromkeys((T.INT32, T.INT64, T.UINT32, T.UINT64), T.DOUBLE)  # a root or logarithm, cut to a whole number
_HALF = {T.FLOAT16: T.FLOAT}  # several steps, each of which would round to half precision
_PIXELS = {T.INT8: T.FLOAT, T.UINT8: T.FLOAT}

CARRIED: dict[str, dict[ir.DataType, ir.DataType]] = {
    "Sign": {T.INT8: T.INT32, T.INT16: T.INT32},
    **dict.fromkeys(("Max", "Min", "Clip"), {T.UINT16: T.INT32}),
    "Sub": {T.UINT32: T.INT64, T.UINT64: T.INT64},
    "Mod": _SMALL,
    "TopK": _SMALL,
    **dict.fromkeys(("MatMul", "Gemm"), _WRAPS),
    "MaxPool": _PIXELS,
    **dict.fromkeys(("ReduceL2", "ReduceLogSum", "ReduceLogSumExp"), _REAL),
    **dict.fromkeys(("Elu", "Selu", "Celu", "Softplus", "Swish", "Gelu", "Mish", "HardSigmoid"), _HALF),
    **dict.fromkeys(("InstanceNormalization", "RMSNormalization", "MeanVarianceNormalization"), _HALF),
    **dict.fromkeys(("LpNormalization", "LRN"), _HALF),
}


def widen(graph: ir.Graph) -> None:
    """Let nodes whose element type MindSpore lacks compute in a wider one, between casts."""
    editor = Editor(graph)
    for node in list(graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                widen(attribute.as_graph())
        kinds = CARRIED.get(node.op_type) if node.domain == "" and node.inputs else None
        narrow = getattr(node.inputs[0], "dtype", None) if kinds else None
        if kinds and narrow in kinds:
            _widen(editor, node, narrow, kinds[narrow])


def _widen(editor: Editor, node: ir.Node, narrow: ir.DataType, wide: ir.DataType) -> None:
    inputs = [_cast(editor, node, v, wide) if v is not None and v.dtype == narrow else v for v in node.inputs]
    path = editor.unique(f"{node.name}/{wide.name.lower()}")
    made = ir.Node("", node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs), name=path)
    copy_origin(node, made)
    editor.graph.insert_before(node, made)
    for old, new in zip(node.outputs, made.outputs, strict=True):
        new.name = editor.unique(f"{path}_out")
        new.shape = old.shape
        if old.dtype is not None:
            new.dtype = wide if old.dtype == narrow else old.dtype
        back = new
        if old.dtype == narrow:
            back = editor.node("Cast", [new], {"to": int(narrow)}, before=node)
            back.shape = old.shape
        elif old.is_graph_output():
            back = editor.node("Identity", [new], None, before=node)
        editor.replace(old, back)
    editor.graph.remove(node, safe=True)


def _cast(editor: Editor, node: ir.Node, value: ir.Value, wide: ir.DataType) -> ir.Value:
    array = const(value)
    if array is not None:
        with np.errstate(all="ignore"):
            return editor.weight(f"{value.name}_{wide.name.lower()}", array.astype(wide.numpy()))
    made = editor.node("Cast", [value], {"to": int(wide)}, before=node)
    made.shape = value.shape
    return made
