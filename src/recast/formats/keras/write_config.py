"""The JSON of a Functional model: Keras 3's form for ``.keras``, and for ``.h5`` one that Keras 2 reads too
as long as the model has layers only (operations exist in Keras 3 alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recast.formats.keras.writing._network import Call, Layer, Literal, Network, Tensor

KERAS_VERSION = "3.15.1"  # whose configuration this is; Keras only shows it


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        history = [value.call.layer.name, value.call.index, value.index]
        dtype = "float32" if value.dtype == "?" else value.dtype
        config = {"shape": list(value.shape), "dtype": dtype, "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(value, Literal):
        return value.json
    if isinstance(value, (list, tuple)):
        return [_argument(v) for v in value]
    return value


def _modern_call(call: Call) -> dict[str, Any]:
    return {"args": _argument(list(call.args)), "kwargs": {k: _argument(v) for k, v in call.kwargs.items()}}


def _modern(layer: Layer) -> dict[str, Any]:
    return {
        "module": layer.module,
        "class_name": layer.class_name,
        "config": layer.config,
        "registered_name": None if layer.is_layer else layer.class_name,
        "name": layer.name,
        "inbound_nodes": [] if layer.class_name == "InputLayer" else [_modern_call(c) for c in layer.calls],
    }


def _legacy(layer: Layer) -> dict[str, Any]:
    listed = isinstance(layer.config.get("axis"), list)  # Keras drops such a list when it reads the old form
    if not layer.is_layer or listed or any(c.kwargs for c in layer.calls):
        return _modern(layer)
    config = {**layer.config, "trainable": True}  # in this form that is what tells a layer from an operation
    if layer.class_name == "InputLayer":
        del config["trainable"]
        config["batch_input_shape"] = config.pop("batch_shape")
        config["sparse"] = False
        calls: list[Any] = []
    else:
        calls = [[[t.call.layer.name, t.call.index, t.index, {}] for t in _flat(call.args)] for call in layer.calls]
    return {"class_name": layer.class_name, "config": config, "name": layer.name, "inbound_nodes": calls}


def _flat(args: tuple[Any, ...]) -> list[Tensor]:
    return list(args[0]) if isinstance(args[0], list) else list(args)


def _ends(tensors: Sequence[Tensor]) -> list[Any]:
    ends: list[Any] = [[t.call.layer.name, t.call.index, t.index] for t in tensors]
    return ends[0] if len(ends) == 1 else ends


def model_config(network: Network, layers: Sequence[Layer], name: str, legacy: bool) -> dict[str, Any]:
    """The configuration of the whole model as JSON-ready data."""
    config = {
        "name": name,
        "trainable": True,
        "layers": [_legacy(layer) if legacy else _modern(layer) for layer in layers],
        "input_layers": _ends(network.inputs),
        "output_layers": _ends(network.outputs),
    }
    if legacy:
        return {"class_name": "Functional", "config": config}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
        "compile_config": None,
    }
