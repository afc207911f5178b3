"""Convolutions. Keras kernels are (*k, in, out); ONNX wants (out, in, *k)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads
from recast.formats.keras.reading.core import kernel_bias


def spatial_rank(c: LayerCall) -> int:
    """1, 2 or 3, from the class name; the input must fit."""
    size = next(int(n) for n in c.layer.class_name if n.isdigit())
    if c.rank != size + 2:
        raise c.refuse(f"an input of rank {c.rank}, {size + 2} wanted")
    return size


def channels(c: LayerCall) -> int:
    """Number of input channels."""
    return c.fixed(c.x, 1 if c.channels_first else -1)


def padding(c: LayerCall, kernel: list[int], strides: list[int], dilations: list[int]) -> dict[str, Any]:
    """ONNX attributes for Keras's ``padding``. Dilated SAME gets numbers (its stride is 1)."""
    kind = str(c.get("padding", "valid")).lower()
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    if kind == "valid":
        return {"pads": [0] * (2 * len(kernel))}
    if kind == "causal":
        return {"pads": [*reach, *[0] * len(kernel)]}
    if kind != "same":
        raise c.refuse(f"unknown padding '{kind}'")
    if all(d == 1 for d in dilations):
        return {"auto_pad": "SAME_UPPER"}
    if any(s != 1 for s in strides):
        raise c.refuse("dilation together with strides")
    return {"pads": [*[r // 2 for r in reach], *[r - r // 2 for r in reach]]}


def _kernel_first(array: np.ndarray) -> np.ndarray:
    spatial = array.ndim - 2
    return array.transpose(spatial + 1, spatial, *range(spatial))


def _depthwise_first(array: np.ndarray) -> np.ndarray:
    spatial = array.ndim - 2
    first = array.transpose(spatial, spatial + 1, *range(spatial))
    return first.reshape(-1, 1, *array.shape[:spatial])


def _common(c: LayerCall, size: int) -> tuple[list[int], dict[str, Any]]:
    kernel, strides = c.tuple("kernel_size", size), c.tuple("strides", size)
    dilations = c.tuple("dilation_rate", size)
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    return kernel, {**attributes, **padding(c, kernel, strides, dilations)}


@reads("Conv1D", "Conv2D", "Conv3D", weights=kernel_bias, masking="drop")
def conv(c: LayerCall) -> ir.Value:
    """Convolution with groups, dilation, SAME, VALID or causal padding."""
    size = spatial_rank(c)
    kernel, attributes = _common(c, size)
    groups, filters, depth = int(c.get("groups", 1)), int(c.get("filters")), channels(c)
    if groups < 1 or depth % groups:
        raise c.refuse(f"{depth} channels do not fit {groups} groups")
    inputs = [c.first(c.x), c.param("kernel", (*kernel, depth // groups, filters), _kernel_first)]
    if c.has("bias"):
        inputs.append(c.param("bias", (filters,)))
    return c.activate(c.last(c.op("Conv", inputs, {**attributes, "group": groups})))


def _depthwise_roles(config: Mapping[str, Any]) -> list[str]:
    return ["depthwise_kernel", *(["bias"] if config.get("use_bias", True) else [])]


@reads("DepthwiseConv1D", "DepthwiseConv2D", weights=_depthwise_roles, masking="drop")
def depthwise(c: LayerCall) -> ir.Value:
    """One group per input channel."""
    size = spatial_rank(c)
    kernel, attributes = _common(c, size)
    depth, multiplier = channels(c), int(c.get("depth_multiplier", 1))
    inputs = [c.first(c.x), c.param("depthwise_kernel", (*kernel, depth, multiplier), _depthwise_first)]
    if c.has("bias"):
        inputs.append(c.param("bias", (depth * multiplier,)))
    return c.activate(c.last(c.op("Conv", inputs, {**attributes, "group": depth})))


def _separable_roles(config: Mapping[str, Any]) -> list[str]:
    return ["depthwise_kernel", "pointwise_kernel", *(["bias"] if config.get("use_bias", True) else [])]


@reads("SeparableConv1D", "SeparableConv2D", weights=_separable_roles, masking="drop")
def separable(c: LayerCall) -> ir.Value:
    """Depthwise, then pointwise convolution."""
    size = spatial_rank(c)
    kernel, attributes = _common(c, size)
    depth, multiplier, filters = channels(c), int(c.get("depth_multiplier", 1)), int(c.get("filters"))
    deep = c.param("depthwise_kernel", (*kernel, depth, multiplier), _depthwise_first)
    y = c.op("Conv", [c.first(c.x), deep], {**attributes, "group": depth})
    ones = [1] * size
    inputs = [y, c.param("pointwise_kernel", (*ones, depth * multiplier, filters), _kernel_first)]
    if c.has("bias"):
        inputs.append(c.param("bias", (filters,)))
    point = {"kernel_shape": ones, "strides": ones, "dilations": ones, "pads": [0, 0] * size, "group": 1}
    return c.activate(c.last(c.op("Conv", inputs, point)))


@reads("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", weights=kernel_bias, masking="drop")
def conv_transpose(c: LayerCall) -> ir.Value:
    """Transposed convolution: the gradient of a SAME or VALID convolution, with Keras's output size."""
    size = spatial_rank(c)
    kernel, strides = c.tuple("kernel_size", size), c.tuple("strides", size)
    dilations = c.tuple("dilation_rate", size)
    wanted = c.get("output_padding")
    extra = [None] * size if wanted is None else c.tuple("output_padding", size)
    same = str(c.get("padding", "valid")).lower() == "same"
    begin, end, more = [], [], []
    for k, s, d, o in zip(kernel, strides, dilations, extra, strict=True):
        left, right, outside = _crop((k - 1) * d + 1, s, o, same)
        begin.append(left)
        end.append(right)
        more.append(outside)
    filters, depth = int(c.get("filters")), channels(c)
    inputs = [c.first(c.x), c.param("kernel", (*kernel, filters, depth), _kernel_first)]
    if c.has("bias"):
        inputs.append(c.param("bias", (filters,)))
    attributes = {
        **{"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": 1},
        **{"pads": [*begin, *end], "output_padding": more},
    }
    return c.activate(c.last(c.op("ConvTranspose", inputs, attributes)))


def _crop(reach: int, stride: int, extra: int | None, same: bool) -> tuple[int, int, int]:
    """What to cut on the left and right of the full output, and what to add on the right.

    The full output of n inputs is (n − 1)·stride + reach. Keras makes n·stride for SAME and, for VALID,
    (n − 1)·stride + max(reach, stride); with ``output_padding`` (n − 1)·stride + reach + extra,
    and for SAME 2·(reach // 2) less.
    """
    if extra is None:
        surplus = reach - stride if same else min(reach - stride, 0)
    else:
        surplus = 2 * (reach // 2) - extra if same else -extra
    if surplus <= 0:
        return 0, 0, -surplus
    return surplus // 2, surplus - surplus // 2, 0
