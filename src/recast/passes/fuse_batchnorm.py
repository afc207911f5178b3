"""Fold BatchNormalization into the weights of the layer before it; where there is none, make it Mul and Add.

Given: BatchNormalization with constant statistics, channels-first or in the domain ``recast.channels_last``.
Result: ``Conv``, ``ConvTranspose``, ``Gemm`` and ``MatMul (+ Add)`` whose only user is a BatchNormalization take it
    over (scaled weights, new bias; computed in float64, rounded once); the others become ``Mul`` and ``Add``.
Refuses when: the statistics are not constant, the node is in training mode, or its rank is unknown: it stays, and a
    finding says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.graph import CHANNELS_LAST_DOMAIN
from recast.graph.finding import Finding
from recast.graph.view import attr, const, is_const, layer_of, rank, sole_consumer
from recast.passes import PassOptions
from recast.passes._editor import Editor, tensor_of


@dataclass(frozen=True)
class Affine:
    """``y = x * scale + shift`` per channel, in float64."""

    scale: np.ndarray
    shift: np.ndarray
    dtype: ir.DataType

    def with_bias(self, bias: np.ndarray | None) -> np.ndarray:
        """The bias after fusing into a layer that had ``bias``."""
        old = np.zeros(1) if bias is None else bias.astype(np.float64)
        fused: np.ndarray = (old * self.scale + self.shift).astype(self.dtype.numpy())
        return fused


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Fuse or decompose every BatchNormalization of the model in place."""
    findings = []
    editor = Editor(model.graph)
    for node, affine in normalisations(model):
        if affine is None or rank(node.outputs[0]) is None:
            findings.append(
                Finding("BatchNormalization stays: its statistics are not constant", layer_of(node), "warning")
            )
        elif not fuse(editor, node, affine):
            _decompose(editor, node, affine)
    editor.drop_unused()
    return findings


def normalisations(model: ir.Model) -> list[tuple[ir.Node, Affine | None]]:
    """Every BatchNormalization of the model, and what it computes if its statistics are constant."""
    found = [n for n in model.graph if n.op_type == "BatchNormalization" and n.domain in ("", CHANNELS_LAST_DOMAIN)]
    return [(node, _affine(node)) for node in found]


def _affine(node: ir.Node) -> Affine | None:
    values = [const(v) for v in node.inputs[1:5]]
    used = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if len(values) < 4 or attr(node, "training_mode", 0) or used or node.outputs[0].dtype is None:
        return None
    found = [v.astype(np.float64) for v in values if v is not None]
    if len(found) < 4:
        return None
    gamma, beta, mean, variance = found
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gamma / np.sqrt(variance + float(attr(node, "epsilon", 1e-5)))
    return Affine(scale, beta - mean * scale, node.outputs[0].dtype)


def fuse(editor: Editor, node: ir.Node, affine: Affine) -> bool:
    """Let the layer before take a normalisation over, if there is one that can."""
    given = node.inputs[0]
    source = None if given is None or sole_consumer(given) is not node else _untransposed(given)
    before = source.producer() if source is not None else None
    if source is None or before is None or given is None or not np.all(np.isfinite(affine.scale)):
        return False
    if before.op_type in ("Conv", "ConvTranspose") and before.domain == node.domain:
        done = _into_layer(editor, before, affine, 2, _conv_weight(before, affine))
    elif before.op_type == "Gemm" and before.domain == "" and rank(source) == 2:
        plain = all(float(attr(before, k, 1.0)) == 1.0 for k in ("alpha", "beta"))
        axis = 0 if attr(before, "transB", 0) else 1
        done = plain and _into_layer(editor, before, affine, 2, _along(axis, affine))
    elif before.op_type in ("MatMul", "Add") and before.domain == "" and rank(source) == 2:
        done = _into_matmul(editor, before, node, affine)
    else:
        return False
    if done:
        editor.replace(node.outputs[0], node.inputs[0] or given)
        editor.graph.remove(node, safe=True)
    return done


def _untransposed(value: ir.Value) -> ir.Value | None:
    """The value before a pair of Transposes that cancel each other, or the value itself; None: others use it too."""
    last = value.producer()
    if last is None or last.op_type != "Transpose" or last.inputs[0] is None:
        return value
    middle = last.inputs[0]
    first = middle.producer()
    if first is None or first.op_type != "Transpose" or first.inputs[0] is None or sole_consumer(middle) is not last:
        return value
    before, after = attr(first, "perm"), attr(last, "perm")
    if before is None or after is None or [before[i] for i in after] != list(range(len(before))):
        return value
    return first.inputs[0] if sole_consumer(first.inputs[0]) is first else None


Change = Callable[[np.ndarray], np.ndarray]


def _along(axis: int, affine: Affine) -> Change:
    """Scale a matrix along one axis."""
    return lambda w: (w.astype(np.float64) * (affine.scale if axis else affine.scale[:, None])).astype(w.dtype)


def _conv_weight(node: ir.Node, affine: Affine) -> Change:
    if node.op_type == "Conv":
        return lambda w: (w.astype(np.float64) * affine.scale.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype)
    group = int(attr(node, "group", 1))

    def scaled(weight: np.ndarray) -> np.ndarray:
        blocks = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:]).astype(np.float64)
        factor = affine.scale.reshape(group, 1, -1, *[1] * (weight.ndim - 2))
        whole: np.ndarray = (blocks * factor).reshape(weight.shape).astype(weight.dtype)
        return whole

    return scaled


def _into_layer(editor: Editor, layer: ir.Node, affine: Affine, slot: int, change: Change) -> bool:
    """Scale input 1 and set the bias at ``slot``; False where they are not constant."""
    weight = layer.inputs[1]
    bias = layer.inputs[slot] if slot < len(layer.inputs) else None
    old = const(bias)
    if weight is None or not is_const(weight) or (bias is not None and old is None):
        return False
    if old is not None and (old.ndim > 1 and old.size != old.shape[-1]):
        return False
    shape = tensor_of(weight).shape.numpy()
    fused = affine.with_bias(None if old is None else old.reshape(-1))
    layer.replace_input_with(1, editor.derived(weight, ("fused", id(layer)), shape, change))
    if len(layer.inputs) <= slot:
        layer.resize_inputs(slot + 1)
    name = bias.name if bias is not None else f"{layer_of(layer)}/bias"
    layer.replace_input_with(slot, editor.weight(f"{name}_fused", fused))
    return True


def _into_matmul(editor: Editor, last: ir.Node, node: ir.Node, affine: Affine) -> bool:
    """MatMul, or MatMul followed by Add of a constant bias."""
    product, old = last, None
    if last.op_type == "Add":
        slots = [i for i in (0, 1) if is_const(last.inputs[i])]
        other = last.inputs[1 - slots[0]] if len(slots) == 1 else None
        old = const(last.inputs[slots[0]]) if slots else None
        if other is None or old is None or old.size not in (1, affine.scale.size) or old.ndim > 2:
            return False
        if old.ndim == 2 and old.shape[0] != 1:
            return False
        found = other.producer()
        if found is None or found.op_type != "MatMul" or found.domain or sole_consumer(other) is not last:
            return False
        product = found
    weight = product.inputs[1]
    if weight is None or not is_const(weight) or rank(weight) != 2:
        return False
    shape = tensor_of(weight).shape.numpy()
    product.replace_input_with(1, editor.derived(weight, ("fused", id(product)), shape, _along(1, affine)))
    fused = editor.weight(f"{layer_of(product)}/bias_fused", affine.with_bias(None if old is None else old.reshape(-1)))
    if last is not product:
        last.replace_input_with(slots[0], fused)
        return True
    node.replace_input_with(0, editor.node("Add", [product.outputs[0], fused], None, before=node))
    return True


def _decompose(editor: Editor, node: ir.Node, affine: Affine) -> None:
    source, result = node.inputs[0], node.outputs[0]
    size = rank(result) or 0
    spatial = 0 if node.domain == CHANNELS_LAST_DOMAIN else max(size - 2, 0)
    shape = (-1, *[1] * spatial)
    dtype = affine.dtype.numpy()
    scale = editor.weight(f"{layer_of(node)}/scale", affine.scale.astype(dtype).reshape(shape))
    shift = editor.weight(f"{layer_of(node)}/shift", affine.shift.astype(dtype).reshape(shape))
    scaled = editor.node("Mul", [source, scale], None, before=node)
    shifted = editor.node("Add", [scaled, shift], None, before=node)
    editor.replace(result, shifted)
    editor.graph.remove(node, safe=True)
