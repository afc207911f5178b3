"""Keras 1 files: config entries and weights in the terms of Keras 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast.errors import BadModel, UnsupportedOp
from recast.formats.keras.config import Layer
from recast.formats.keras.hdf5 import Dataset

_CLASSES = {
    **{"Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D"},
    **{"AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D", "TimeDistributedDense": "Dense"},
    **{"SeparableConvolution2D": "SeparableConv2D"},
}
_KEYS = {
    **{"output_dim": "units", "nb_filter": "filters", "filter_length": "kernel_size", "subsample": "strides"},
    **{"subsample_length": "strides", "border_mode": "padding", "bias": "use_bias", "p": "rate", "sigma": "stddev"},
    **{"inner_activation": "recurrent_activation", "pool_length": "pool_size", "stride": "strides"},
    **{"atrous_rate": "dilation_rate", "length": "size", "input_dtype": "dtype"},
}
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"}
_GATED = {"LSTM": ("i", "c", "f", "o"), "GRU": ("z", "r", "h")}
_FIX = "load and save the model with Keras 2"


def modern(class_name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class name and config of Keras 1 as Keras 2 writes them.

    Raises:
        UnsupportedOp: a mode that Keras 2 does not have any more.
    """
    keep_dim = class_name == "Embedding"
    out = {k if keep_dim and k == "output_dim" else _KEYS.get(k, k): v for k, v in config.items()}
    if "dim_ordering" in out and class_name != "Flatten":
        out["data_format"] = "channels_first" if out.pop("dim_ordering") == "th" else "channels_last"
    if "nb_row" in out:
        out["kernel_size"] = [out.pop("nb_row"), out.pop("nb_col")]
    if "kernel_dim1" in out:
        out["kernel_size"] = [out.pop(f"kernel_dim{n}") for n in (1, 2, 3)]
    if class_name == "Merge":
        return _merge(out)
    if class_name == "BatchNormalization" and out.get("mode", 0) == 1:
        raise UnsupportedOp("BatchNormalization of Keras 1 with mode=1", f"layer {config.get('name')}", _FIX)
    if class_name == "GRU":
        out["reset_after"] = False
    return _CLASSES.get(class_name, class_name), out


def _merge(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    mode = config.get("mode")
    if mode not in _MERGES or config.get("layers"):
        raise UnsupportedOp(f"Merge of Keras 1 with mode '{mode}'", f"layer {config.get('name')}", _FIX)
    return _MERGES[mode], {**config, "axis": config.get("concat_axis", -1), "axes": config.get("dot_axes", -1)}


@dataclass
class Held:
    """A weight that was rearranged while binding."""

    made: Callable[[], np.ndarray]
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """The array."""
        return self.made()


def bind_keras1(layer: Layer, held: list[Dataset]) -> None:
    """Give a layer the weights of a Keras 1 file.

    Raises:
        BadModel: their number does not fit.
        UnsupportedOp: a layer around other layers.
    """
    from recast.formats.keras.weights import children, roles

    own = [role.lstrip("~") for role in roles(layer)]
    inner = children(layer)
    if layer.class_name in ("LSTM", "GRU", "SimpleRNN"):
        _bind_recurrent(layer, inner[0][1], held)
        return
    if inner and held:
        raise UnsupportedOp(f"{layer.class_name} with weights of Keras 1", f"layer {layer.path}", _FIX)
    if len(own) != len(held):
        raise BadModel(f"{len(held)} weights in the file, {len(own)} expected", f"layer {layer.path}", _FIX)
    for role, dataset in zip(own, held, strict=True):
        layer.weights[role] = _oriented(layer, role, dataset)


def _oriented(layer: Layer, role: str, dataset: Dataset) -> Dataset | Held:
    """Kernels of channels_first layers are (out, in, *k); the others (*k, in, out)."""
    if role != "kernel" or not layer.class_name.startswith("Conv"):
        return dataset
    if layer.config.get("data_format") == "channels_first":
        raise UnsupportedOp(
            "a convolution of Keras 1 with dim_ordering='th' (the file does not say whether kernels are flipped)",
            f"layer {layer.path}",
            _FIX,
        )
    if layer.class_name == "Conv1D" and len(dataset.shape) == 4:  # kept as (length, 1, in, out)
        length, one, *rest = dataset.shape
        if one != 1:
            raise BadModel(f"a kernel of shape {dataset.shape}", f"layer {layer.path}", _FIX)
        return Held(lambda: dataset.read()[:, 0], (length, *rest))
    return dataset


def _bind_recurrent(layer: Layer, cell: Layer, held: list[Dataset]) -> None:
    gates = _GATED.get(layer.class_name)
    if gates is None:
        cell.weights.update(zip(("kernel", "recurrent_kernel", "bias"), held, strict=True))
        return
    if len(held) != 3 * len(gates):
        raise BadModel(f"{len(held)} weights, {3 * len(gates)} expected", f"layer {layer.path}", _FIX)
    order = ("i", "f", "c", "o") if layer.class_name == "LSTM" else gates
    for position, role in enumerate(("kernel", "recurrent_kernel", "bias")):
        parts = [held[3 * gates.index(gate) + position] for gate in order]
        shape = (*parts[0].shape[:-1], sum(p.shape[-1] for p in parts))
        cell.weights[role] = Held(lambda parts=parts: np.concatenate([p.read() for p in parts], -1), shape)  # type: ignore[misc]
