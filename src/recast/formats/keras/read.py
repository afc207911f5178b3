"""Read a Keras file into the graph dialect: config and weights are parsed, no Keras is imported, nothing is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from recast._util.bounded import as_bad_model, open_bytes
from recast.errors import BadModel, UnsupportedType
from recast.formats._format import ReadOptions
from recast.formats.keras.archive import CONFIG, METADATA, WEIGHTS, Archive
from recast.formats.keras.config import Layer, Network, parse_network
from recast.formats.keras.hdf5 import Group, open_hdf5, text
from recast.formats.keras.network import Reading
from recast.formats.keras.weights import bind_archive, bind_legacy
from recast.graph.build import Builder, name_dims
from recast.graph.finding import attach

_ZIP = b"PK\x03\x04"
_MAX_CONFIG_BYTES = 256 << 20


@dataclass
class Source:
    """A Keras file taken apart: network, Keras's major version, and where the weights are."""

    network: Network
    version: int
    config: dict[str, Any]
    weights: Group
    archive: bool


def load(path: Path) -> Source:
    """Parse a file's config and open its weights.

    Raises:
        BadModel, TooLarge, UnsafeModel: the file is damaged, not a whole model, or not harmless.
    """
    try:
        data = open_bytes(path)
        return _load_archive(path) if bytes(data[:4]) == _ZIP else _load_hdf5(data, path)
    except Exception as error:  # JSON, HDF5 and zip parsers raise anything on damaged files
        raise as_bad_model(error, str(path)) from error


def _load_archive(path: Path) -> Source:
    archive = Archive(path)
    config = json.loads(bytes(archive.member(CONFIG)))
    metadata = json.loads(bytes(archive.member(METADATA))) if METADATA in archive.names() else {}
    version = _major(metadata.get("keras_version", "3"))
    if WEIGHTS not in archive.names():
        raise BadModel(f"the archive has no '{WEIGHTS}'", str(path), "save the whole model into one file")
    file = open_hdf5(archive.member(WEIGHTS), f"{path}: {WEIGHTS}")
    return Source(parse_network(config, version), version, config, file.root, True)


def _load_hdf5(data: memoryview, path: Path) -> Source:
    root = open_hdf5(data, str(path)).root
    if "model_config" not in root.attrs:
        raise BadModel(
            "the file holds weights without the model's structure", str(path), "save the whole model: model.save(…)"
        )
    config = json.loads(text(root.attrs["model_config"]))
    weights = root.group("model_weights")
    if weights is None:
        raise BadModel("the file holds a model's structure without weights", str(path), "save with model.save(…)")
    version = _major(text(root.attrs.get("keras_version", weights.attrs.get("keras_version", "1"))))
    return Source(parse_network(config, version), version, config, weights, False)


def _major(version: str) -> int:
    head = str(version).split(".")[0]
    return int(head) if head.isdigit() else 3


def read(path: Path, options: ReadOptions) -> ir.Model:
    """Read ``.keras``, ``.h5`` or ``.hdf5``.

    Args:
        path: the file.
        options: ``inputs`` fixes input shapes by name.

    Returns:
        The graph; inputs and outputs carry the names of Keras's input layers and output layers.

    Raises:
        BadModel, BadShape, TooLarge, UnsafeModel, UnsupportedOp, UnsupportedType.
    """
    source = load(path)
    try:
        return _build(source, options)
    except Exception as error:  # a damaged config can break any assumption
        raise as_bad_model(error, str(path)) from error


def _build(source: Source, options: ReadOptions) -> ir.Model:
    network = source.network
    inputs, outputs = input_layers(network), output_names(network)
    builder = Builder(network.name, names=set(outputs))
    reading = Reading(builder, source.version)
    reading.check(network)
    _check_types(network, reading)
    if source.archive:
        bind_archive(network, source.weights)
    else:
        bind_legacy(network, source.weights, source.version)
    values = [_input(builder, layer, name, options) for name, layer in inputs]
    results = reading.run(network, values)
    if len(results) != len(outputs):
        raise BadModel(f"{len(results)} outputs, {len(outputs)} wanted", "outputs of the model")
    for value, name in zip(results, outputs, strict=True):
        if value in builder.outputs or value in builder.inputs or value.producer() is None:
            value = builder.op("Identity", [value])
        value.name = name
        builder.outputs.append(value)
    builder.drop_unused()
    model = builder.model()
    name_dims(model)
    attach(model, reading.findings)
    return model


def input_layers(network: Network) -> list[tuple[str, Layer]]:
    """Names and layers of the inputs, in the model's order.

    Raises:
        BadModel: the input's shape is not in the config.
    """
    if network.sequential:
        if not network.layers:
            raise BadModel("the model has no layers", f"model {network.name}")
        head = network.layers[0]
        if head.class_name == "InputLayer":
            return [(head.name, head)]
        if head.network is not None and _input_shape(head) is None:
            return input_layers(head.network)
        return [(f"{head.name}_input", head)]
    by_name = {layer.name: layer for layer in network.layers}
    if any(ref.layer not in by_name for ref in network.inputs):
        raise BadModel("an input layer is not among the layers", f"model {network.name}")
    return [(ref.layer, by_name[ref.layer]) for ref in network.inputs]


def output_names(network: Network) -> list[str]:
    """Names of the outputs: the layers that make them, numbered where one makes several."""
    taken = {name for name, _ in input_layers(network)}
    wanted = [ref.layer for ref in network.outputs]
    if network.sequential:
        wanted = [network.layers[-1].name]
    names = []
    for name in wanted:
        unique, count = name, 0
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        names.append(unique)
    return names


def _input_shape(layer: Layer) -> list[int | None] | None:
    for key in ("batch_shape", "batch_input_shape"):
        shape = layer.config.get(key)
        if isinstance(shape, list):
            return shape
    return None


def _input(builder: Builder, layer: Layer, name: str, options: ReadOptions) -> ir.Value:
    shape = _input_shape(layer)
    if shape is None and layer.class_name == "Embedding":
        shape = [None, layer.config.get("input_length")]
    if shape is None:
        raise BadModel(
            "the shape of the input is not in the file", f"layer {layer.path}", "build the model before saving it"
        )
    wanted: list[int | str | None] = [
        d if isinstance(d, int) else ("batch" if i == 0 else f"{name}_{i}") for i, d in enumerate(shape)
    ]
    if name in options.inputs:
        given = list(options.inputs[name])
        if len(given) != len(wanted):
            raise BadModel(f"input '{name}' has {len(wanted)} axes, {len(given)} given", f"layer {layer.path}")
        wanted = [w if isinstance(w, int) and i else g for i, (w, g) in enumerate(zip(wanted, given, strict=True))]
    dtype = layer.config.get("dtype") or "float32"
    if isinstance(dtype, dict) or "mixed" in str(dtype) or layer.class_name != "InputLayer":
        dtype = "float32"
    try:
        element = ir.DataType[str(dtype).upper().replace("FLOAT32", "FLOAT").replace("FLOAT64", "DOUBLE")]
    except KeyError as error:
        raise UnsupportedType(
            f"input of type {dtype}", f"layer {layer.path}", "give the input a number type"
        ) from error
    return builder.input(name, element, wanted)


def _check_types(network: Network, reading: Reading) -> None:
    mixed, other = [], []
    for layer in network.all_layers():
        policy = layer.policy
        if layer.class_name == "InputLayer" or policy in ("float16", "float32", "float64"):
            continue
        if policy.startswith("mixed_"):
            mixed.append(layer.path)
        elif not layer.operation and layer.network is None and policy.startswith(("float", "bfloat", "int8_from")):
            other.append(f"{layer.path} ({policy})")
    if other:
        raise UnsupportedType(
            f"{len(other)} layers do not compute in floats of 16, 32 or 64 bits: {', '.join(other[:8])}",
            "model config",
            "set the layers' dtype policy to float32 and save again",
        )
    if mixed:
        from recast.graph.finding import Finding

        reading.findings.append(
            Finding(f"{len(mixed)} layers of mixed precision are computed in float32, more exactly than in Keras")
        )
