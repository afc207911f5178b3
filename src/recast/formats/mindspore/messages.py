"""Python values, tensors and graph values as MindIR's messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedType
from recast.formats.mindspore import wire
from recast.formats.mindspore.types import DATA_TYPE_OF, AttributeType
from recast.formats.mindspore.writing import Refusal
from recast.graph.view import dims

_TAKES_EMPTY = frozenset(
    ("Concat", "Shape", "Size", "Reshape", "ConstantOfShape", "CastLike", "Identity", "Resize", "Dropout")
)


def refuse_empty(node: ir.Node) -> None:
    """MindSpore launches no kernel for an empty tensor: a result that is not empty stays as memory was.

    Raises:
        Refusal: the node would need one.
    """
    if node.op_type in _TAKES_EMPTY or node.op_type.startswith("Reduce"):
        return
    data = node.inputs[:2] if node.op_type in ("MatMul", "Gemm", "Conv") else node.inputs[:1]
    empty = any(v is not None and v.shape is not None and 0 in v.shape for v in data)
    if empty and any(v.shape is None or 0 not in v.shape for v in node.outputs):
        raise Refusal("it makes something of an empty tensor, which MindSpore's kernels do not")


def attribute(name: str, value: Any) -> wire.Message:
    """An AttributeProto of a Python value (tuples hold their elements as attributes)."""
    head: wire.Message = {"name": name} if name else {}
    if value is None:
        return {**head, "type": AttributeType.NONE}
    if isinstance(value, np.ndarray):
        return {**head, "tensors": [tensor_message(ir.Tensor(value))], "type": AttributeType.TENSORS}
    if isinstance(value, (tuple, list)):
        kind = AttributeType.TUPLE if isinstance(value, tuple) else AttributeType.LIST
        return {**head, "type": kind, "values": [attribute("", v) for v in value]}
    if isinstance(value, (bool, int, np.integer)):
        kind = AttributeType.BOOL if isinstance(value, bool) else AttributeType.INT64
        one, many = "i", "ints"
        held: int | float | bytes = int(value)
    elif isinstance(value, (float, np.floating)):
        kind, one, many, held = AttributeType.FLOAT, "f", "floats", float(value)
    else:
        kind, one, many, held = AttributeType.STRING, "s", "strings", str(value).encode()
    # elements of tuples use the repeated field: MindSpore's loader reads no other
    return {**head, **({one: held} if name else {many: [held]}), "type": kind}


def tensor_message(tensor: ir.TensorProtocol) -> wire.Message:
    """A TensorProto; large data are loaded when they are written.

    Raises:
        Refusal: MindIR lacks the element type.
    """
    message = head_of(tensor)
    if tensor.nbytes <= 1024:
        return {**message, "raw_data": _bytes(tensor).tobytes()}
    return {**message, "raw_data": wire.Stream(tensor.nbytes, lambda: _bytes(tensor))}


def head_of(tensor: ir.TensorProtocol) -> wire.Message:
    """The type and shape of a constant.

    Raises:
        Refusal: MindIR lacks the element type.
    """
    if tensor.dtype not in DATA_TYPE_OF:
        raise Refusal(f"MindIR has no element type {tensor.dtype.name}")
    return {"dims": [int(d) for d in tensor.shape], "data_type": DATA_TYPE_OF[tensor.dtype]}  # type: ignore[arg-type]


def _bytes(tensor: ir.TensorProtocol) -> memoryview:
    array = np.ascontiguousarray(tensor.numpy())
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # NumPy's stubs lack Buffer


def spec(value: ir.Value) -> wire.Message:
    """The type and shape of a graph value.

    Raises:
        UnsupportedType: MindIR lacks the element type.
    """
    if value.dtype not in DATA_TYPE_OF:
        raise UnsupportedType(f"MindIR has no element type {value.dtype}", f"tensor {value.name}", "cast it first")
    shape = [d if isinstance(d, int) else -1 for d in dims(value)]
    return {"dims": shape, "data_type": DATA_TYPE_OF[value.dtype]}
