"""Pooling windows."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.reading.linear import channels_first, mode_of, spatial, split_pads
from recast.formats.mindspore.types import PAD, SAME
from recast.graph.view import dims


@reads("MaxPool", "AvgPool")
def pool(c: Call) -> ir.Value:
    late = len(c.args) > 1  # newer files pass the window as inputs
    channels_first(c, 4 if late else None)
    mode = mode_of(c.arg("pad_mode", 3, "VALID"))
    if mode == PAD:
        raise Refusal("explicit padding")
    attributes: dict[str, Any] = {
        "kernel_shape": spatial(c.arg("kernel_size", 1), 2),
        "strides": spatial(c.arg("strides", 2, 1), 2),
        "auto_pad": "SAME_UPPER" if mode == SAME else None,
    }
    if c.op == "AvgPool" and mode == SAME:
        attributes["count_include_pad"] = 0
    return c.b.op("MaxPool" if c.op == "MaxPool" else "AveragePool", [c.value(0)], attributes)


@reads("MaxPool3D", "AvgPool3D")
def pool3d(c: Call) -> ir.Value:
    channels_first(c)
    mode = mode_of(c.attribute("pad_mode", "VALID"))
    attributes: dict[str, Any] = {
        "kernel_shape": spatial(c.attribute("kernel_size"), 3),
        "strides": spatial(c.attribute("strides", 1), 3),
        "ceil_mode": int(c.attribute("ceil_mode", 0) or 0),
    }
    if mode == SAME:
        attributes["auto_pad"] = "SAME_UPPER"
    elif mode == PAD:
        attributes["pads"] = split_pads(c.attribute("pad_list"), 3)
    if c.op == "MaxPool3D":
        return c.b.op("MaxPool", [c.value(0)], attributes)
    if c.attribute("divisor_override", 0):
        raise Refusal("divisor_override")
    attributes["count_include_pad"] = int(c.attribute("count_include_pad", True))
    if attributes["ceil_mode"]:
        raise Refusal("ceil_mode of an average")
    return c.b.op("AveragePool", [c.value(0)], attributes)


@reads("MaxPool3DWithArgmax")
def max_pool_with_argmax(c: Call) -> tuple[Any, ...]:
    channels_first(c)
    pads = spatial(c.attribute("pads", 0), 3)
    attributes = {
        "kernel_shape": spatial(c.attribute("ksize"), 3),
        "strides": spatial(c.attribute("strides", 1), 3),
        "dilations": spatial(c.attribute("dilation", 1), 3),
        "pads": [*pads, *pads],
        "ceil_mode": int(c.attribute("ceil_mode", False)),
    }
    return (c.b.op("MaxPool", [c.value(0)], attributes),)


@reads("AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "AdaptiveAvgPool3D")
def adaptive(c: Call) -> ir.Value:
    x, out = c.value(0), c.ints("output_size", 1)
    kind = "MaxPool" if c.op == "AdaptiveMaxPool2D" else "AveragePool"
    if set(out) == {1}:
        return c.b.op(f"Global{kind}", [x])
    sizes = dims(x)[-len(out) :]
    even = all(isinstance(s, int) and o > 0 and s % o == 0 for s, o in zip(sizes, out, strict=True))
    if len(dims(x)) != len(out) + 2 or not even:
        raise Refusal("windows of different sizes")
    kernel = [s // o for s, o in zip(sizes, out, strict=True) if isinstance(s, int)]
    return c.b.op(kind, [x], {"kernel_shape": kernel, "strides": kernel})
