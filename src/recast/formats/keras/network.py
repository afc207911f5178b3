"""Run a network's calls in order, giving each to the reader of its layer's class."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import onnx_ir as ir

from recast.errors import BadModel, UnsafeModel, UnsupportedOp
from recast.formats.keras.call import LayerCall
from recast.formats.keras.config import Call, Layer, Network, Ref, flatten
from recast.formats.keras.promotion import is_float
from recast.formats.keras.reading import entry
from recast.formats.keras.weights import children
from recast.graph.build import Builder
from recast.graph.finding import Finding

_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_FIX = "save the model again without the loop"


class Reading:
    """The state of one reading.

    Attributes:
        builder: where nodes go.
        version: Keras's major version that wrote the file.
        masks: makes the mask of a tensor (bool, batch and time), or a text that says why it cannot be followed.
        findings: what the user must know.
        zeros: tensors that are zero whatever the input is.
    """

    def __init__(self, builder: Builder, version: int) -> None:
        self.builder = builder
        self.version = version
        self.masks: dict[ir.Value, Callable[[], ir.Value] | str] = {}
        self.findings: list[Finding] = []
        self.zeros: set[ir.Value] = set()

    def check(self, network: Network) -> None:
        """Refuse all unknown classes in one error, before anything is built.

        Raises:
            UnsafeModel: layers that hold Python code.
            UnsupportedOp: custom or unknown classes.
        """
        code, unknown = [], []
        for layer in _inner(network.layers):
            if layer.network is not None:
                continue
            text = f"{layer.class_name} '{layer.path}'"
            if layer.class_name in _CODE and not layer.operation:
                code.append(text)
            elif layer.custom or entry(layer) is None:
                unknown.append(text)
        if code:
            raise UnsafeModel(
                f"{len(code)} layers hold Python code, which is never run: {', '.join(code)}",
                "model config",
                "replace them by Keras layers (Rescaling, Reshape, keras.ops …) and save again"
                + (f"; also unknown: {', '.join(unknown)}" if unknown else ""),
            )
        if unknown:
            raise UnsupportedOp(
                f"{len(unknown)} layers of custom or unknown classes: {', '.join(unknown)}",
                "model config",
                "replace them by layers of Keras and save again; weights of quantised training layers (QKeras) "
                "must first be exported to plain layers",
            )

    def run(self, network: Network, inputs: list[ir.Value]) -> list[ir.Value]:
        """Build a network on given inputs and return its outputs.

        Raises:
            BadModel: calls refer to tensors that are not there, or to each other in a circle.
        """
        if network.sequential:
            return self._chain(network, inputs)
        values: dict[tuple[str, int], list[ir.Value]] = {}
        if len(inputs) != len(network.inputs):
            raise BadModel(f"{len(inputs)} inputs, {len(network.inputs)} wanted", f"model {network.name}")
        for ref, value in zip(network.inputs, inputs, strict=True):
            values[ref.layer, ref.node] = [value]
        for layer, number, call in _in_order(network, set(values)):
            args = [_resolve(a, values, layer) for a in call.args]
            kwargs = {k: _resolve(v, values, layer) for k, v in call.kwargs.items()}
            made = self.call(layer, args, kwargs)
            values[layer.name, number] = [made] if isinstance(made, ir.Value) else flatten(made)
        return [_resolve(ref, values, None) for ref in network.outputs]

    def call(self, layer: Layer, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Build one call of a layer; returns a value, or a list of values."""
        tensors = args if not kwargs else flatten([args, kwargs])
        if not all(isinstance(v, ir.Value) for v in tensors):
            tensors = [v for v in flatten([args, kwargs]) if isinstance(v, ir.Value)]
        if layer.network is not None:
            outputs = self.run(layer.network, tensors)
            return outputs[0] if len(outputs) == 1 else outputs
        children(layer)
        known = entry(layer)
        if known is None:
            raise UnsupportedOp(f"unknown layer class {layer.class_name}", f"layer {layer.path}")
        given = kwargs.get("mask")
        if isinstance(given, ir.Value) and tensors and known.masking != "poison":
            self.masks.setdefault(tensors[0], lambda: given)
        with self.builder.layer(layer.path, layer.class_name):
            if not layer.operation and is_float(layer.policy):
                args = self._cast(args, LayerCall(self, layer, args, kwargs).compute)
            made = known.handler(LayerCall(self, layer, args, kwargs))
        masks = [self.masks[v] for v in tensors if v in self.masks]
        if masks and known.masking in ("keep", "poison"):
            alone = known.masking == "keep" and len(tensors) == 1
            mask = masks[0] if alone else f"it passed through '{layer.path}'"
            for value in flatten(made):
                self.masks.setdefault(value, mask)
        return made

    def _cast(self, value: Any, dtype: ir.DataType) -> Any:
        """Floating point tensors at the type that a layer computes in, as Keras casts them."""
        if isinstance(value, list):
            return [self._cast(v, dtype) for v in value]
        if not isinstance(value, ir.Value) or value.dtype in (None, dtype) or not value.dtype.is_floating_point():
            return value
        made = self.builder.op("Cast", [value], {"to": int(dtype)})
        if value in self.masks:
            self.masks[made] = self.masks[value]
        return made

    def _chain(self, network: Network, inputs: list[ir.Value]) -> list[ir.Value]:
        current: Any = inputs[0] if len(inputs) == 1 else inputs
        for layer in network.layers:
            if layer.class_name != "InputLayer":
                current = self.call(layer, [current], {})
        return list(flatten(current))


def _inner(layers: list[Layer]) -> Iterator[Layer]:
    stack = list(reversed(layers))
    while stack:
        layer = stack.pop()
        yield layer
        stack.extend(child for _, child in reversed(children(layer)))


def _resolve(value: Any, values: dict[tuple[str, int], list[ir.Value]], layer: Layer | None) -> Any:
    if isinstance(value, Ref):
        made = values.get((value.layer, value.node))
        if made is None or not 0 <= value.tensor < len(made):
            where = f"layer {layer.path}" if layer is not None else "outputs of the model"
            raise BadModel(f"it refers to a tensor that is not there ({value.layer}, {value.node})", where, _FIX)
        return made[value.tensor]
    if isinstance(value, list):
        return [_resolve(v, values, layer) for v in value]
    if isinstance(value, dict):
        return {k: _resolve(v, values, layer) for k, v in value.items()}
    return value


def _in_order(network: Network, given: set[tuple[str, int]]) -> Iterator[tuple[Layer, int, Call]]:
    """Calls in an order in which every reference is made before it is used; linear in their number."""
    jobs = [
        (layer, index + layer.first_node, call)
        for layer in network.layers
        for index, call in enumerate(layer.calls)
        if (layer.name, index + layer.first_node) not in given
    ]
    waiting: dict[tuple[str, int], list[int]] = {}
    missing = []
    for position, (_, _, call) in enumerate(jobs):
        needs = {(r.layer, r.node) for r in flatten([call.args, call.kwargs]) if isinstance(r, Ref)} - given
        missing.append(len(needs))
        for need in needs:
            waiting.setdefault(need, []).append(position)
    ready = deque(position for position, count in enumerate(missing) if count == 0)
    done = 0
    while ready:
        layer, number, call = jobs[ready.popleft()]
        done += 1
        yield layer, number, call
        for position in waiting.get((layer.name, number), ()):
            missing[position] -= 1
            if missing[position] == 0:
                ready.append(position)
    if done != len(jobs):
        stuck = sorted({jobs[i][0].path for i, count in enumerate(missing) if count})
        raise BadModel(f"the calls of {len(stuck)} layers wait for each other or for nothing: {stuck[:5]}", "", _FIX)
