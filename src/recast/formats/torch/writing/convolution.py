"""Convolutions: nn.Conv1d … nn.ConvTranspose3d with the source's weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter, Weight
from recast.formats.torch.writing._spatial import Window, compact, kernel_size, options, pad_list, window
from recast.formats.torch.writing._types import FLOATS
from recast.graph import view


def dtype_option(e: Emitter, node: ir.Node) -> str:
    """``, dtype=torch.float16`` where a module is not of single precision."""
    value = node.inputs[0]
    if value is None or value.dtype not in FLOATS:
        raise Refuse("it does not compute on floats")
    kind = e.dtype(value)
    return "" if kind == "torch.float32" else f", dtype={kind}"


def plain(value: ir.Value | None) -> bool:
    """Whether a value is a stored constant that a module can own."""
    return value is not None and view.is_const(value)


def pad_input(e: Emitter, node: ir.Node, w: Window, fill: str = "") -> str:
    """The input after explicit padding that a module's ``padding`` cannot express."""
    x = e.x(node)
    if w.begin is None or w.end is None:
        args = f"{list(w.kernel)}, {list(w.stride)}, {list(w.dilation)}" + (", lower=True" if w.lower else "")
        return f"F.pad({x}, {e.helper('same_padding')}(list({x}.shape[2:]), {args}){fill})"
    return f"F.pad({x}, {pad_list(w.begin, w.end)}{fill})"


@writes("Conv")
def conv(e: Emitter, node: ir.Node) -> str:
    kernel = node.inputs[1]
    if kernel is None or kernel.shape is None or not 3 <= len(kernel.shape) <= 5:
        raise Refuse("only 1, 2 or 3 spatial dimensions")
    shape = view.static_shape(kernel)
    group = view.attr(node, "group", 1)
    sizes = view.attr(node, "kernel_shape") or (list(shape[2:]) if shape else None)
    if sizes is None:
        raise Refuse("the kernel's size is unknown")
    w = window(node, sizes)
    rank = len(sizes)
    padding = compact(w.begin) if w.symmetric and w.begin is not None else "0"
    x = e.x(node) if w.symmetric else pad_input(e, node, w)
    extra = options(
        stride=(compact(w.stride), "1"),
        padding=(padding, "0"),
        dilation=(compact(w.dilation), "1"),
        groups=(str(group), "1"),
    )
    bias = e.value(node, 2)
    if shape is None or not plain(kernel) or not (bias is None or plain(bias)) or kernel.dtype not in FLOATS:
        return f"F.conv{rank}d({x}, {e.x(node, 1)}, {e.optional(node, 2)}{extra})"
    weights = {"weight": Weight(kernel, shape)}
    if bias is not None:
        weights["bias"] = Weight(bias, (shape[0],))
    extra += options(bias=(str(bias is not None), "True")) + dtype_option(e, node)
    code = f"nn.Conv{rank}d({shape[1] * group}, {shape[0]}, {compact(w.kernel)}{extra})"
    return f"{e.module(node, code, weights)}({x})"


@writes("ConvTranspose")
def conv_transpose(e: Emitter, node: ir.Node) -> str:
    kernel, bias = node.inputs[1], e.value(node, 2)
    shape = view.static_shape(kernel) if kernel is not None else None
    if kernel is None or shape is None or not 3 <= len(shape) <= 5:
        raise Refuse("the kernel's shape is unknown, or not of 1, 2 or 3 spatial dimensions")
    sizes = view.attr(node, "kernel_shape") or list(shape[2:])
    rank = len(sizes)
    stride = view.attr(node, "strides") or [1] * rank
    dilation = view.attr(node, "dilations") or [1] * rank
    grow = view.attr(node, "output_padding") or [0] * rank
    begin, end, grow = _transpose_pads(node, list(sizes), (stride, dilation, grow))
    group = view.attr(node, "group", 1)
    # what PyTorch calls padding crops both sides; output_padding shortens the crop at the end
    crop = begin
    more = [b - c + g for b, c, g in zip(begin, end, grow, strict=True)]
    after = ""
    if min(crop) < 0 or any(m < 0 or m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        crop = [0] * rank
        more = [0] * rank
        after = f"F.pad({{}}, {pad_list([-b for b in begin], [g - c for c, g in zip(end, grow, strict=True)])})"
    extra = options(
        stride=(compact(stride), "1"),
        padding=(compact(crop), "0"),
        output_padding=(compact(more), "0"),
        groups=(str(group), "1"),
    )
    x = e.x(node)
    if after and bias is not None and any(g > c for c, g in zip(end, grow, strict=True)):
        raise Refuse("output padding beyond the kernel's reach")
    if not plain(kernel) or not (bias is None or plain(bias)):
        extra += options(dilation=(compact(dilation), "1"))
        call = f"F.conv_transpose{rank}d({x}, {e.x(node, 1)}, {e.optional(node, 2)}{extra})"
    else:
        weights = {"weight": Weight(kernel, shape)}
        if bias is not None:
            weights["bias"] = Weight(bias, (shape[1] * group,))
        extra += options(dilation=(compact(dilation), "1"), bias=(str(bias is not None), "True"))
        code = (
            f"nn.ConvTranspose{rank}d({shape[0]}, {shape[1] * group}, {compact(sizes)}{extra}{dtype_option(e, node)})"
        )
        call = f"{e.module(node, code, weights)}({x})"
    return after.format(call) if after else call


def _transpose_pads(
    node: ir.Node, kernel: list[int], geometry: tuple[list[int], list[int], list[int]]
) -> tuple[list[int], list[int], list[int]]:
    """Crops at begin and end, and the output padding."""
    stride, dilation, grow = geometry
    rank = len(kernel)
    auto = view.attr(node, "auto_pad", "NOTSET")
    pads = view.attr(node, "pads") or [0] * (2 * rank)
    wanted = view.attr(node, "output_shape")
    if auto == "VALID":
        pads = [0] * (2 * rank)
    if not wanted and auto not in ("SAME_UPPER", "SAME_LOWER"):
        return pads[:rank], pads[rank:], grow
    value = node.inputs[0]
    sizes = [] if value is None or value.shape is None else list(view.dims(value))[2:]
    begin, end = [], []
    for axis in range(rank):
        size = sizes[axis] if axis < len(sizes) else None
        if wanted and not isinstance(size, int):
            raise Refuse("output_shape with an input size known only at run time")
        full = (kernel[axis] - 1) * dilation[axis] + 1 + grow[axis]
        if wanted and isinstance(size, int):
            total = stride[axis] * (size - 1) + full - wanted[-rank:][axis]
        else:
            total = full - stride[axis]
        if total < 0:
            grow = [g - total if i == axis else g for i, g in enumerate(grow)]
            total = 0
        small = total // 2
        begin.append(total - small if auto != "SAME_UPPER" else small)
        end.append(total - begin[-1])
    return begin, end, grow


@writes("ConvInteger")
def conv_integer(e: Emitter, node: ir.Node) -> str:
    kernel = node.inputs[1]
    if kernel is None or kernel.shape is None:
        raise Refuse("the kernel's shape is unknown")
    sizes = kernel_size(node, kernel)
    w = window(node, sizes)
    if w.begin is None or w.end is None:
        raise Refuse("SAME padding with sizes known only at run time")
    point = f"{e.optional(node, 2)}, {e.optional(node, 3)}"
    settings = f"{list(w.stride)}, {pad_list(w.begin, w.end)}, {list(w.dilation)}, {view.attr(node, 'group', 1)}"
    return f"{e.helper('conv_integer')}({e.x(node)}, {e.x(node, 1)}, {point}, {settings})"


def transposed(array: np.ndarray) -> np.ndarray:
    """A matrix the other way round."""
    return array.T


@writes("DeformConv")
def deform_conv(e: Emitter, node: ir.Node) -> str:
    kernel, x = node.inputs[1], node.inputs[0]
    if kernel is None or kernel.shape is None or len(kernel.shape) != 4 or x is None or x.dtype not in FLOATS:
        raise Refuse("only two spatial dimensions")
    tensors = ", ".join([*e.xs(node), "None", "None"][:5])
    stride, dilation = view.attr(node, "strides") or [1, 1], view.attr(node, "dilations") or [1, 1]
    pads = view.attr(node, "pads") or [0, 0, 0, 0]
    groups = f"{view.attr(node, 'group', 1)}, {view.attr(node, 'offset_group', 1)}"
    return f"{e.helper('deform_conv')}({tensors}, {stride}, {pads}, {dilation}, {groups})"
