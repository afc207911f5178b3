"""Quantise, dequantise, and their simulation."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads


@reads("DEQUANTIZE", "DENSIFY")
def dequantize(c: Call) -> None:
    """Constants stay stored as they are: who uses them gets the conversion."""
    source, output = c.index(0), c.output(0)
    tensor = c.scope.tensor(source)
    if tensor.data is not None:
        c.scope.alias[output] = c.scope.alias.get(source, source)
        return
    value = c.x(0)
    if value.dtype != ir.DataType.FLOAT:
        value = c.cast(value, ir.DataType.FLOAT)
    elif value is c.scope.raw.get(source):
        value = c.b.op("Identity", [value])
    c.out(value)


@reads("QUANTIZE")
def quantize(c: Call) -> None:
    """Float to integers, or integers to other integers through their real values."""
    c.out(c.x(0))


@reads("FAKE_QUANT")
def fake_quant(c: Call) -> None:
    """Round to the levels of a range that is nudged so that zero is a level."""
    bits = int(c.opt("num_bits"))
    if not 2 <= bits <= 16:
        raise c.bad(f"num_bits {bits}")
    low_level, high_level = (1 if c.opt("narrow_range") else 0), (1 << bits) - 1
    low, high = np.float32(c.opt("min")), np.float32(c.opt("max"))
    if not (np.isfinite(low) and np.isfinite(high) and low < high and low <= 0 <= high):
        raise c.bad(f"range {low} to {high}")
    scale = np.float32((high - low) / np.float32(high_level - low_level))
    zero = float(np.clip(low_level - float(low) / float(scale), low_level, high_level))
    nudged = np.float32(np.floor(zero + 0.5))
    least, most = np.float32((low_level - nudged) * scale), np.float32((high_level - nudged) * scale)
    value = c.clip(c.x(0), float(least), float(most))
    value = c.b.op("Sub", [value, c.b.const(least, np.float32)])
    value = c.b.op("Div", [value, c.b.const(scale, np.float32)])
    value = c.b.op("Floor", [c.b.op("Add", [value, c.b.const(0.5, np.float32)])])
    value = c.b.op("Mul", [value, c.b.const(scale, np.float32)])
    c.out(c.b.op("Add", [value, c.b.const(least, np.float32)]))
