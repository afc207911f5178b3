"""Convolutions: CONV_2D, DEPTHWISE_CONV_2D, grouped, 1-D and 3-D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import IMAGE, Refused, writes
from recast.formats.tflite.writing.constants import Quant, Weight
from recast.formats.tflite.writing.emitter import Emitter, Site, dims_of
from recast.formats.tflite.writing.padding import Window, window
from recast.formats.tflite.writing.weights import bias_tensor, weight_operand
from recast.graph import DYNAMIC, view


@dataclass(frozen=True)
class Kernel:
    """A kernel in TFLite's layout, and how to use it."""

    weight: Weight
    builtin: str
    outputs: int
    multiplier: int = 1


@writes("Conv", domain=IMAGE)
def conv(w: Emitter, node: ir.Node) -> None:
    """Convolution over (N, *spatial, C) with kernels O I *spatial."""
    x = node.inputs[0]
    assert x is not None
    spatial = len(dims_of(x)) - 2
    if spatial == 3:
        conv_3d(w, node)
        return
    if spatial not in (1, 2):
        raise Refused(f"a convolution over {spatial} spatial axes")
    weight = weight_operand(w, node.inputs[1])
    if spatial == 1:
        weight = weight.reshape((*weight.shape[:2], 1, weight.shape[2]))
    kernel = kernel_2d(weight, dims_of(x)[-1], int(view.attr(node, "group", 1)))
    win = lift(window(node, dims_of(x)[1:-1], weight.shape[2:] if spatial == 2 else weight.shape[3:]))
    quants = weight.quant
    site = w.site(node, [x], fuse=True, fits=lambda _, __: quants is not None and _symmetric(quants))
    source, target = (site.inputs[0], site.output) if spatial == 2 else lifted(w, site)
    if win.explicit:
        source = pad_explicit(w, source, win)
    filters = weight_tensor(w, kernel.weight, site, node.inputs[1], is_dynamic(node))
    bias = bias_tensor(w, node.inputs[2] if len(node.inputs) > 2 else None, kernel.outputs, (source, filters), site)
    options = {
        "padding": win.padding,
        "stride_h": win.strides[0],
        "stride_w": win.strides[1],
        "dilation_h_factor": win.dilations[0],
        "dilation_w_factor": win.dilations[1],
        **site.options,
    }
    if kernel.builtin == "DEPTHWISE_CONV_2D":
        table = "DepthwiseConv2DOptions"
        options["depth_multiplier"] = kernel.multiplier
    else:
        table = "Conv2DOptions"
    w.op(kernel.builtin, [source, filters, bias], [target], (table, options))
    if spatial == 1:
        lowered(w, target, site.output)


def is_dynamic(node: ir.Node) -> bool:
    """Whether the operator is to run on integers whose scales are found at run time."""
    return node.metadata_props.get(DYNAMIC) == "int8"


def _symmetric(quant: Quant) -> bool:
    return True if len(quant.scale) == 1 else not any(quant.zero)


def kernel_2d(weight: Weight, channels: int, group: int) -> Kernel:
    """Bring O I kh kw to CONV_2D's O kh kw I or DEPTHWISE_CONV_2D's 1 kh kw O."""
    outputs, inner, *size = weight.shape
    if group > 1 and group == channels and inner == 1:
        moved = weight.transpose((1, 2, 3, 0))  # 1 kh kw O: channel c, multiplier m is c * multiplier + m in both
        return Kernel(moved, "DEPTHWISE_CONV_2D", outputs, outputs // channels)
    if inner * group != channels:
        raise Refused(f"kernel for {inner * group} channels, input has {channels}")
    return Kernel(weight.transpose((0, 2, 3, 1)), "CONV_2D", outputs)


def weight_tensor(w: Emitter, weight: Weight, site: Site, value: ir.Value | None, dynamic: bool = False) -> int:
    """The kernel's tensor; an integer or half-precision kernel of a float operator is dequantised when loading.

    With ``dynamic`` an int8 kernel stays: LiteRT rounds the activations to 8 bits at every run.
    """
    name = value.name if value is not None and value.name else ""
    index = w.weight(weight, name)
    if site.quantised or weight.type == "FLOAT32":
        return index
    if dynamic and weight.type == "INT8" and weight.quant is not None and not any(weight.quant.zero):
        return index
    return w.dequantised(index)


def lift(win: Window) -> Window:
    """A 1-D window as a 2-D one of height 1."""
    if len(win.sizes) == 2:
        return win
    one, none = (1,), (0,)
    return Window(
        one + win.sizes,
        one + win.kernel,
        one + win.strides,
        one + win.dilations,
        None if win.begin is None else none + win.begin,
        None if win.end is None else none + win.end,
        win.same,
    )


def lifted(w: Emitter, site: Site) -> tuple[int, int]:
    """The input and output of a 1-D operator as tensors of height 1."""
    n, length, c = w.shape(site.inputs[0])
    shape = (n, 1, length, c)
    if n < 0 and length < 0:
        operands = [site.inputs[0], w.ints(1)]
        source = w.then("EXPAND_DIMS", operands, shape, ("ExpandDimsOptions", {}))
    else:
        source = w.reshape(site.inputs[0], shape)
    n, length, c = w.shape(site.output)
    return source, w.temp(site.output, (n, 1, length, c))


def lowered(w: Emitter, target: int, out: int) -> None:
    """A result of height 1 as that of the 1-D operator."""
    shape = w.shape(out)
    if sum(d < 0 for d in shape) > 1:
        w.op("SQUEEZE", [target], [out], ("SqueezeOptions", {"squeeze_dims": [1]}))
    else:
        w.reshape(target, shape, out)


def pad_explicit(w: Emitter, source: int, win: Window, value: float | None = None) -> int:
    """PAD with (quantised) zeros, or PADV2 with ``value`` (integers: the lowest), in front of an operator."""
    n, *_, c = w.shape(source)
    pads = [(0, 0), *zip(win.begin or (), win.end or (), strict=True), (0, 0)]
    shape = win.padded(c, n)
    if value is None:
        return w.then("PAD", [source, w.ints(pads)], shape, ("PadOptions", {}))
    tensor = w.tensors[source]
    lowest = {"FLOAT32": value, "INT8": -128, "UINT8": 0, "INT16": -32768}[tensor.type]
    fill = w.constant(np.array(lowest, tensor.type.lower()), quant=tensor.quant)
    return w.then("PADV2", [source, w.ints(pads), fill], shape, ("PadV2Options", {}))


def conv_3d(w: Emitter, node: ir.Node) -> None:
    """CONV_3D: kernels D H W I O, float only."""
    x = node.inputs[0]
    assert x is not None
    if int(view.attr(node, "group", 1)) != 1:
        raise Refused("TFLite has no grouped 3-D convolution")
    weight = weight_operand(w, node.inputs[1])
    win = window(node, dims_of(x)[1:-1], weight.shape[2:])
    site = w.site(node, [x], fuse=True, fits=lambda _, __: False)
    source = site.inputs[0]
    if win.explicit:
        source = pad_explicit(w, source, win)
    filters = weight_tensor(w, weight.transpose((2, 3, 4, 1, 0)), site, node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = bias_tensor(w, given, weight.shape[0], (source, filters), site)
    axes = ("d", "h", "w")
    options = {
        "padding": win.padding,
        **{f"stride_{a}": s for a, s in zip(axes, win.strides, strict=True)},
        **{f"dilation_{a}_factor": d for a, d in zip(axes, win.dilations, strict=True)},
        **site.options,
    }
    w.op("CONV_3D", [source, filters, bias], [site.output], ("Conv3DOptions", options))


def batch_shape(w: Emitter, source: int, rest: tuple[int, ...]) -> int:
    """The shape (batch of ``source``, *rest) as an int32 tensor, computed at run time if the batch is dynamic."""
    batch = w.shape(source)[0]
    if batch >= 0:
        return w.ints((batch, *rest))
    rank = len(w.shape(source))
    shape = w.then("SHAPE", [source], (rank,), ("ShapeOptions", {"out_type": 2}), "INT32")
    ends = [w.ints([0]), w.ints([1]), w.ints([1])]
    first = w.then("STRIDED_SLICE", [shape, *ends], (1,), ("StridedSliceOptions", {}))
    return w.then("CONCATENATION", [first, w.ints(rest)], (1 + len(rest),), ("ConcatenationOptions", {"axis": 0}))
