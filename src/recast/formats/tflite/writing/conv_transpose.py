"""Transposed convolutions: TRANSPOSE_CONV and CONV_3D_TRANSPOSE, cropped where padding is neither SAME nor VALID."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import IMAGE, Refused, writes
from recast.formats.tflite.writing.constants import Weight
from recast.formats.tflite.writing.conv import batch_shape, lifted, weight_tensor
from recast.formats.tflite.writing.emitter import Emitter, Site, dims_of
from recast.formats.tflite.writing.weights import bias_tensor, weight_operand
from recast.graph import view


@writes("ConvTranspose", domain=IMAGE)
def conv_transpose(w: Emitter, node: ir.Node) -> None:
    """Transposed convolution over (N, *spatial, C) with kernels I O/g *k, cropped where needed; float only in 3-D."""
    x = node.inputs[0]
    assert x is not None
    spatial = len(dims_of(x)) - 2
    group = int(view.attr(node, "group", 1))
    if spatial not in (1, 2, 3) or (spatial == 3 and group != 1):
        raise Refused(f"a transposed convolution over {spatial} spatial axes in {group} groups")
    weight = weight_operand(w, node.inputs[1])
    if spatial == 1:
        weight = weight.reshape((*weight.shape[:2], 1, weight.shape[2]), weight.quant.axis if weight.quant else 0)
    if block := _tile(node, x, weight):
        _tiled(w, node, weight, block)
        return
    plan = _Transposed.of(node, w, x, weight)
    site = w.site(node, [x], fuse=True, fits=lambda _, __: group == 1 and spatial < 3 and weight.quant is not None)
    source, target = (site.inputs[0], site.output) if spatial > 1 else lifted(w, site)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if group == 1:
        order = (1, 2, 3, 0) if spatial < 3 else (2, 3, 4, 1, 0)
        filters = weight_tensor(w, plan.weight.transpose(order), site, node.inputs[1])
        bias = bias_tensor(w, given, weight.shape[1], (source, filters), site) if given is not None else -1
        plan.emit(w, source, filters, (bias, site.options), target)
    else:
        _grouped_transpose(w, plan, group, (source, target), (node, site))
    if spatial == 1:
        w.reshape(target, w.shape(site.output), site.output)


def _tile(node: ir.Node, x: ir.Value, weight: Weight) -> int:
    """The side of the square that every input element becomes, if no two overlap and a size is told at run time.

    TRANSPOSE_CONV is told its output's shape; one that is computed keeps it out of LiteRT's fast kernels.
    """
    given = node.inputs[2] if len(node.inputs) > 2 else None
    strides = tuple(view.attr(node, "strides") or (1, 1))
    plain = view.attr(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID") and int(view.attr(node, "group", 1)) == 1
    moved = any(any(view.attr(node, name) or ()) for name in ("pads", "output_padding", "output_shape"))
    dilated = set(view.attr(node, "dilations") or (1,)) != {1}
    if not plain or moved or dilated or weight.quant is not None or (given is not None and view.const(given) is None):
        return 0
    square = len(strides) == 2 and weight.shape[2:] == strides and strides[0] == strides[1] > 1
    return strides[0] if square and any(d < 0 for d in dims_of(x)) else 0


def _tiled(w: Emitter, node: ir.Node, weight: Weight, block: int) -> None:
    """A convolution of one element to the channels of a whole tile, laid out by DEPTH_TO_SPACE (Shi et al. 2016)."""
    site = w.site(node, [node.inputs[0]], fuse=True, fits=lambda _, __: False)
    source, inner, outputs = site.inputs[0], weight.shape[0], weight.shape[1]
    count = block * block * outputs
    filters = weight.transpose((2, 3, 1, 0)).reshape((count, 1, 1, inner))
    given = view.const(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = np.zeros(outputs, np.float32) if given is None else given.astype(np.float32).reshape(-1)
    operands = [source, weight_tensor(w, filters, site, node.inputs[1]), w.constant(np.tile(bias, block * block))]
    strides = {"padding": 1, "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    deep = w.temp(source, (*w.shape(source)[:3], count))
    w.op("CONV_2D", operands, [deep], ("Conv2DOptions", {**strides, **site.options}))
    w.op("DEPTH_TO_SPACE", [deep], [site.output], ("DepthToSpaceOptions", {"block_size": block}))


def _grouped_transpose(
    w: Emitter, plan: _Transposed, group: int, ends: tuple[int, int], what: tuple[ir.Node, Site]
) -> None:
    """Split the channels, convolve each part, concatenate."""
    source, target = ends
    node, site = what
    if site.activation != "NONE":
        raise Refused("an activation fused to a grouped transposed convolution")
    n, h, wide, c = w.shape(source)
    parts = [w.temp(source, (n, h, wide, c // group)) for _ in range(group)]
    w.op("SPLIT", [w.ints(3), source], parts, ("SplitOptions", {"num_splits": group}))
    inner = plan.weight.shape[0] // group
    outputs = plan.weight.shape[1]
    n, h, wide, _ = w.shape(target)
    results = []
    for g, part in enumerate(parts):
        piece = plan.weight.then(("G", g, group), (inner, *plan.weight.shape[1:]), _part(g, inner))
        filters = weight_tensor(w, piece.transpose((1, 2, 3, 0)), site, node.inputs[1])
        bias = -1
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            held = w.weight_of(node.inputs[2])
            some = held.then(("G", g, group), (outputs,), _part(g, outputs))
            bias = w.weight(some)
        result = w.temp(target, (n, h, wide, outputs))
        plan.emit(w, part, filters, (bias, site.options), result)
        results.append(result)
    w.op("CONCATENATION", results, [target], ("ConcatenationOptions", {"axis": 3}))


def _part(index: int, count: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda a: a[index * count : (index + 1) * count]


@dataclass(frozen=True)
class _Transposed:
    """How ONNX's pads and output_padding become SAME, VALID, or VALID and a crop."""

    weight: Weight  # I O/g *k, dilation written out as zeros
    strides: tuple[int, ...]
    full: tuple[int, ...]  # output size before cropping (-1: unknown)
    begin: tuple[int, ...]
    out: tuple[int, ...]
    same: bool

    @staticmethod
    def of(node: ir.Node, w: Emitter, x: ir.Value, weight: Weight) -> _Transposed:
        rank = len(dims_of(x)) - 2
        lift = max(0, 2 - rank)  # one axis is written as the second of two
        ones: tuple[int, ...] = (1,) * lift
        zeros: tuple[int, ...] = (0,) * lift
        dilations = ones + tuple(view.attr(node, "dilations") or (1,) * rank)
        strides = ones + tuple(view.attr(node, "strides") or (1,) * rank)
        extra = zeros + tuple(view.attr(node, "output_padding") or (0,) * rank)
        sizes = ones + dims_of(x)[1:-1]
        out = ones + dims_of(node.outputs[0])[1:-1]
        dilated = _dilate(weight, dilations)
        kernel = dilated.shape[2:]
        full = tuple(
            -1 if s < 0 else (s - 1) * t + k + e for s, t, k, e in zip(sizes, strides, kernel, extra, strict=True)
        )  # an output_shape may ask for more: zeros at the end
        begin = zeros + _begin(node, full[lift:], out[lift:], rank)
        if any(b < 0 for b in begin):
            raise Refused("a transposed convolution with negative padding")
        full = tuple(f if f < 0 or o < 0 else max(f, b + o) for f, b, o in zip(full, begin, out, strict=True))
        same = all(
            o >= 0 and -(-o // t) == s and max((s - 1) * t + k - o, 0) // 2 == b
            for o, t, s, k, b in zip(out, strides, sizes, kernel, begin, strict=True)
        )
        if not same and any(f < 0 or o < 0 for f, o in zip(full, out, strict=True)):
            raise Refused("a transposed convolution over a size that is only known at run time")
        return _Transposed(dilated, strides, full, begin, out, same)

    def emit(self, w: Emitter, source: int, filters: int, rest: tuple[int, dict[str, Any]], target: int) -> None:
        bias, fused = rest
        batch, channels = w.shape(source)[0], w.shape(target)[-1]
        crop = not self.same and self.full != self.out
        size = self.full if not self.same else self.out
        result = w.temp(target, (batch, *size, channels)) if crop else target
        axes = "dhw"[-len(size) :]
        options = {
            "padding": 0 if self.same else 1,
            **{f"stride_{a}": s for a, s in zip(axes, self.strides, strict=True)},
            **fused,
        }
        flat = len(size) == 2
        if not flat:
            options |= {f"dilation_{a}_factor": 1 for a in axes}
        kind = ("TRANSPOSE_CONV", "TransposeConvOptions") if flat else ("CONV_3D_TRANSPOSE", "Conv3DOptions")
        inputs = [batch_shape(w, source, (*size, channels)), filters, source, bias]
        w.op(kind[0], inputs, [result], (kind[1], options))
        if crop:
            begin = [0, *self.begin, 0]
            sizes = [-1, *self.out, channels]
            w.op("SLICE", [result, w.ints(begin), w.ints(sizes)], [target], ("SliceOptions", {}))


def _begin(node: ir.Node, full: tuple[int, ...], out: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """How many elements are cropped at the front of each axis."""
    auto = view.attr(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        return (0,) * rank
    if auto == "NOTSET" and not view.attr(node, "output_shape"):
        return tuple((view.attr(node, "pads") or (0,) * 2 * rank)[:rank])
    if any(d < 0 for d in (*full, *out)):
        raise Refused("a transposed convolution over a size that is only known at run time")
    extra = tuple(view.attr(node, "output_padding") or (0,) * rank)
    total = [f - o for f, o in zip(full, out, strict=True)]
    del extra
    if auto == "SAME_UPPER":
        return tuple(t // 2 for t in total)
    return tuple(t - t // 2 for t in total)


def _dilate(weight: Weight, dilations: tuple[int, ...]) -> Weight:
    """Write the holes of a dilated kernel as zeros."""
    if set(dilations) == {1}:
        return weight
    if weight.quant is not None and any(weight.quant.zero):
        raise Refused("a dilated transposed convolution with an asymmetric kernel")
    outer = weight.shape[:2]
    size = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))

    def spread(array: np.ndarray) -> np.ndarray:
        wide = np.zeros((*outer, *size), array.dtype)
        wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = array
        return wide

    return weight.then(("D", *dilations), (*outer, *size), spread)
