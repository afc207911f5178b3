"""Weights and biases as operands: float, half precision, or integers with their own scales."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused
from recast.formats.tflite.writing.constants import Quant, Weight, weight_of
from recast.formats.tflite.writing.emitter import Emitter, Site, quant_of
from recast.graph import view
from recast.graph.finding import Finding


def constant_operand(w: Emitter, value: ir.Value | None) -> Weight | None:
    """A constant, seen through DequantizeLinear (integers with their scales) and Cast from float16; else None."""
    if value is None:
        return None
    node = value.producer()
    if node is None:
        return w.weight_of(value) if view.is_const(value) else None
    source = node.inputs[0] if node.inputs else None
    if node.domain or source is None or not view.is_const(source):
        return None
    if node.op_type == "DequantizeLinear":
        quant = quant_of(node)
        held = w.weight_of(source)
        if quant is None or held.type not in ("INT8", "UINT8", "INT16", "INT32", "INT4"):
            return None
        return held.with_quant(quant)
    if node.op_type == "Cast" and source.dtype == ir.DataType.FLOAT16 and value.dtype == ir.DataType.FLOAT:
        return w.weight_of(source)
    return None


def weight_operand(w: Emitter, value: ir.Value | None) -> Weight:
    """The kernel of an operator.

    Raises:
        Refused: it is computed at run time, or its quantisation has no TFLite form.
    """
    found = constant_operand(w, value)
    if found is None:
        raise Refused("its weights are not constant, or are quantised in blocks")
    if found.type not in ("FLOAT32", "FLOAT16", "INT8", "UINT8", "INT16", "INT4"):
        raise Refused(f"weights of type {found.type}")
    return found


def bias_tensor(w: Emitter, value: ir.Value | None, count: int, operands: tuple[int, int], site: Site) -> int:
    """The bias as float, or for an integer operator as integers of scale input x weight.

    Args:
        w: the emitter.
        value: the bias in the graph, None for zeros.
        count: number of outputs.
        operands: the input's and the weight's tensors.
        site: how the operator runs.

    Raises:
        Refused: the bias is computed at run time, or has other scales than the kernel's sums.
    """
    found = constant_operand(w, value)
    if value is not None and found is None:
        raise Refused("its bias is not a constant")
    name = value.name if value is not None and value.name else ""
    if not site.quantised:
        if found is None:
            return w.constant(np.zeros(count, np.float32), name)
        return w.constant(as_float(found).reshape(count), name)
    source, kernel = w.quant(operands[0]), w.quant(operands[1])
    scale = np.float32(source.scale[0]) * np.asarray(kernel.scale, np.float32)
    quant = Quant(tuple(float(s) for s in scale), (0,) * len(scale), 0)
    kind = np.int64 if w.tensors[operands[0]].type == "INT16" else np.int32
    if found is None:
        return w.constant(np.zeros(count, kind), name, quant)
    if found.type == "INT32":
        given = np.broadcast_to(np.asarray(found.quant.scale if found.quant else (1.0,)), scale.shape)
        if found.quant is None or any(found.quant.zero) or not np.allclose(given, scale, rtol=1e-3, atol=0):
            raise Refused("its bias has other scales than input times weight")
        own = Quant(tuple(float(s) for s in given), (0,) * len(scale), 0)
        if kind is np.int32:
            return w.weight(found.reshape((count,)).with_quant(own), name)
        return w.constant(found.array().reshape(count).astype(np.int64), name, own)
    steps = np.rint(as_float(found).reshape(count).astype(np.float64) / scale)
    limit = np.iinfo(np.int32).max
    if np.any(np.abs(steps) > limit):
        raise Refused("its bias does not fit 32-bit integers at scale input times weight")
    w.findings.append(Finding("a float bias was rounded to integers of scale input times weight", name))
    return w.constant(steps.astype(kind), name, quant)


def as_float(weight: Weight) -> np.ndarray:
    """The constant's float32 values, dequantised as ONNX does."""
    array = weight.array()
    if weight.quant is None:
        return array.astype(np.float32, copy=False)
    shape = [1] * array.ndim
    if not weight.quant.per_tensor:
        shape[weight.quant.axis] = -1
    scale = np.asarray(weight.quant.scale, np.float32).reshape(shape)
    zero = np.asarray(weight.quant.zero, np.int64).reshape(shape)
    return (array.astype(np.int64) - zero).astype(np.float32) * scale


def float_constant(w: Emitter, value: ir.Value | None) -> np.ndarray | None:
    """The float values of a constant however it is stored, else None."""
    found = constant_operand(w, value)
    return None if found is None else as_float(found)


__all__ = ["as_float", "bias_tensor", "constant_operand", "float_constant", "weight_of", "weight_operand"]
