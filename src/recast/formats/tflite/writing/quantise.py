"""QuantizeLinear and DequantizeLinear: mostly they become parameters of tensors, not operators."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import FLOATS, INTEGERS, Emitter, quant_of
from recast.formats.tflite.writing.weights import as_float, constant_operand
from recast.graph import view


def _dequantises(node: ir.Node) -> bool:
    """Constants always (no weights are made larger silently); others with constant scales."""
    source = node.inputs[0]
    if view.is_const(source):
        return True
    return source is not None and _has_scale(node, source.dtype)


def _has_scale(node: ir.Node, dtype: ir.DataType | None) -> bool:
    """Whether LiteRT's tensors can have this scale; 16-bit ones have no zero point."""
    quant = quant_of(node)
    return quant is not None and dtype in INTEGERS and not (dtype == ir.DataType.INT16 and any(quant.zero))


def _quantises(node: ir.Node) -> bool:
    quant = quant_of(node)
    return quant is not None and quant.per_tensor and _has_scale(node, node.outputs[0].dtype)


@writes("DequantizeLinear", when=_dequantises)
def dequantize(w: Emitter, node: ir.Node) -> None:
    """Let the integer tensor stand for the float value; DEQUANTIZE appears only where floats are needed."""
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    quant = quant_of(node)
    if result.dtype not in FLOATS:
        raise Refused(f"dequantising to {result.dtype.name if result.dtype else '?'}")
    if view.is_const(source):
        held = constant_operand(w, result)
        if held is None or quant is None:
            raise Refused("weights quantised in blocks, or with scales computed at run time")
        if source.dtype == ir.DataType.INT32:
            w.later(result, lambda: w.constant(as_float(held), result.name or ""))
            return
        w.set_integer(result, lambda: w.weight(held, source.name or ""))
        return
    if quant is None or source.dtype not in INTEGERS:
        raise Refused("dequantising with scales that are not constant, or of this integer type")
    index = w.take(source)
    tensor = w.tensors[index]
    if tensor.quant is None:
        tensor.quant = quant
    elif tensor.quant != quant:
        raise Refused(f"'{source.name}' is read with two different scales")
    w.set_integer(result, index)


@writes("QuantizeLinear", when=_quantises)
def quantize(w: Emitter, node: ir.Node) -> None:
    """QUANTIZE from floats, or between scales; nothing where the integers are already those."""
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    quant = quant_of(node)
    if quant is None or not quant.per_tensor or result.dtype not in INTEGERS:
        raise Refused("quantising with scales that are not constant, per channel, or to this integer type")
    index = w.integer(source)
    if index is not None and w.quant(index) == quant and not result.is_graph_output():
        w.alias(result, index)
        return
    if index is None:
        index = w.take(source)
    w.op("QUANTIZE", [index], [w.put(result, quant)], ("QuantizeOptions", {}))
