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


def _parameter(w: Writer, node: ir.Node, index: int) -> Arg:
    """Scale (1) or zero point (2) as float32, shaped to combine with the tensor."""
    value = node.inputs[index] if index < len(node.inputs) else None
    array = np.zeros((), np.float32) if value is None else const(value)
    shape, block = dims(value_of(node)), int(attr(node, "block_size", 0))
    rank = len(shape)
    axis = int(attr(node, "axis", 1)) % rank if rank else 0
    if block and (array is None or array.ndim):
        size = shape[axis]
        if array is None or not isinstance(size, int):
            raise Refusal("blocks whose scales are computed or whose axis is of unknown size")
        wide = np.repeat(array.astype(np.float32), block, axis)
        return np.ascontiguousarray(np.take(wide, range(size), axis))
    if array is not None and array.size == 1:
        return array.astype(np.float32).reshape(())
    around = [1] * rank
    around[axis] = -1
    if array is not None:
        return array.astype(np.float32).reshape(around)
    assert value is not None
    held: Arg = value if dtype_of(value) == ir.DataType.FLOAT else w.cast(value, ir.DataType.FLOAT)
    return held if not dims(value) else w.fn("Reshape", held, () if dims(value) == (1,) else tuple(around))


def _told(w: Writer) -> None:
    if not any(f.where == "quantisation" for f in w.findings):
        what = "MindIR keeps quantised tensors as integers and computes with floats around exact rounding"
        w.findings.append(Finding(what, "quantisation"))


def _none(parameter: Arg) -> bool:
    return isinstance(parameter, np.ndarray) and not parameter.any()


def _float(w: Writer, x: ir.Value) -> Arg:
    return x if dtype_of(x) == ir.DataType.FLOAT else w.cast(x, ir.DataType.FLOAT)


@writes("QuantizeLinear")
def quantize(w: Writer, node: ir.Node) -> None:
    dtype = dtype_of(node.outputs[0])
    if dtype not in _RANGE:
        raise Refusal(f"element type {dtype.name}")
    _told(w)
    zero = _parameter(w, node, 2)
    low, high = (np.asarray(v, np.float32) for v in _RANGE[dtype])
    steps = round_even(w, w.fn("Div", _float(w, value_of(node)), _parameter(w, node, 1)))
    if not _none(zero):
        steps = w.fn("Add", steps, zero)
    w.bind(node.outputs[0], w.cast(w.fn("Minimum", w.fn("Maximum", steps, low), high), dtype))


@writes("DequantizeLinear")
def dequantize(w: Writer, node: ir.Node) -> None:
    _told(w)
    zero, dtype = _parameter(w, node, 2), dtype_of(node.outputs[0])
    result: Arg = w.cast(value_of(node), ir.DataType.FLOAT)
    if not _none(zero):
        result = w.fn("Sub", result, zero)
    made = w.fn("Mul", result, _parameter(w, node, 1))
    w.bind(node.outputs[0], made if dtype == ir.DataType.FLOAT else w.cast(made, dtype))
