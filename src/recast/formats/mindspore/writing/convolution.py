"""Convolutions of one, two and three dimensions, and their transposes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.mindspore.types import NCDHW, NCHW
from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import value_of
from recast.graph.view import attr, const, dims, static_shape

_MODE_OF = {"SAME_UPPER": "same", "VALID": "valid"}


def kernel_shape(weights: ir.Value) -> list[int]:
    """Spatial size of a kernel (O, I, *spatial)."""
    shape = static_shape(weights)
    if shape is None:
        raise Refusal("the kernel's shape is not known")
    return list(shape[2:])


def interleave(pads: list[int]) -> list[int]:
    """ONNX (begins, ends) → MindSpore (begin, end) by dimension."""
    half = len(pads) // 2
    return [p for i in range(half) for p in (pads[i], pads[half + i])]


def padding(node: ir.Node, spatial: tuple[Any, ...], kernel: list[int]) -> tuple[str, list[int]]:
    """MindSpore's ``pad_mode`` and ``pad`` (begin, end by dimension) of a convolution."""
    count, auto = len(kernel), attr(node, "auto_pad", "NOTSET")
    if auto in _MODE_OF:
        return _MODE_OF[auto], [0] * 2 * count
    if auto == "NOTSET":
        return "pad", interleave(attr(node, "pads", [0] * 2 * count))
    strides, dilations = attr(node, "strides", [1] * count), attr(node, "dilations", [1] * count)
    pads = []
    for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        if not isinstance(size, int):
            raise Refusal("SAME_LOWER needs known sizes")
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        pads += [total - total // 2, total // 2]
    return "pad", pads


@writes("Conv")
def conv(w: Writer, node: ir.Node) -> None:
    x, weights = value_of(node), value_of(node, 1)
    kernel, count = kernel_shape(weights), len(kernel_shape(weights))
    mode, pads = padding(node, dims(x)[2:], kernel)
    strides, dilations = attr(node, "strides", [1] * count), attr(node, "dilations", [1] * count)
    group, out = attr(node, "group", 1), dims(weights)[0]
    data: Arg = x
    held: Arg = weights
    if count == 1:
        data, held = w.fn("ExpandDims", x, 2), expand_kernel(w, weights)
        kernel, strides, dilations, pads = [1, *kernel], [1, *strides], [1, *dilations], [0, 0, *pads]
    if count > 3:
        raise Refusal(f"MindSpore has no convolution over {count} dimensions")
    attributes = {
        "kernel_size": tuple(kernel),
        "mode": 1,
        "out_channel": out,
        "pad": tuple(pads),
        "pad_mode": mode,
        "pad_list": tuple(pads),
        "groups": group,
        "group": group,
    }
    if count == 3:
        result = _conv3d(w, (data, held), {**attributes, "offset_x": 0}, (strides, dilations))
    else:
        four = {"format": "NCHW", "stride": (1, 1, *strides), "dilation": (1, 1, *dilations)}
        result = w.prim("Conv2D", [data, held], {**attributes, **four})
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        result = w.fn("BiasAdd", result, node.inputs[2], NCDHW if count == 3 else NCHW)
    if count == 1:
        result = w.fn("Squeeze", result, (2,))
    w.bind(node.outputs[0], result)


def _conv3d(
    w: Writer, operands: tuple[Arg, Arg], attributes: dict[str, Any], steps: tuple[list[int], list[int]]
) -> Ref:
    if attributes["group"] != 1:
        raise Refusal("MindSpore's CPU kernel has no groups in three dimensions")
    strides, dilations = steps
    five = {
        "format": "NCDHW",
        "stride": tuple(strides),
        "strides": (1, 1, *strides),
        "dilation": tuple(dilations),
        "dilations": (1, 1, *dilations),
    }
    return w.prim("Conv3D", list(operands), {**attributes, **five})


def expand_kernel(w: Writer, weights: ir.Value) -> Ref:
    """(O, I, k) → (O, I, 1, k); done now where the kernel is constant."""
    array = const(weights)
    return w.fn("ExpandDims", weights, 2) if array is None else w.weight(weights, array[:, :, None])


@writes("ConvTranspose")
def conv_transpose(w: Writer, node: ir.Node) -> None:
    x, weights, y = value_of(node), value_of(node, 1), node.outputs[0]
    kernel, count = kernel_shape(weights), len(kernel_shape(weights))
    if count > 3:
        raise Refusal(f"MindSpore has no transposed convolution over {count} dimensions")
    strides, dilations = attr(node, "strides", [1] * count), attr(node, "dilations", [1] * count)
    sizes, out = list(dims(x)[2:]), list(dims(y)[2:])
    if not all(isinstance(d, int) for d in (*sizes, *out)):
        raise Refusal("the spatial sizes must be known")
    pads = _transposed_pads(node, (sizes, out, kernel), strides, dilations)
    if count == 3:
        made = _transposed3d(w, node, pads, (strides, dilations))
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        w.bind(y, made if bias is None else w.fn("BiasAdd", made, bias, NCDHW))
        return
    group, channels = attr(node, "group", 1), static_shape(weights)
    assert channels is not None
    data: Arg = x
    held: Arg = weights
    if count == 1:
        data, held = w.fn("ExpandDims", x, 2), expand_kernel(w, weights)
        kernel, strides, dilations, pads, out = [1, *kernel], [1, *strides], [1, *dilations], [0, 0, *pads], [1, *out]
    batch = dims(x)[0]
    size: Arg = (batch, channels[1] * group, *out)
    if not isinstance(batch, int):
        batch_now = w.item(w.fn("Shape", data), 0)
        size = w.pack([batch_now, channels[1] * group, *(int(d or 0) for d in out)])
    attributes = {
        "kernel_size": tuple(kernel),
        "mode": 1,
        "out_channel": channels[0],
        "pad": tuple(pads),
        "pad_mode": "PAD",
        "format": "NCHW",
        "pad_list": tuple(pads),
        "groups": group,
        "stride": (1, 1, *strides),
        "group": group,
        "dilation": (1, 1, *dilations),
    }
    result = w.prim("Conv2DTranspose", [data, held, size], attributes)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        result = w.fn("BiasAdd", result, node.inputs[2], NCHW)
    w.bind(y, w.fn("Squeeze", result, (2,)) if count == 1 else result)


def _transposed3d(w: Writer, node: ir.Node, pads: list[int], steps: tuple[list[int], list[int]]) -> Ref:
    """MindSpore's own, of which the kernel takes no groups; what the pads leave open is output padding."""
    x, weights, (strides, dilations) = value_of(node), value_of(node, 1), steps
    shape = static_shape(weights)
    if attr(node, "group", 1) != 1 or shape is None:
        raise Refusal("MindSpore's CPU kernel has no groups in three dimensions")
    missing = []
    for i, (size, out) in enumerate(zip(dims(x)[2:], dims(node.outputs[0])[2:], strict=True)):
        full = (int(size or 0) - 1) * strides[i] + (shape[2 + i] - 1) * dilations[i] + 1
        missing.append(int(out or 0) - (full - pads[2 * i] - pads[2 * i + 1]))
    if any(not 0 <= m < max(s, d) for m, s, d in zip(missing, strides, dilations, strict=True)):
        raise Refusal("it makes its output larger than the kernel reaches")
    attributes = {
        "in_channel": shape[0],
        "out_channel": shape[1],
        "kernel_size": shape[2:],
        "mode": 1,
        "pad_mode": "pad",
        "pad": tuple(pads),
        "pad_list": tuple(pads),
        "stride": (1, 1, *strides),
        "strides": (1, 1, *strides),
        "dilation": (1, 1, *dilations),
        "dilations": (1, 1, *dilations),
        "group": 1,
        "groups": 1,
        "output_padding": (0, 0, *missing),
        "format": "NCDHW",
        "data_format": "NCDHW",
    }
    return w.prim("Conv3DTranspose", [x, weights], attributes)


def _transposed_pads(
    node: ir.Node, sizes: tuple[list[Any], list[Any], list[int]], strides: list[int], dilations: list[int]
) -> list[int]:
    """(begin, end) by dimension such that a convolution of the output gives back the input's size."""
    explicit = attr(node, "pads", [0] * 2 * len(strides))
    auto, asked = attr(node, "auto_pad", "NOTSET"), attr(node, "output_shape")
    pads = []
    for i, (size, out, k) in enumerate(zip(*sizes, strict=True)):
        full = (size - 1) * strides[i] + (k - 1) * dilations[i] + 1
        extra = attr(node, "output_padding", [0] * len(strides))[i]
        if auto == "NOTSET" and asked is None:
            begin, end = explicit[i], explicit[len(strides) + i] - extra
        else:
            total = full + extra - out
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end = total - begin - extra
        if begin < 0 or end < -strides[i] + 1:
            raise Refusal("it makes its output larger than the kernel reaches")
        pads += [begin, max(end, 0)]
    return pads
