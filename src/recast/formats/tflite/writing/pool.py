"""Pooling: 1-D, 2-D and 3-D windows, and over whole images."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import IMAGE, Refused, writes
from recast.formats.tflite.writing.constants import Quant
from recast.formats.tflite.writing.conv import lift, pad_explicit
from recast.formats.tflite.writing.emitter import Dims, Emitter, Site, dims_of
from recast.formats.tflite.writing.padding import Window, window
from recast.graph import view


def same_scale(inputs: list[Quant], output: Quant) -> bool:
    """Kernels that only move or compare integers need one scale."""
    return all(q == output for q in inputs)


def _plain(node: ir.Node) -> bool:
    """Without dilation and without the places of the maxima."""
    more = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    return not more and set(view.attr(node, "dilations") or [1]) == {1}


@writes("MaxPool", "AveragePool", domain=IMAGE, when=_plain)
def pool(w: Emitter, node: ir.Node) -> None:
    """MAX_POOL_2D or AVERAGE_POOL_2D; other paddings through PADV2 and, for averages, a constant factor."""
    x = node.inputs[0]
    assert x is not None
    dims = dims_of(x)
    spatial = len(dims) - 2
    if len(node.outputs) > 1 and list(node.outputs[1].uses()):
        raise Refused("the indices of a maximum pooling")
    kernel = view.attr(node, "kernel_shape")
    win = _with_ceil(node, window(node, dims[1:-1], kernel))
    if set(win.dilations) != {1}:
        raise Refused("pooling with dilation")
    largest = node.op_type == "MaxPool"
    if spatial == 3:
        _pool_3d(w, node, win)
        return
    if spatial not in (1, 2):
        raise Refused(f"pooling over {spatial} spatial axes")
    factor = None if largest else _factor(node, lift(win))
    site = w.site(node, fuse=factor is None, fits=lambda a, b: same_scale(a, b) and factor is None)
    source, target = site.inputs[0], site.output
    if spatial == 1:
        n, length, c = w.shape(source)
        source = w.reshape(source, (n, 1, length, c))
        n, length, c = w.shape(target)
        target = w.temp(target, (n, 1, length, c))
    win = lift(win)
    if not largest and not win.same and win.explicit and factor is None and not _includes_pads(node):
        raise Refused("average pooling with this padding")
    explicit = Window(win.sizes, win.kernel, win.strides, win.dilations, win.begin, win.end, False)
    if not largest and win.same and _includes_pads(node):
        win = explicit
    if not largest and factor is not None:
        win = explicit
    if win.explicit:
        source = pad_explicit(w, source, win, -np.inf if largest else None)
    out = target if factor is None else w.temp(target)
    _window_op(w, "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D", (source, out), win, site)
    if factor is not None:
        w.op("MUL", [out, w.constant(factor)], [target], ("MulOptions", {}))
    if spatial == 1:
        w.reshape(target, w.shape(site.output), site.output)


def _window_op(w: Emitter, builtin: str, ends: tuple[int, int], win: Window, site: Site) -> None:
    options = {
        "padding": win.padding,
        "stride_h": win.strides[0],
        "stride_w": win.strides[1],
        "filter_height": win.kernel[0],
        "filter_width": win.kernel[1],
        **site.options,
    }
    w.op(builtin, [ends[0]], [ends[1]], ("Pool2DOptions", options))


def _with_ceil(node: ir.Node, win: Window) -> Window:
    """``ceil_mode``: the last window may reach over the padded end; pad that much more."""
    if not view.attr(node, "ceil_mode", 0) or win.begin is None or win.end is None:
        return win
    out = dims_of(node.outputs[0])[1:-1]
    if any(d < 0 for d in (*out, *win.sizes)):
        raise Refused("ceil_mode over a size that is only known at run time")
    need = [(o - 1) * s + k for o, s, k in zip(out, win.strides, win.extent, strict=True)]
    end = tuple(max(e, n - size - b) for e, n, size, b in zip(win.end, need, win.sizes, win.begin, strict=True))
    same = win.same and end == win.end
    return Window(win.sizes, win.kernel, win.strides, win.dilations, win.begin, end, same)


def _includes_pads(node: ir.Node) -> bool:
    return bool(view.attr(node, "count_include_pad", 0))


def _factor(node: ir.Node, win: Window) -> np.ndarray | None:
    """What an average over zero-padded windows must be multiplied with, None if nothing or SAME does it."""
    if win.begin is None or win.end is None or not any((*win.begin, *win.end)):
        return None
    padded = list(view.attr(node, "pads") or (0,) * 4)
    own_end = padded[len(padded) // 2 :]
    own_end = [0] * (2 - len(own_end)) + own_end if view.attr(node, "pads") else list(win.end)
    include = _includes_pads(node)
    if win.same and not include:
        return None
    if include and tuple(own_end) == win.end:
        return None
    if any(s < 0 for s in win.sizes):
        raise Refused("average pooling with this padding over a size that is only known at run time")
    counts = []
    for size, k, s, b, e, own in zip(win.sizes, win.kernel, win.strides, win.begin, win.end, own_end, strict=True):
        starts = np.arange((size + b + e - k) // s + 1) * s
        low, high = (0, size + b + own) if include else (b, size + b)
        counts.append(np.clip(starts + k, low, high) - np.clip(starts, low, high))
    area = np.float64(win.kernel[0] * win.kernel[1])
    factor = (area / np.maximum(np.outer(counts[0], counts[1]), 1)).astype(np.float32)
    return factor[None, :, :, None]


def _pool_3d(w: Emitter, node: ir.Node, win: Window) -> None:
    """Over H and W with the depth merged into the batch, then over the depth."""
    largest = node.op_type == "MaxPool"
    if win.begin is None or (not largest and any((*win.begin, *(win.end or ()))) and not _includes_pads(node)):
        raise Refused("3-D average pooling with padding that does not count")
    if not largest and view.attr(node, "ceil_mode", 0):
        raise Refused("3-D average pooling with ceil_mode")
    site = w.site(node, fits=same_scale)
    source = site.inputs[0]
    begin, end = win.begin, win.end or ()
    if any((*begin, *end)):
        plain = Window(win.sizes, win.kernel, win.strides, win.dilations, begin, end, False)
        source = pad_explicit(w, source, plain, -np.inf if largest else None)
    n, d, h, wide, c = w.shape(source)
    _, depth, high, across, _ = w.shape(site.output)
    if any(v < 0 for v in (d, h, wide)):
        raise Refused("3-D pooling over a size that is only known at run time")
    builtin = "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D"
    merged = -1 if n < 0 else n * d
    zero: Dims = (0, 0)
    flat = w.reshape(source, (merged, h, wide, c))
    mid = w.temp(flat, (merged, high, across, c))
    plane = Window((h, wide), win.kernel[1:], win.strides[1:], (1, 1), zero, zero, False)
    _window_op(w, builtin, (flat, mid), plane, site)
    column = w.reshape(mid, (n, d, high * across, c))
    out = w.temp(column, (n, depth, high * across, c))
    line = Window((d, high * across), (win.kernel[0], 1), (win.strides[0], 1), (1, 1), zero, zero, False)
    _window_op(w, builtin, (column, out), line, site)
    w.reshape(out, w.shape(site.output), site.output)


@writes("GlobalAveragePool", "GlobalMaxPool", domain=IMAGE)
def global_pool(w: Emitter, node: ir.Node) -> None:
    """MEAN or REDUCE_MAX over the spatial axes; a following reshape to (N, C) is taken in."""
    largest = node.op_type == "GlobalMaxPool"
    x = node.inputs[0]
    assert x is not None
    axes = list(range(1, len(dims_of(x)) - 1))
    result = _flat_result(w, node)
    keep = result is node.outputs[0]
    site = w.site(node, fits=same_scale if largest else None, result=result)
    w.op(
        "REDUCE_MAX" if largest else "MEAN",
        [site.inputs[0], w.ints(axes)],
        [site.output],
        ("ReducerOptions", {"keep_dims": keep}),
    )


def _flat_result(w: Emitter, node: ir.Node) -> ir.Value:
    """If the result is only reshaped to (N, C), that node's result: the axes are dropped at once."""
    result = node.outputs[0]
    follower = view.sole_consumer(result)
    if follower is None or follower.domain or follower.op_type not in ("Reshape", "Flatten", "Squeeze"):
        return result
    if follower.inputs[0] is not result:
        return result
    before, after = dims_of(result), dims_of(follower.outputs[0])
    if len(after) != 2 or after != (before[0], before[-1]) or before[-1] < 0:
        return result
    w.done.add(follower)
    return follower.outputs[0]
