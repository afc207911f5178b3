"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from recast.formats.openvino.call import Call
from recast.formats.openvino.reading import reads

_AUTO = {"same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}


def _window(c: Call) -> dict[str, Any]:
    """Strides and padding; explicit pads count only where ``auto_pad`` is explicit."""
    auto = c.choice("auto_pad", "explicit", ("explicit", "notset", *_AUTO))
    pads = c.integers("pads_begin") + c.integers("pads_end")
    strides = c.integers("strides")
    if min(strides, default=0) < 1:
        raise c.bad(f"strides {strides}")
    return {"strides": strides, **({"auto_pad": _AUTO[auto]} if auto in _AUTO else {"pads": pads})}


@reads("Convolution")
def convolution(c: Call) -> None:
    """Kernels (output channels, input channels, *window), as in ONNX."""
    c.out(c.b.op("Conv", [c.x(0), c.x(1)], {**_window(c), "dilations": c.integers("dilations")}))


@reads("GroupConvolution")
def group_convolution(c: Call) -> None:
    """Kernels (groups, output channels of a group, input channels of a group, *window)."""
    kernel = c.x(1)
    shape = [size for size in kernel.shape or () if isinstance(size, int)]
    if len(shape) != c.rank(0) + 1:
        raise c.bad(f"a kernel of shape {list(kernel.shape or ())}")
    groups, merged = shape[0], (shape[0] * shape[1], *shape[2:])
    if kernel.const_value is not None:
        weight = c.b.weight(f"{c.layer.name}/kernel", c.const(1).reshape(merged))
    else:  # integers that are scaled first
        weight = c.b.op("Reshape", [kernel, c.b.const(np.array(merged))])
    c.out(c.b.op("Conv", [c.x(0), weight], {**_window(c), "dilations": c.integers("dilations"), "group": groups}))


@reads("MaxPool")
def max_pool(c: Call) -> None:
    """Values; the indices of newer opsets are not read."""
    rounding = c.choice("rounding_type", "floor", ("floor", "ceil"))
    attributes = {**_window(c), "kernel_shape": c.integers("kernel"), "ceil_mode": int(rounding == "ceil")}
    ones = ",".join("1" for _ in attributes["kernel_shape"])
    attributes["dilations"] = c.integers("dilations", ones)
    c.text("index_element_type", "i64")
    c.text("axis", "0")
    if rounding == "ceil" and any(attributes.get("pads", [1])):
        raise c.cannot("rounding up with padding, where OpenVINO and ONNX count windows differently")
    c.out(c.b.op("MaxPool", [c.x(0)], attributes))
    if len(c.layer.outputs) > 1:
        used = any((c.layer.id, 1) in layer.sources for layer in c.file.layers.values())
        if used:
            raise c.cannot("its indices are used")
        c.values[(c.layer.id, 1)] = c.values[(c.layer.id, 0)]


@reads("AvgPool")
def average_pool(c: Call) -> None:
    """The mean over a window, with or without the padded places."""
    c.choice("rounding_type", "floor", ("floor",))
    attributes = {**_window(c), "kernel_shape": c.integers("kernel")}
    attributes["count_include_pad"] = int(not c.flag("exclude-pad", True))
    c.out(c.b.op("AveragePool", [c.x(0)], attributes))
