"""What the writer reads from graph nodes: fusable activations, quantisation parameters."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.tflite.writing import Refused
from recast.formats.tflite.writing.constants import Quant
from recast.graph import view

RELUS = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, None): "RELU"}
INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16)


def relu_name(node: ir.Node) -> str | None:
    """The fusable activation that a node is, if it is one."""
    if node.op_type == "Relu":
        return "RELU"
    if node.op_type != "Clip":
        return None
    bounds = []
    for index in (1, 2):
        given = node.inputs[index] if len(node.inputs) > index else None
        array = view.const(given)
        if given is not None and array is None:
            return None
        bounds.append(None if array is None else float(array.reshape(-1)[0]))
    return RELUS.get((bounds[0], bounds[1])) if bounds[0] is not None else None


def quant_of_value(value: ir.Value) -> Quant | None:
    """The quantisation of an integer value, from the node that made it or those that use it.

    Raises:
        Refused: two of them contradict each other.
    """
    if value.dtype not in INTEGERS and value.dtype != ir.DataType.INT4:
        return None
    producer = value.producer()
    nodes = [producer] if producer is not None and producer.op_type == "QuantizeLinear" else []
    nodes += [n for n in value.consumers() if n.op_type == "DequantizeLinear" and n.inputs[0] is value]
    found = {quant_of(n) for n in nodes}
    if len(found) > 1:
        raise Refused(f"'{value.name}' is read with two different scales")
    return next(iter(found), None)


def quant_of(node: ir.Node) -> Quant | None:
    """The parameters of a QuantizeLinear or DequantizeLinear, None where they are not constant or blocked."""
    scale = view.const(node.inputs[1])
    if scale is None or scale.ndim > 1 or view.attr(node, "block_size", 0):
        return None
    zero_value = node.inputs[2] if len(node.inputs) > 2 else None
    zero = view.const(zero_value)
    if zero_value is not None and zero is None:
        return None
    scales = tuple(float(s) for s in scale.reshape(-1))
    zeros = (0,) * len(scales) if zero is None else tuple(int(z) for z in zero.reshape(-1))
    rank = view.rank(node.inputs[0]) if node.inputs[0] is not None else None
    axis = int(view.attr(node, "axis", 1))
    axis = axis + (rank or 0) if axis < 0 else axis
    return Quant(scales, zeros, 0 if len(scales) == 1 else axis)
