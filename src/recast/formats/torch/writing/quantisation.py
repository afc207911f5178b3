"""Quantised tensors: the integers and their rounding as ONNX defines them."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._spatial import kernel_size, pad_list, window
from recast.formats.torch.writing._types import FLOATS
from recast.graph import view

_RANGES = {
    "INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767), "UINT16": (0, 65535), "INT4": (-8, 7),
    "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3), "INT32": (-(2**31), 2**31 - 1),
}  # fmt: skip


@writes("QuantizeLinear")
def quantize(e: Emitter, node: ir.Node) -> str:
    out = node.outputs[0].dtype
    axis, block = view.attr(node, "axis", 1), view.attr(node, "block_size", 0)
    if out is None or (out.name not in _RANGES and not out.name.startswith("FLOAT8")):
        raise Refuse(f"quantising to {out.name if out else 'an unknown type'}")
    kind = e.dtype(node.outputs[0])
    args = f"{e.x(node)}, {e.x(node, 1)}, {e.optional(node, 2)}"
    if out.name.startswith("FLOAT8"):
        limit = {"torch.float8_e4m3fn": 448.0, "torch.float8_e5m2": 57344.0}[kind]
        return f"{e.helper('quantize_float8')}({args}, {limit}, {kind}, {axis}, {block})"
    low, high = _RANGES[out.name]
    return f"{e.helper('quantize')}({args}, ({low}, {high}), {kind}, {axis}, {block})"


@writes("DequantizeLinear")
def dequantize(e: Emitter, node: ir.Node) -> str:
    axis, block = view.attr(node, "axis", 1), view.attr(node, "block_size", 0)
    args = f"{e.x(node)}, {e.x(node, 1)}, {e.optional(node, 2)}, {axis}, {block}"
    kind = e.dtype(node.outputs[0])
    return f"{e.helper('dequantize')}({args}, {kind})"


@writes("DynamicQuantizeLinear")
def dynamic_quantize(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('dynamic_quantize')}({e.x(node)})"


@writes("QLinearMatMul")
def q_linear_matmul(e: Emitter, node: ir.Node) -> str:
    out = node.outputs[0].dtype
    low, high = _RANGES[out.name if out is not None else ""]
    return f"{e.helper('q_linear_matmul')}({', '.join(e.xs(node))}, ({low}, {high}))"


@writes("QLinearConv")
def q_linear_conv(e: Emitter, node: ir.Node) -> str:
    kernel, out = node.inputs[3], node.outputs[0].dtype
    if kernel is None or kernel.shape is None or out is None:
        raise Refuse("the kernel's shape is unknown")
    w = window(node, kernel_size(node, kernel))
    if w.begin is None or w.end is None:
        raise Refuse("SAME padding with sizes known only at run time")
    low, high = _RANGES[out.name]
    settings = f"{list(w.stride)}, {pad_list(w.begin, w.end)}, {list(w.dilation)}, {view.attr(node, 'group', 1)}"
    xs = [*e.xs(node), "None"][:9]
    return f"{e.helper('q_linear_conv')}([{', '.join(xs)}], {settings}, ({low}, {high}))"


def floats(node: ir.Node) -> bool:
    """Whether the first input holds floats."""
    return node.inputs[0] is not None and node.inputs[0].dtype in FLOATS
