"""Places where channels may be rescaled without changing what the model computes.

``W2 · f(W1 x + b1) = (W2 S) · f(S⁻¹ (W1 x + b1))`` for a diagonal S > 0 and every f with f(s x) = s f(x) (ReLU; Nagel
et al. 2019, eq. 7). What lies above a value is divided by S, what lies below it is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.compression.edits import SetWeight
from recast.compression.quantize._fit import weight_of
from recast.compression.quantize._layers import Layer, layers
from recast.graph.view import attr, const, sole_consumer

_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}


@dataclass(frozen=True)
class Joint:
    """One value whose channels are free.

    Attributes:
        value: its name; what the layers below read.
        channels: how many it has.
        above: (initializer, its axis of these channels), divided.
        below: layers, multiplied along their inputs.
    """

    value: str
    channels: int
    above: tuple[tuple[str, int], ...]
    below: tuple[Layer, ...]


class Weights:
    """The weights of a model while channels are rescaled, float64."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self.held: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.held:
            self.held[name] = weight_of(self._model, name).astype(np.float64)
        return self.held[name]

    def scale(self, joint: Joint, s: np.ndarray) -> None:
        """Divide above, multiply below; ``s``: float64 (channels,), > 0."""
        for name, axis in joint.above:
            self.held[name] = self[name] / _along(s, self[name].ndim, axis)
        for layer in joint.below:
            self.held[layer.weight] = inputs_scaled(self[layer.weight], layer, s)

    def edits(self, note: str) -> tuple[SetWeight, ...]:
        """What has changed."""
        return tuple(SetWeight(n, a.astype(np.float32), note) for n, a in self.held.items())


def _along(s: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return s.reshape(shape)


def inputs_scaled(weight: np.ndarray, layer: Layer, s: np.ndarray) -> np.ndarray:
    """The weight that gives from ``x / s`` what it gave from ``x``."""
    factor = _along(s, weight.ndim, 1 - layer.axis)
    if layer.groups > 1:  # depthwise: a channel's outputs stand together
        factor = _along(np.repeat(s, weight.shape[0] // len(s)), weight.ndim, 0)
    made: np.ndarray = weight * factor
    return made


def by_inputs(weight: np.ndarray, layer: Layer) -> np.ndarray:
    """The weight as (channels of the input, all that touches one)."""
    if layer.groups > 1:
        return weight.reshape(layer.groups, -1)
    return np.moveaxis(weight, 1 - layer.axis, 0).reshape(weight.shape[1 - layer.axis], -1)


def joints(model: ir.Model) -> tuple[list[Joint], dict[str, str]]:
    """All places in the order of computing, and why other inputs of layers are not free (by value name)."""
    readers: dict[str, list[Layer]] = {}
    for layer in layers(model):
        readers.setdefault(layer.x, []).append(layer)
    every = {layer.y: layer for layers_ in readers.values() for layer in layers_}
    values = {v.name: v for n in model.graph for v in n.outputs}
    found, left = [], {}
    for name, below in readers.items():
        value = values.get(name)
        why = "it is an input of the model" if value is None else _closed(value, below)
        if not why and value is not None:
            sizes = {_inputs_of(layer, model) for layer in below}
            above = _above(value, every, sizes.pop() if len(sizes) == 1 else 0)
            why = "" if above else "what computes it cannot be rescaled"
            if above:
                found.append(Joint(name, _inputs_of(below[0], model), tuple(above), tuple(below)))
        if why:
            left[name] = why
    return found, left


def _inputs_of(layer: Layer, model: ir.Model) -> int:
    return len(by_inputs(weight_of(model, layer.weight), layer))


def _closed(value: ir.Value, below: list[Layer]) -> str:
    """Why a value's readers cannot all be rescaled; "" if they can."""
    if value.is_graph_output() or len(list(value.uses())) != len(below):
        return "others than layers read it too"
    for layer in below:
        whole = layer.groups == 1 or (layer.op == "Conv" and layer.groups > 1)
        if layer.shared or not whole or layer.op in ("Gather", "ConvTranspose"):
            return f"{layer.op} '{layer.node}' has no axis of its own for it"
        if layer.groups > 1 and (value.shape is None or value.shape[1] != layer.groups):
            return f"'{layer.node}' is a grouped convolution"
    return ""


def _above(value: ir.Value, every: Mapping[str, Layer], channels: int) -> list[tuple[str, int]]:
    """Constants that carry the channels of a value; [] where there are none."""
    layer, node = every.get(value.name or ""), value.producer()
    if node is None or not channels:
        return []
    if layer is not None:
        if layer.shared or (layer.groups > 1 and layer.op == "ConvTranspose") or layer.op == "Gather":
            return []
        plain = layer.bias or _without_bias(node, layer)
        names = [(layer.weight, layer.axis), *([(layer.bias, 0)] if layer.bias else [])]
        return names if plain else []
    if node.op_type in ("LayerNormalization", "RMSNormalization") and attr(node, "axis", -1) == -1:
        vectors = list(node.inputs[1:])
        return [(v.name or "", 0) for v in vectors if v is not None] if all(map(_own_vector, vectors)) else []
    if node.op_type == "Mul":
        for one, other in (node.inputs[:2], node.inputs[1::-1]):
            if _own_vector(one) and one is not None and one.shape is not None and one.shape[0] == channels:
                return [(one.name or "", 0)]
            if one is not None and sole_consumer(one) is node and other is not one:
                found = _above(one, every, channels)
                if found:
                    return found
        return []
    source = node.inputs[0] if node.op_type in _HOMOGENEOUS and node.inputs else None
    if source is None or sole_consumer(source) is not node:
        return []
    return _above(source, every, channels)


def _own_vector(value: ir.Value | None) -> bool:
    """A constant vector that only one node reads."""
    array = const(value)
    return value is not None and array is not None and array.ndim == 1 and len(list(value.uses())) == 1


def _without_bias(node: ir.Node, layer: Layer) -> bool:
    """Whether a layer without known bias really adds nothing."""
    return node.op_type == layer.op and (len(node.inputs) < 3 or node.inputs[2] is None)
