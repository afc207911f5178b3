"""Choosing boxes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads


@reads("NON_MAX_SUPPRESSION_V4")
def non_max_suppression(c: Call) -> None:
    """NonMaxSuppression of one image and class, filled with zeros to the length that the file wants."""
    limits = [c.array(i) for i in (2, 3, 4)]
    if any(v is None for v in limits):
        raise UnsupportedOp("NON_MAX_SUPPRESSION_V4 with limits that are computed")
    most, overlap, least = (np.asarray(v).reshape(-1)[0] for v in limits)
    # LiteRT drops a box that overlaps as much as the threshold, ONNX one that overlaps more
    below = np.nextafter(np.float32(overlap), np.float32(-np.inf))
    first, both = (c.b.const(a, np.int64, "axes") for a in ([0], [0, 1]))
    inputs = [
        c.b.op("Unsqueeze", [c.x(0), first]),
        c.b.op("Unsqueeze", [c.x(1), both]),
        c.b.const(int(most), np.int64, "most"),
        c.b.const(max(float(below), 0.0), np.float32, "overlap"),
        c.b.const(float(least), np.float32, "least"),
    ]
    chosen = c.b.op("Gather", [c.b.op("NonMaxSuppression", inputs), c.b.const(2, np.int64, "box")], {"axis": 1})
    count = c.b.op("Shape", [chosen])
    missing = c.b.op("Sub", [c.b.const([int(most)], np.int64, "most"), count])
    pads = c.b.op("Concat", [c.b.const([0], np.int64, "none"), missing], {"axis": 0})
    filled = c.b.op("Pad", [c.cast(chosen, ir.DataType.INT32), pads], {"mode": "constant"})
    filled.shape = ir.Shape([int(most)])
    c.out(filled, 0)
    if len(c.operator.outputs) > 1:
        c.out(c.cast(c.reshape(count, []), ir.DataType.INT32), 1)
