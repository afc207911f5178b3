"""Quantised tensors: MindIR on the CPU computes with floats, so steps are rounded exactly and scaled back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats._format import Finding
from recast.formats.mindspore.write import Arg, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, round_even, value_of
from recast.graph.view import attr, const, dims

_RANGE = {
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
}


def _parameters(w: Writer, node: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point as float32, shaped to multiply the tensor."""
    scale = const(value_of(node, 1))
    zero = const(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(())
    if scale is None or zero is None:
        raise Refusal("scale and zero point must be constant")
    if attr(node, "block_size", 0):
        raise Refusal("blocked quantisation")
    if not any(f.where == "quantisation" for f in w.findings):
        what = "MindIR keeps quantised tensors as integers and computes with floats around exact rounding"
        w.findings.append(Finding(what, "quantisation"))
    rank = len(dims(value_of(node)))
    if scale.size == 1:
        return scale.astype(np.float32).reshape(()), np.asarray(zero, np.float32).reshape(-1)[:1].reshape(())
    shape = [1] * rank
    shape[attr(node, "axis", 1) % rank] = scale.size
    zeros = np.broadcast_to(np.asarray(zero, np.float32).reshape(-1), (scale.size,))
    return scale.astype(np.float32).reshape(shape), zeros.reshape(shape)


@writes("QuantizeLinear")
def quantize(w: Writer, node: ir.Node) -> None:
    x, (scale, zero) = value_of(node), _parameters(w, node)
    dtype = dtype_of(node.outputs[0])
    if dtype not in _RANGE:
        raise Refusal(f"element type {dtype.name}")
    low, high = (np.asarray(v, np.float32) for v in _RANGE[dtype])
    steps = round_even(w, w.fn("Div", x, scale))
    if zero.any():
        steps = w.fn("Add", steps, zero)
    w.bind(node.outputs[0], w.cast(w.fn("Minimum", w.fn("Maximum", steps, low), high), dtype))


@writes("DequantizeLinear")
def dequantize(w: Writer, node: ir.Node) -> None:
    scale, zero = _parameters(w, node)
    result: Arg = w.cast(value_of(node), ir.DataType.FLOAT)
    if zero.any():
        result = w.fn("Sub", result, zero)
    w.bind(node.outputs[0], w.fn("Mul", result, scale))
