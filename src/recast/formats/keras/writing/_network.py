"""A Keras Functional model as plain data: layers, their calls, their weights. Nothing here knows ONNX or Keras.

Keras finds weights by position, not by name, so the order of ``model.layers`` has to be known exactly:
``ordered`` reproduces it (layers by their distance from the outputs, then by first visit of a depth-first
walk that starts at the outputs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]
LAYERS = "keras.layers"


@dataclass(frozen=True)
class Weight:
    """One variable of a layer.

    Attributes:
        role: its name inside the layer: ``kernel``, ``forward_lstm/lstm_cell/bias``.
        load: gives the array when it is written.
        group: where it lies below the layer in ``model.weights.h5``: ``cell``, ``forward_layer/cell``.
        kind: ``trainable``, ``frozen`` (an untrained weight) or ``state`` (left out of ``.h5`` files).
    """

    role: str
    load: Callable[[], np.ndarray]
    group: str = ""
    kind: str = "trainable"


@dataclass(eq=False)
class Layer:
    """A layer (``module`` is ``keras.layers``) or an operation (``keras.src.ops.…``) and all its calls."""

    class_name: str
    config: dict[str, Any]
    name: str
    module: str = LAYERS
    weights: tuple[Weight, ...] = ()
    calls: list[Call] = field(default_factory=list)

    @property
    def is_layer(self) -> bool:
        """Whether Keras counts it among ``model.layers``."""
        return self.module == LAYERS


@dataclass(eq=False)
class Call:
    """One use of a layer: positional and keyword arguments (tensors and plain data, nested in lists)."""

    layer: Layer
    index: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def parents(self) -> list[Call]:
        """The calls whose tensors this one takes, in argument order."""
        return [t.call for t in tensors_in([*self.args, *self.kwargs.values()])]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A symbolic tensor: output ``index`` of a call. ``dtype`` is what it has at run time in Keras."""

    call: Call
    index: int
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Literal:
    """An argument that is plain data in Keras's own serialised form: an array, a slice."""

    json: Any


def array_literal(array: np.ndarray) -> Literal:
    """A small array as an argument of an operation."""
    value = array.astype(np.float32).tolist() if array.dtype.name == "bfloat16" else array.tolist()
    return Literal({"class_name": "__numpy__", "config": {"value": value, "dtype": array.dtype.name}})


def slice_literal(start: int | None, stop: int | None, step: int | None) -> Literal:
    """One axis of an indexing operation."""
    return Literal({"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}})


def tensors_in(arguments: Any) -> Iterator[Tensor]:
    """All tensors in nested arguments, in order."""
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, dict):
        for value in arguments.values():
            yield from tensors_in(value)
    elif isinstance(arguments, (list, tuple)):
        for value in arguments:
            yield from tensors_in(value)


def safe_name(name: str, otherwise: str = "layer") -> str:
    """A name that every Keras backend accepts: letters, digits, ``_`` and ``-``, starting with a letter or digit."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name).lstrip("_-").rstrip("_")
    return plain[:180] or otherwise


class Network:
    """Collects the layers of one Functional model."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self._names: set[str] = set()
        self._shared: dict[Any, Layer] = {}

    def reserve(self, name: str) -> str:
        """A unique layer name made from the wanted one."""
        base = safe_name(name)
        unique, count = base, 0
        while unique in self._names:
            count += 1
            unique = f"{base}_{count}"
        self._names.add(unique)
        return unique

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        """Add an input layer."""
        unique = self.reserve(name)
        layer = Layer("InputLayer", {"batch_shape": list(shape), "dtype": dtype, "name": unique}, unique)
        self.layers.append(layer)
        call = Call(layer, 0, (), {})
        layer.calls.append(call)
        tensor = Tensor(call, 0, shape, dtype)
        self.inputs.append(tensor)
        return tensor

    def call(
        self, layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[tuple[Shape, str]]
    ) -> list[Tensor]:
        """Call a layer once more; ``outputs`` gives each result's shape and dtype."""
        if not layer.calls:
            self.layers.append(layer)
        call = Call(layer, len(layer.calls), tuple(args), dict(kwargs))
        layer.calls.append(call)
        return [Tensor(call, index, shape, dtype) for index, (shape, dtype) in enumerate(outputs)]

    def shared(self, layer: Layer, key: Any) -> Layer:
        """The layer that already holds the same weights with the same settings, else ``layer`` itself."""
        config = {k: v for k, v in layer.config.items() if k != "name"}
        return self._shared.setdefault((layer.class_name, json.dumps(config, sort_keys=True), key), layer)


def _walk(network: Network) -> tuple[list[Call], dict[Layer, int]]:
    """Calls in postorder of a depth-first walk from the outputs; layers by first visit."""
    finished: list[Call] = []
    done: set[Call] = set()
    first_visit: dict[Layer, int] = {}
    for output in network.outputs:
        stack: list[tuple[Call, Iterator[Call]]] = []
        pending: Call | None = output.call
        while pending is not None or stack:
            if pending is not None:
                if pending not in done:
                    first_visit.setdefault(pending.layer, len(first_visit))
                    stack.append((pending, iter(pending.parents())))
                pending = None
                continue
            call, parents = stack[-1]
            pending = next(parents, None)
            if pending is None:
                stack.pop()
                if call not in done:
                    done.add(call)
                    finished.append(call)
    return finished, first_visit


def ordered(network: Network) -> list[Layer]:
    """The layers and operations that the outputs need (and all inputs), in the order of Keras's ``model.layers``."""
    finished, first_visit = _walk(network)
    inside = set(finished)
    call_depth: dict[Call, int] = {}
    layer_depth: dict[Layer, int] = {}
    for call in reversed(finished):
        depth = max(call_depth.get(call, 0), layer_depth.get(call.layer, 0))
        call_depth[call] = layer_depth[call.layer] = depth
        for parent in call.parents():
            if parent in inside:
                call_depth[parent] = max(call_depth.get(parent, 0), depth + 1)
    for tensor in network.inputs:
        if tensor.call.layer not in layer_depth:
            layer_depth[tensor.call.layer] = 0
            first_visit[tensor.call.layer] = -1
    for layer in layer_depth:
        layer.calls = [c for c in layer.calls if c in inside or layer.class_name == "InputLayer"]
        for index, call in enumerate(layer.calls):
            call.index = index
    return sorted(layer_depth, key=lambda layer: (-layer_depth[layer], first_visit[layer]))
