"""Normalisation layers and dropout."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter, Weight
from recast.formats.torch.writing._literals import number
from recast.formats.torch.writing._types import FLOATS
from recast.formats.torch.writing.convolution import dtype_option, plain
from recast.graph import view


def _rank(node: ir.Node) -> int:
    value = node.inputs[0]
    if value is None or value.shape is None:
        raise Refuse("the input's rank is unknown")
    return len(value.shape)


def _same_type(node: ir.Node) -> bool:
    return len({v.dtype for v in node.inputs if v is not None}) == 1


@writes("BatchNormalization")
def batch_normalization(e: Emitter, node: ir.Node) -> str:
    eps, momentum = view.attr(node, "epsilon", 1e-5), view.attr(node, "momentum", 0.9)
    training = view.attr(node, "training_mode", 0)
    rank = _rank(node)
    weights = dict(zip(("weight", "bias", "running_mean", "running_var"), node.inputs[1:5], strict=True))
    stored = all(plain(v) for v in weights.values())
    if training or not stored or not _same_type(node) or not 2 <= rank <= 5:
        args = ", ".join(e.xs(node))
        if training:
            return f"{e.helper('batch_norm_training')}({args}, {number(momentum)}, {number(eps)})"
        return f"{e.helper('batch_norm')}({args}, {number(eps)})"
    channels = (view.static_shape(_given(weights["weight"])) or (0,))[0]
    extra = "" if eps == 1e-5 or number(eps) == "1e-05" else f", eps={number(eps)}"
    extra += "" if number(momentum) == "0.9" else f", momentum={float(number(1 - momentum)):.6g}"
    code = f"nn.BatchNorm{max(1, rank - 2)}d({channels}{extra}{dtype_option(e, node)})"
    module = e.counter(node, code, {k: Weight(_given(v), (channels,)) for k, v in weights.items()})
    return f"{module}({e.x(node)})"


def _given(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise Refuse("a weight is missing")
    return value


@writes("LayerNormalization")
def layer_normalization(e: Emitter, node: ir.Node) -> str:
    eps = number(view.attr(node, "epsilon", 1e-5))
    rank = _rank(node)
    axis = view.attr(node, "axis", -1) % rank
    scale, bias = node.inputs[1], e.value(node, 2)
    value = _given(node.inputs[0])
    sizes = view.dims(value)[axis:]
    single = not any(v.name and v.uses() for v in node.outputs[1:])
    shape = tuple(s for s in sizes if isinstance(s, int))
    owned = plain(scale) and (bias is None or plain(bias)) and _same_type(node)
    owned = owned and view.static_shape(_given(scale)) == shape and len(shape) == rank - axis and single
    owned = owned and (bias is None or view.static_shape(bias) == shape) and len(node.outputs) == 1
    if owned and value.dtype in FLOATS:
        extra = ("" if eps == "1e-05" else f", eps={eps}") + ("" if bias is not None else ", bias=False")
        weights = {"weight": Weight(_given(scale), shape)}
        if bias is not None:
            weights["bias"] = Weight(bias, shape)
        size = str(shape[0]) if len(shape) == 1 else str(shape)
        return f"{e.module(node, f'nn.LayerNorm({size}{extra}{dtype_option(e, node)})', weights)}({e.x(node)})"
    args = f"{e.x(node)}, {e.x(node, 1)}, {e.optional(node, 2)}, {axis}, {eps}"
    return f"{e.helper('layer_norm')}({args})" + ("[0]" if len(node.outputs) == 1 else f"[:{len(node.outputs)}]")


@writes("RMSNormalization")
def rms_normalization(e: Emitter, node: ir.Node) -> str:
    eps = number(view.attr(node, "epsilon", 1e-5))
    rank = _rank(node)
    axis = view.attr(node, "axis", -1) % rank
    scale = _given(node.inputs[1])
    shape = view.static_shape(scale)
    if plain(scale) and shape == view.dims(_given(node.inputs[0]))[axis:] and _same_type(node):
        size = str(shape[0]) if len(shape) == 1 else str(shape)
        code = f"nn.RMSNorm({size}, eps={eps}{dtype_option(e, node)})"
        return f"{e.module(node, code, {'weight': Weight(scale, shape)})}({e.x(node)})"
    return f"{e.helper('rms_norm')}({e.x(node)}, {e.x(node, 1)}, {axis}, {eps})"


@writes("GroupNormalization")
def group_normalization(e: Emitter, node: ir.Node) -> str:
    eps, groups = number(view.attr(node, "epsilon", 1e-5)), view.attr(node, "num_groups")
    scale, bias = _given(node.inputs[1]), _given(node.inputs[2])
    shape = view.static_shape(scale)
    if plain(scale) and plain(bias) and shape and _same_type(node):
        extra = "" if eps == "1e-05" else f", eps={eps}"
        code = f"nn.GroupNorm({groups}, {shape[0]}{extra}{dtype_option(e, node)})"
        return f"{e.module(node, code, {'weight': Weight(scale, shape), 'bias': Weight(bias, shape)})}({e.x(node)})"
    return f"F.group_norm({e.x(node)}, {groups}, {e.x(node, 1)}, {e.x(node, 2)}, {eps})"


@writes("InstanceNormalization")
def instance_normalization(e: Emitter, node: ir.Node) -> str:
    eps = number(view.attr(node, "epsilon", 1e-5))
    scale, bias = _given(node.inputs[1]), _given(node.inputs[2])
    shape = view.static_shape(scale)
    rank = _rank(node)
    if plain(scale) and plain(bias) and shape and 3 <= rank <= 5 and _same_type(node):
        extra = "" if eps == "1e-05" else f", eps={eps}"
        code = f"nn.InstanceNorm{rank - 2}d({shape[0]}{extra}, affine=True{dtype_option(e, node)})"
        return f"{e.module(node, code, {'weight': Weight(scale, shape), 'bias': Weight(bias, shape)})}({e.x(node)})"
    return f"{e.helper('instance_norm')}({e.x(node)}, {e.x(node, 1)}, {e.x(node, 2)}, {eps})"


@writes("LRN")
def lrn(e: Emitter, node: ir.Node) -> str:
    size = view.attr(node, "size")
    alpha, beta, k = (number(view.attr(node, n, d)) for n, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    if size % 2 == 0:
        return f"{e.helper('local_response_norm')}({e.x(node)}, {size}, {alpha}, {beta}, {k})"
    return f"{e.module(node, f'nn.LocalResponseNorm({size}, alpha={alpha}, beta={beta}, k={k})', {})}({e.x(node)})"


@writes("LpNormalization")
def lp_normalization(e: Emitter, node: ir.Node) -> str:
    args = f"{view.attr(node, 'axis', -1)}, {view.attr(node, 'p', 2)}"
    return f"{e.helper('lp_norm')}({e.x(node)}, {args})"


@writes("MeanVarianceNormalization")
def mean_variance_normalization(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('mean_variance_norm')}({e.x(node)}, {view.attr(node, 'axes', [0, 2, 3])})"


@writes("Dropout")
def dropout(e: Emitter, node: ir.Node) -> str:
    ratio, training = e.const(node, 1), e.const(node, 2)
    rate = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
    if e.value(node, 2) is not None and training is None:
        raise Refuse("whether it trains is known only at run time")
    if e.value(node, 1) is not None and ratio is None and training is None:
        rate = 0.0  # known only at run time, but without effect at inference
    elif e.value(node, 1) is not None and ratio is None:
        raise Refuse("its rate is known only at run time")
    if training is not None and bool(training.reshape(-1)[0]) and rate != 0.0:
        raise Refuse("it is random also at inference (training_mode)")
    if len(node.outputs) > 1 and node.outputs[1].name:
        return f"{e.x(node)}, torch.ones_like({e.x(node)}, dtype=torch.bool)"
    if rate >= 1.0:
        raise Refuse("a rate of 1")
    return f"{e.module(node, f'nn.Dropout({float(number(rate)):.7g})', {})}({e.x(node)})"
