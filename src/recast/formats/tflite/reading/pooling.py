"""Pooling and normalisation over windows or channels."""

from __future__ import annotations

import numpy as np

from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads
from recast.formats.tflite.reading.convolution import window


@reads("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
def pool(c: Call) -> None:
    """Padded places never count. L2 pooling is the root of the mean square."""
    c.rank(0, 4)
    kernel = c.positive("filter_height", "filter_width")
    strides = c.positive("stride_h", "stride_w")
    attributes = {"kernel_shape": kernel, "strides": strides, **window(c, strides, kernel, [1, 1])}
    if c.kind == "MAX_POOL_2D":
        value = c.image("MaxPool", [c.x(0)], attributes)
    else:
        attributes["count_include_pad"] = 0
        squared = c.kind == "L2_POOL_2D"
        value = c.b.op("Mul", [c.x(0), c.x(0)]) if squared else c.x(0)
        value = c.image("AveragePool", [value], attributes)
        value = c.b.op("Sqrt", [value]) if squared else value
    c.out(c.activate(value))


@reads("L2_NORMALIZATION")
def l2_normalization(c: Call) -> None:
    """x / max(‖x‖₂, 1e-6) along the last axis (LiteRT's float kernel bounds the norm from below)."""
    axes = c.b.const([-1], np.int64, "axes")
    norm = c.b.op("ReduceL2", [c.x(0), axes], {"keepdims": 1})
    norm = c.b.op("Max", [norm, c.b.const(1e-6, np.float32, "epsilon")])
    c.out(c.activate(c.b.op("Div", [c.x(0), norm])))


@reads("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(c: Call) -> None:
    """TFLite's alpha multiplies the sum, ONNX's the sum divided by the window's size."""
    c.rank(0, 4)
    size = 2 * int(c.opt("radius")) + 1
    if not 0 < size < 1 << 20:
        raise c.bad(f"radius {c.opt('radius')}")
    attributes = {
        "size": size,
        "alpha": float(c.opt("alpha")) * size,
        "beta": float(c.opt("beta")),
        "bias": float(c.opt("bias")),
    }
    c.out(c.image("LRN", [c.x(0)], attributes))
