"""A model's JSON config of any Keras version as one structure: networks of layers, their calls and references.

Keras 1 and 2 write ``inbound_nodes`` as nested lists, Keras 3 as ``{"args", "kwargs"}``; a Sequential model lists its
layers only. All become ``Network``, ``Layer``, ``Call``, ``Ref``. Nothing is looked up or imported by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recast._util.bounded import MAX_DEPTH, MAX_NODES
from recast.errors import BadModel, UnsafeModel, UnsupportedOp

NETWORKS = ("Functional", "Sequential", "Model", "Container", "Graph")
_DAMAGED = "the file is damaged or was edited: save the model again"


@dataclass(frozen=True)
class Ref:
    """Output ``tensor`` of call ``node`` of a layer."""

    layer: str
    node: int
    tensor: int


@dataclass
class Call:
    """One call of a layer; ``Ref`` objects stand for tensors anywhere inside."""

    args: list[Any]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Layer:
    """One layer: its config in Keras 2/3 terms, its calls, and the network inside if it is a model.

    ``weights`` (role path → dataset) is filled by ``weights.bind``; ``values`` caches what readers made of them.
    """

    class_name: str
    name: str
    config: dict[str, Any]
    path: str = ""
    calls: list[Call] = field(default_factory=list)
    operation: bool = False
    custom: bool = False
    network: Network | None = None
    first_node: int = 0
    weights: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def policy(self) -> str:
        """The type the layer computes in: ``float16``; anything that the config does not say is ``float32``."""
        given = self.config.get("dtype")
        if isinstance(given, dict):
            inner = given.get("config")
            given = inner.get("name") if isinstance(inner, dict) else None
        return str(given or "float32")


@dataclass
class Network:
    """A Sequential or functional model. ``inputs`` and ``outputs`` are empty for Sequential."""

    name: str
    sequential: bool
    layers: list[Layer]
    inputs: list[Ref] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)

    def all_layers(self) -> Iterator[Layer]:
        """Every layer, also those of inner networks."""
        for layer in self.layers:
            yield layer
            if layer.network is not None:
                yield from layer.network.all_layers()


def parse_network(data: Any, version: int, prefix: str = "", depth: int = 0) -> Network:
    """Parse ``{"class_name", "config"}`` of a model.

    Args:
        data: the decoded JSON of the model.
        version: Keras's major version that wrote it.
        prefix: path of the enclosing model.
        depth: nesting so far.

    Raises:
        BadModel: the config contradicts itself.
    """
    if depth > 50:
        raise BadModel("models are nested more than 50 deep", prefix, _DAMAGED)
    class_name, config = data.get("class_name"), data.get("config")
    if class_name not in NETWORKS:
        raise UnsupportedOp(
            f"the model is of the custom class '{class_name}', whose code may do anything with its layers",
            prefix or "model config",
            "rebuild it as keras.Model(inputs, outputs) or Sequential and save again",
        )
    if isinstance(config, list):  # Keras 1 Sequential
        config = {"name": data.get("name") or class_name.lower(), "layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise BadModel(
            f"the model '{class_name}' has no layers in its config",
            prefix or "model config",
            "subclassed models cannot be read without their code: rebuild as Functional or Sequential",
        )
    if len(config["layers"]) > MAX_NODES:
        raise BadModel("too many layers", prefix or "model config", _DAMAGED)
    sequential = class_name == "Sequential" or "output_layers" not in config
    network = Network(str(config.get("name", class_name)), sequential, [])
    for item in config["layers"]:
        network.layers.append(parse_layer(item, version, prefix, depth))
    names = [layer.name for layer in network.layers]
    if len(set(names)) != len(names):
        raise BadModel("two layers have the same name", prefix or "model config", _DAMAGED)
    if not sequential:
        network.inputs = _refs(config.get("input_layers", []))
        network.outputs = _refs(config["output_layers"])
        _number_inner_nodes(network, version)
    return network


def parse_layer(item: dict[str, Any], version: int, prefix: str = "", depth: int = 0) -> Layer:
    """Parse one layer's ``{"class_name", "config", "inbound_nodes"}``.

    Raises:
        BadModel: the config contradicts itself.
    """
    if not isinstance(item, dict) or not isinstance(item.get("class_name"), str):
        raise BadModel("a layer without class_name", prefix or "model config", _DAMAGED)
    class_name = item["class_name"].split(">")[-1]
    config = item.get("config", {})
    raw = config if isinstance(config, dict) else {}
    name = str(item.get("name") or raw.get("name") or class_name.lower())
    module = str(item.get("module") or "")
    path = f"{prefix}{name}"
    network = None
    if class_name in NETWORKS or (class_name == "Sequential" and isinstance(config, list)):
        network = parse_network(item, version, path + "/", depth + 1)
    elif version == 1:
        from recast.formats.keras.keras1 import modern

        class_name, raw = modern(class_name, raw)
    bare = not module and version >= 3 and network is None and "trainable" not in raw
    operation = ".ops." in module or (bare and _is_operation(class_name))
    layer = Layer(class_name, name, raw, path, operation=operation, custom=_is_custom(item), network=network)
    for node in item.get("inbound_nodes") or []:
        layer.calls.append(_call(node, path))
    return layer


_OWN_MODULES = ("keras", "tf_keras", "tensorflow", "tensorflow_keras")
_OF_APPLICATIONS = ("LayerScale", "CustomScaleLayer")


def _is_custom(item: dict[str, Any]) -> bool:
    """Whether a class is not Keras's own, even if it has the name of one of Keras's."""
    name, registered = item["class_name"], item.get("registered_name")
    if name.split(">")[-1] in _OF_APPLICATIONS:
        return False
    module = str(item.get("module") or "keras").split(".")[0]
    return ">" in name or ">" in str(registered or "") or module not in _OWN_MODULES


def _is_operation(class_name: str) -> bool:
    """Whether a class without module (Keras 3 in .h5 files) is an operation; layers always say ``trainable``."""
    from recast.formats.keras.reading import entries

    return f"ops.{class_name}" in entries()


def _call(node: Any, where: str) -> Call:
    if isinstance(node, dict):
        return Call(list(decode(node.get("args", []))), dict(decode(node.get("kwargs", {}))))
    if not isinstance(node, list):
        raise BadModel("an unknown form of inbound_nodes", f"layer {where}", _DAMAGED)
    if node and isinstance(node[0], str):
        node = [node]
    tensors: list[Any] = []
    kwargs: dict[str, Any] = {}
    for entry in node:
        if not isinstance(entry, list) or len(entry) < 3 or not isinstance(entry[0], str):
            raise BadModel("an unknown form of inbound_nodes", f"layer {where}", _DAMAGED)
        extra = entry[3] if len(entry) > 3 and isinstance(entry[3], dict) else {}
        if entry[0] == "_CONSTANT_VALUE":
            tensors.append(decode(entry[2]))
        else:
            tensors.append(Ref(entry[0], int(entry[1]), int(entry[2])))
        kwargs.update({key: _list_style(value) for key, value in extra.items()})
    return Call([tensors[0] if len(tensors) == 1 else tensors], kwargs)


def _list_style(value: Any, depth: int = 0) -> Any:
    """Keras 2 keyword arguments: ``[layer, node, tensor]`` is a tensor, ``["_CONSTANT_VALUE", -1, v]`` a constant."""
    if isinstance(value, list) and depth < MAX_DEPTH:
        if len(value) >= 3 and value[0] == "_CONSTANT_VALUE":
            return decode(value[2])
        if len(value) in (3, 4) and isinstance(value[0], str) and all(type(v) is int for v in value[1:3]):
            return Ref(value[0], value[1], value[2])
        return [_list_style(v, depth + 1) for v in value]
    return decode(value)


def decode(value: Any, depth: int = 0) -> Any:
    """JSON of ``serialize_keras_object`` as Python values: tensors become ``Ref``, arrays NumPy, slices ``slice``.

    Raises:
        BadModel: deeper than ``MAX_DEPTH``.
        UnsafeModel: serialised code.
    """
    if depth > MAX_DEPTH:
        raise BadModel("the config is nested too deeply", "model config", _DAMAGED)
    if isinstance(value, list):
        return [decode(v, depth + 1) for v in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, dict):
        history = config.get("keras_history")
        if not isinstance(history, list) or len(history) != 3:
            raise BadModel("a tensor without history", "model config", _DAMAGED)
        return Ref(str(history[0]), int(history[1]), int(history[2]))
    if kind == "__tuple__":
        return [decode(v, depth + 1) for v in value.get("items", [])]
    if kind in ("__numpy__", "__tensor__") and isinstance(config, dict):
        return np.asarray(config.get("value"), dtype=str(config.get("dtype")))
    if kind == "__slice__" and isinstance(config, dict):
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__lambda__":
        raise UnsafeModel(
            "the config contains Python code (a lambda)", "model config", "replace the lambda by layers, save again"
        )
    return {k: decode(v, depth + 1) for k, v in value.items()}


def flatten(value: Any) -> list[Any]:
    """Leaves of nested lists and dicts (dicts sorted by key, as Keras does)."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flatten(item)]
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in flatten(value[key])]
    return [value]


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        return [Ref(value[0], int(value[1]), int(value[2]))]
    if isinstance(value, list):
        return [ref for item in value for ref in _refs(item)]
    if isinstance(value, dict):
        return [ref for key in sorted(value) for ref in _refs(value[key])]
    raise BadModel("inputs or outputs of the model are not named", "model config", _DAMAGED)


def call_refs(network: Network) -> list[Ref]:
    """References in the arguments of all calls of a network."""
    return [
        leaf
        for layer in network.layers
        for call in layer.calls
        for leaf in flatten([call.args, call.kwargs])
        if isinstance(leaf, Ref)
    ]


def _number_inner_nodes(network: Network, version: int) -> None:
    """Find which number a nested model's first call has.

    Keras 2 counts a nested model's own construction as call 0, so that references start at 1; Keras 3 does so in
    ``output_layers`` only, and not for Sequential; Keras 1 never. In old files the references decide: every call
    that a file keeps is used, so either number 0 is in use or the highest number is the count of calls.
    """
    inner = {layer.name: layer for layer in network.layers if layer.network is not None and layer.calls}
    if not inner:
        return
    if version >= 3:
        for index, ref in enumerate(network.outputs):
            found = inner.get(ref.layer)
            if found is not None and found.network is not None and not found.network.sequential:
                network.outputs[index] = Ref(ref.layer, ref.node - 1, ref.tensor)
        return
    used: dict[str, list[int]] = {name: [] for name in inner}
    for ref in [*call_refs(network), *network.outputs]:
        if ref.layer in used:
            used[ref.layer].append(ref.node)
    for name, layer in inner.items():
        nodes = used[name]
        if nodes and min(nodes) >= 1 and max(nodes) == len(layer.calls):
            layer.first_node = 1
        elif nodes and min(nodes) >= 1:
            raise BadModel("which call of the nested model is meant is not clear", f"layer {layer.path}", _DAMAGED)
