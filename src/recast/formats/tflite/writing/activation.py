"""Activations that are operators of their own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.constants import Quant
from recast.formats.tflite.writing.emitter import FLOATS, Emitter, dims_of, relu_name
from recast.formats.tflite.writing.weights import float_constant
from recast.graph import view


@writes("Relu")
def relu(w: Emitter, node: ir.Node) -> None:
    """RELU, also on integers of any scales."""
    site = w.site(node)
    w.op("RELU", site.inputs, [site.output])


@writes("Clip")
def clip(w: Emitter, node: ir.Node) -> None:
    """RELU6 and its kind, else MAXIMUM and MINIMUM."""
    name = relu_name(node)
    if name is not None and node.outputs[0].dtype in FLOATS:
        site = w.site(node, [node.inputs[0]])
        w.op(name, site.inputs, [site.output])
        return
    bounds = [node.inputs[i] if len(node.inputs) > i else None for i in (1, 2)]
    steps = [(b, v) for b, v in zip(("MAXIMUM", "MINIMUM"), bounds, strict=True) if v is not None]
    current = w.take(node.inputs[0])
    if not steps:
        w.alias(node.outputs[0], current)
    for index, (builtin, bound) in enumerate(steps):
        out = w.put(node.outputs[0]) if index == len(steps) - 1 else w.temp(current)
        w.op(builtin, [current, w.take(bound)], [out], ("MaximumMinimumOptions", {}))
        current = out


def _unit(inputs: list[Quant], out: Quant) -> bool:
    """Integer results in 0..1 have the scale 1/256, 16-bit ones 1/32768."""
    del inputs
    if out == Quant((1 / 32768,), (0,)):
        return True
    return bool(np.isclose(out.scale[0], 1 / 256, rtol=1e-6, atol=0)) and out.zero[0] in (-128, 0)


def _signed_unit(inputs: list[Quant], out: Quant) -> bool:
    """Integer results in -1..1 have the scale 1/128, 16-bit ones 1/32768."""
    del inputs
    if out == Quant((1 / 32768,), (0,)):
        return True
    return bool(np.isclose(out.scale[0], 1 / 128, rtol=1e-6, atol=0)) and out.zero[0] in (128, 0)


@writes("Sigmoid")
def sigmoid(w: Emitter, node: ir.Node) -> None:
    """LOGISTIC."""
    site = w.site(node, fits=_unit)
    w.op("LOGISTIC", site.inputs, [site.output])


@writes("Tanh")
def tanh(w: Emitter, node: ir.Node) -> None:
    """TANH."""
    site = w.site(node, fits=_signed_unit)
    w.op("TANH", site.inputs, [site.output])


@writes("Softmax")
def softmax(w: Emitter, node: ir.Node) -> None:
    """SOFTMAX over the last axis, between transposes for any other."""
    site = w.site(node, fits=_unit)
    _over_axis(w, node, site.inputs[0], site.output, ("SOFTMAX", ("SoftmaxOptions", {"beta": 1.0})))


@writes("LogSoftmax")
def log_softmax(w: Emitter, node: ir.Node) -> None:
    """LOG_SOFTMAX over the last axis."""
    ends = w.take(node.inputs[0]), w.put(node.outputs[0])
    _over_axis(w, node, *ends, ("LOG_SOFTMAX", ("LogSoftmaxOptions", {})))


def _over_axis(
    w: Emitter, node: ir.Node, source: int, target: int, what: tuple[str, tuple[str, dict[str, float]]]
) -> None:
    rank = len(w.shape(source))
    axis = int(view.attr(node, "axis", -1)) % max(rank, 1)
    if axis == rank - 1:
        w.op(what[0], [source], [target], what[1])
        return
    perm = [i for i in range(rank) if i != axis] + [axis]
    moved = w.transpose(source, perm)
    result = w.temp(moved) if w.tensors[source].quant is None else w.temp(target, w.shape(moved))
    w.op(what[0], [moved], [result], what[1])
    w.op("TRANSPOSE", [result, w.ints(np.argsort(perm))], [target], ("TransposeOptions", {}))


@writes("LeakyRelu")
def leaky_relu(w: Emitter, node: ir.Node) -> None:
    """LEAKY_RELU."""
    site = w.site(node)
    alpha = float(view.attr(node, "alpha", 0.01))
    w.op("LEAKY_RELU", site.inputs, [site.output], ("LeakyReluOptions", {"alpha": alpha}))


@writes("PRelu")
def prelu(w: Emitter, node: ir.Node) -> None:
    """PRELU; its slope broadcasts from the right and needs no batch axis."""
    x, slope = node.inputs
    assert x is not None
    values = float_constant(w, slope)
    if values is None:
        raise Refused("a slope that is computed at run time")
    rank = len(dims_of(x))
    if values.ndim == rank and rank > 1 and values.shape[0] == 1:
        values = values.reshape(values.shape[1:])
    w.op("PRELU", [w.take(x), w.constant(values, (slope.name or "") if slope else "")], [w.put(node.outputs[0])])


@writes("Elu")
def elu(w: Emitter, node: ir.Node) -> None:
    """ELU with alpha 1; another alpha scales the negative part."""
    alpha = float(view.attr(node, "alpha", 1.0))
    x, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    if alpha == 1.0:
        w.op("ELU", [x], [out])
        return
    _scaled_elu(w, x, out, (1.0, alpha))


@writes("Selu")
def selu(w: Emitter, node: ir.Node) -> None:
    """``gamma * elu(x, alpha)``."""
    alpha = float(view.attr(node, "alpha", 1.67326319217681884765625))
    gamma = float(view.attr(node, "gamma", 1.05070102214813232421875))
    _scaled_elu(w, w.take(node.inputs[0]), w.put(node.outputs[0]), (gamma, gamma * alpha))


def _scaled_elu(w: Emitter, x: int, out: int, factors: tuple[float, float]) -> None:
    """``positive * max(x, 0) + negative * elu(min(x, 0))``."""
    high = w.then("RELU", [x])
    zero = w.number(0.0)
    low = w.then("ELU", [w.then("MINIMUM", [x, zero], None, ("MaximumMinimumOptions", {}))])
    if factors[0] != 1.0:
        high = w.then("MUL", [high, w.number(factors[0])], None, ("MulOptions", {}))
    low = w.then("MUL", [low, w.number(factors[1])], None, ("MulOptions", {}))
    w.op("ADD", [high, low], [out], ("AddOptions", {}))


@writes("HardSwish")
def hard_swish(w: Emitter, node: ir.Node) -> None:
    """HARD_SWISH."""
    w.op("HARD_SWISH", [w.take(node.inputs[0])], [w.put(node.outputs[0])])


@writes("HardSigmoid")
def hard_sigmoid(w: Emitter, node: ir.Node) -> None:
    """``clip(alpha x + beta, 0, 1)``; times x with Keras's and PyTorch's constants it is HARD_SWISH."""
    alpha, beta = float(view.attr(node, "alpha", 0.2)), float(view.attr(node, "beta", 0.5))
    x, result = node.inputs[0], node.outputs[0]
    follower = view.sole_consumer(result)
    if (
        follower is not None
        and follower.op_type == "Mul"
        and x in follower.inputs
        and abs(alpha - 1 / 6) < 1e-6
        and beta == 0.5
    ):
        w.done.add(follower)
        w.op("HARD_SWISH", [w.take(x)], [w.put(follower.outputs[0])])
        return
    line = w.then("MUL", [w.take(x), w.number(alpha)], None, ("MulOptions", {}))
    moved = w.then("ADD", [line, w.number(beta)], None, ("AddOptions", {}))
    w.op("RELU_0_TO_1", [moved], [w.put(result)])


@writes("Gelu")
def gelu(w: Emitter, node: ir.Node) -> None:
    """GELU, exact or with tanh."""
    approximate = view.attr(node, "approximate", "none") == "tanh"
    ends = [w.take(node.inputs[0])], [w.put(node.outputs[0])]
    w.op("GELU", *ends, ("GeluOptions", {"approximate": approximate}))


@writes("Softsign")
def softsign(w: Emitter, node: ir.Node) -> None:
    """``x / (1 + |x|)``."""
    x = w.take(node.inputs[0])
    low = w.then("ADD", [w.then("ABS", [x]), w.number(1.0)], None, ("AddOptions", {}))
    w.op("DIV", [x, low], [w.put(node.outputs[0])], ("DivOptions", {}))


@writes("Softplus")
def softplus(w: Emitter, node: ir.Node) -> None:
    """``max(x, 0) + log(1 + exp(-|x|))``: does not overflow."""
    x = w.take(node.inputs[0])
    small = w.then("EXP", [w.then("NEG", [w.then("ABS", [x])])])
    one = w.number(1.0)
    tail = w.then("LOG", [w.then("ADD", [small, one], None, ("AddOptions", {}))])
    w.op("ADD", [w.then("RELU", [x]), tail], [w.put(node.outputs[0])], ("AddOptions", {}))
