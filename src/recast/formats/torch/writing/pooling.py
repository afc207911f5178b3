"""Pooling: nn.MaxPool, nn.AvgPool where they mean the same, else windows written out."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._spatial import Window, compact, options, pad_list, window
from recast.formats.torch.writing._types import FLOATS
from recast.graph import view


def _window(node: ir.Node) -> Window:
    kernel = view.attr(node, "kernel_shape")
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != len(kernel) + 2:
        raise Refuse("the input's rank is unknown")
    return window(node, kernel)


def _simple(node: ir.Node, w: Window) -> bool:
    value = node.inputs[0]
    small = w.begin is not None and all(2 * b <= k for b, k in zip(w.begin, w.kernel, strict=True))
    return w.symmetric and small and len(w.kernel) <= 3 and value is not None and value.dtype in FLOATS


def _general(e: Emitter, node: ir.Node, w: Window) -> str:
    """Arguments of the support functions: input, window, padding."""
    x = e.x(node)
    geometry = list(zip(w.kernel, w.stride, w.dilation, strict=True))
    if w.begin is None or w.end is None:
        args = f"{list(w.kernel)}, {list(w.stride)}, {list(w.dilation)}" + (", lower=True" if w.lower else "")
        padding = f"{e.helper('same_padding')}(list({x}.shape[2:]), {args})"
    else:
        padding = str(pad_list(w.begin, w.end))
    ceil = (
        ", ceil=True" if view.attr(node, "ceil_mode", 0) and view.attr(node, "auto_pad", "NOTSET") == "NOTSET" else ""
    )
    return f"{x}, {geometry}, {padding}{ceil}"


@writes("MaxPool")
def max_pool(e: Emitter, node: ir.Node) -> str:
    w = _window(node)
    if len(node.outputs) > 1 and node.outputs[1].name:
        major = ", column_major=True" if view.attr(node, "storage_order", 0) else ""
        return f"{e.helper('max_pool_with_indices')}({_general(e, node, w)}{major})"
    if not _simple(node, w):
        return f"{e.helper('max_pool')}({_general(e, node, w)})"
    extra = options(
        stride=(compact(w.stride), compact(w.kernel)),
        padding=(compact(w.begin or ()), "0"),
        dilation=(compact(w.dilation), "1"),
        ceil_mode=(str(bool(view.attr(node, "ceil_mode", 0))), "False"),
    )
    return f"{e.module(node, f'nn.MaxPool{len(w.kernel)}d({compact(w.kernel)}{extra})', {})}({e.x(node)})"


@writes("AveragePool")
def average_pool(e: Emitter, node: ir.Node) -> str:
    w = _window(node)
    include = bool(view.attr(node, "count_include_pad", 0))
    ceil = bool(view.attr(node, "ceil_mode", 0))
    if not _simple(node, w) or set(w.dilation) != {1} or (ceil and include):
        return f"{e.helper('average_pool')}({_general(e, node, w)}{', include_padding=True' if include else ''})"
    padded = any(w.begin or ())
    extra = options(
        stride=(compact(w.stride), compact(w.kernel)),
        padding=(compact(w.begin or ()), "0"),
        ceil_mode=(str(ceil), "False"),
        count_include_pad=(str(include or not padded), "True"),
    )
    return f"{e.module(node, f'nn.AvgPool{len(w.kernel)}d({compact(w.kernel)}{extra})', {})}({e.x(node)})"


@writes("LpPool")
def lp_pool(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('lp_pool')}({_general(e, node, _window(node))}, p={view.attr(node, 'p', 2)})"


def _spatial_axes(node: ir.Node) -> str:
    value = node.inputs[0]
    if value is None or value.shape is None:
        raise Refuse("the input's rank is unknown")
    return ", ".join(str(a) for a in range(2, len(value.shape)))


@writes("GlobalAveragePool")
def global_average_pool(e: Emitter, node: ir.Node) -> str:
    return f"{e.x(node)}.mean(({_spatial_axes(node)},), keepdim=True)".replace(",,", ",")


@writes("GlobalMaxPool")
def global_max_pool(e: Emitter, node: ir.Node) -> str:
    return f"{e.x(node)}.amax(({_spatial_axes(node)},), keepdim=True)"


@writes("GlobalLpPool")
def global_lp_pool(e: Emitter, node: ir.Node) -> str:
    p = view.attr(node, "p", 2)
    return f"{e.x(node)}.abs().pow({p}).sum(({_spatial_axes(node)},), keepdim=True).pow({1.0 / p!r})"
