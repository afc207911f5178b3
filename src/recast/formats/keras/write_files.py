"""The files: a ``.keras`` archive or an HDF5 file in Keras's old layout, one weight in memory at a time.

The same model gives the same bytes: no dates, no times.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from recast._util import pages
from recast.formats.keras.write_config import KERAS_VERSION
from recast.formats.keras.writing._network import Layer

_EPOCH = (1980, 1, 1, 0, 0, 0)
_ATTRIBUTE_LIMIT = 64_512  # HDF5 keeps attributes in object headers of at most this many bytes


def snake_case(class_name: str) -> str:
    """``Conv2DTranspose`` → ``conv2d_transpose``: what Keras calls a layer's group in ``model.weights.h5``."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def write_archive(path: Path, config: dict[str, Any], layers: Sequence[Layer]) -> None:
    """Write a ``.keras`` file."""
    with (
        tempfile.TemporaryFile(dir=path.parent) as weights,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,
    ):
        _write_weights(weights, layers)
        metadata = {"keras_version": KERAS_VERSION, "date_saved": "1980-01-01@00:00:00"}
        archive.writestr(_member("metadata.json"), json.dumps(metadata))
        archive.writestr(_member("config.json"), json.dumps(config))
        weights.seek(0)
        with archive.open(_member("model.weights.h5"), "w", force_zip64=True) as target:
            shutil.copyfileobj(weights, target, 1 << 20)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _write_weights(stream: IO[bytes], layers: Sequence[Layer]) -> None:
    used: dict[str, int] = {}
    with h5py.File(stream, "w") as file:
        file.create_group("vars")
        for layer in layers:
            if not layer.is_layer:
                continue
            base = snake_case(layer.class_name)
            count = used.get(base, -1) + 1
            used[base] = count
            name = f"{base}_{count}" if count else base
            numbers: dict[str, int] = {}
            variables = file.create_group(f"layers/{name}/vars")
            variables.attrs["name"] = layer.name
            for weight in layer.weights:
                index = numbers.get(weight.group, 0)
                numbers[weight.group] = index + 1
                below = f"{weight.group}/vars" if weight.group else "vars"
                _dataset(file, f"layers/{name}/{below}/{index}", weight.load())


def _dataset(file: h5py.File, name: str, array: np.ndarray) -> None:
    data = file.create_dataset(name, data=array)
    if array.dtype.name == "bfloat16":
        data.attrs["dtype"] = "bfloat16"
    pages.used(array.nbytes)


def write_hdf5(path: Path, config: dict[str, Any], layers: Sequence[Layer]) -> None:
    """Write an ``.h5`` file."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = KERAS_VERSION
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        weights = file.create_group("model_weights")
        weights.attrs["backend"] = b"tensorflow"
        weights.attrs["keras_version"] = KERAS_VERSION.encode()
        real = [layer for layer in layers if layer.is_layer]
        _names(weights, "layer_names", [layer.name for layer in real])
        for layer in real:
            group = weights.create_group(layer.name)
            kept = [w for w in layer.weights if w.kind == "trainable"]
            kept += [w for w in layer.weights if w.kind == "frozen"]
            names = [f"{layer.name}/{w.role}:0" for w in kept]
            _names(group, "weight_names", names)
            for name, weight in zip(names, kept, strict=True):
                _dataset(group, name, weight.load())
        _names(weights.create_group("top_level_model_weights"), "weight_names", [])


def _names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    data = np.asarray([n.encode() for n in names])
    parts = [data]
    while any(p.nbytes > _ATTRIBUTE_LIMIT for p in parts):
        parts = np.array_split(data, len(parts) + 1)
    if len(parts) == 1:
        group.attrs[attribute] = data
        return
    for index, part in enumerate(parts):
        group.attrs[f"{attribute}{index}"] = part
