"""Activations: modules, as a person would write them."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from recast.formats.torch.writing import writes
from recast.formats.torch.writing._emitter import Emitter, Weight
from recast.formats.torch.writing._literals import number
from recast.formats.torch.writing._types import FLOATS, WIDE_UNSIGNED
from recast.formats.torch.writing.convolution import dtype_option, plain
from recast.graph import view

_MODULES = {
    "Relu": "nn.ReLU()", "Sigmoid": "nn.Sigmoid()", "Tanh": "nn.Tanh()", "Softsign": "nn.Softsign()",
    "Mish": "nn.Mish()", "HardSwish": "nn.Hardswish()",
}  # fmt: skip


@writes(*_MODULES)
def simple(e: Emitter, node: ir.Node) -> str:
    value = node.inputs[0]
    if value is not None and value.dtype in WIDE_UNSIGNED:
        return f"{e.x(node)}.clone()"  # none of them is negative
    if value is not None and value.dtype not in FLOATS:
        return f"torch.relu({e.x(node)})"
    return f"{e.module(node, _MODULES[node.op_type], {})}({e.x(node)})"


def _attribute(node: ir.Node, name: str, default: float) -> str:
    return number(view.attr(node, name, default))


_WITH_ATTRIBUTES: dict[str, Callable[[ir.Node], str]] = {
    "LeakyRelu": lambda n: f"nn.LeakyReLU({_attribute(n, 'alpha', 0.01)})",
    "Elu": lambda n: f"nn.ELU({_attribute(n, 'alpha', 1.0)})",
    "Celu": lambda n: f"nn.CELU({_attribute(n, 'alpha', 1.0)})",
    "ThresholdedRelu": lambda n: f"nn.Threshold({_attribute(n, 'alpha', 1.0)}, 0.0)",
    "Gelu": lambda n: "nn.GELU()" if view.attr(n, "approximate", "none") == "none" else 'nn.GELU("tanh")',
    "LogSoftmax": lambda n: f"nn.LogSoftmax({view.attr(n, 'axis', -1)})",
}


@writes(*_WITH_ATTRIBUTES)
def with_attributes(e: Emitter, node: ir.Node) -> str:
    return f"{e.module(node, _WITH_ATTRIBUTES[node.op_type](node), {})}({e.x(node)})"


_HALF_SUM = 65504  # of more ones the sum in half precision may overflow


@writes("Softmax")
def softmax(e: Emitter, node: ir.Node) -> str:
    axis, value = view.attr(node, "axis", -1), node.inputs[0]
    if value is not None and value.dtype == ir.DataType.FLOAT16 and value.shape is not None and len(value.shape):
        length = view.dims(value)[axis]
        if isinstance(length, int) and 0 < length < _HALF_SUM:
            return f"{e.helper('half_softmax')}({e.x(node)}, {axis})"
    return f"{e.module(node, f'nn.Softmax({axis})', {})}({e.x(node)})"


@writes("Softplus")
def softplus(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    return f"torch.logaddexp({x}, torch.zeros_like({x}))"


@writes("Swish")
def swish(e: Emitter, node: ir.Node) -> str:
    alpha, x = _attribute(node, "alpha", 1.0), e.x(node)
    return f"{e.module(node, 'nn.SiLU()', {})}({x})" if alpha == "1.0" else f"{x} * torch.sigmoid({alpha} * {x})"


@writes("HardSigmoid")
def hard_sigmoid(e: Emitter, node: ir.Node) -> str:
    alpha, beta = _attribute(node, "alpha", 0.2), _attribute(node, "beta", 0.5)
    return f"torch.clamp({alpha} * {e.x(node)} + {beta}, 0.0, 1.0)"


@writes("Selu")
def selu(e: Emitter, node: ir.Node) -> str:
    alpha = _attribute(node, "alpha", 1.67326319217681884765625)
    gamma = _attribute(node, "gamma", 1.05070102214813232421875)
    if (alpha, gamma) == ("1.6732632", "1.050701"):
        return f"{e.module(node, 'nn.SELU()', {})}({e.x(node)})"
    return f"{gamma} * F.elu({e.x(node)}, {alpha})"


@writes("Shrink")
def shrink(e: Emitter, node: ir.Node) -> str:
    bias, limit = _attribute(node, "bias", 0.0), _attribute(node, "lambd", 0.5)
    return f"{e.helper('shrink')}({e.x(node)}, {bias}, {limit})"


@writes("Hardmax")
def hardmax(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('hardmax')}({e.x(node)}, {view.attr(node, 'axis', -1)})"


@writes("PRelu")
def prelu(e: Emitter, node: ir.Node) -> str:
    slope, x = node.inputs[1], node.inputs[0]
    shape = view.static_shape(slope) if slope is not None else None
    if slope is not None and x is not None and x.shape is not None and plain(slope) and shape is not None:
        rank = len(x.shape)
        padded = (1,) * (rank - len(shape)) + shape
        count = padded[1] if rank > 1 else 1
        whole = all(d == 1 for i, d in enumerate(padded) if i != 1)
        channels = view.dims(x)[1] if rank > 1 else 1
        if slope.dtype in FLOATS and rank > 1 and whole and count in (1, channels):
            code = f"nn.PReLU({'' if count == 1 else count}{dtype_option(e, node) if count > 1 else ''})"
            if count > 1 or not dtype_option(e, node):
                return f"{e.module(node, code, {'weight': Weight(slope, (count,))})}({e.x(node)})"
    return f"torch.where({e.x(node)} < 0, {e.operand(node, 1)} * {e.x(node)}, {e.x(node)})"
