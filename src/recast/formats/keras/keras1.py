"""Keras 1 files: config entries and weights in the terms of Keras 2."""

from __future__ import annotations

from typing import Any

from recast.errors import UnsupportedOp
from recast.formats.keras.config import Layer
from recast.formats.keras.hdf5 import Dataset


def modern(class_name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class name and config of Keras 1 as Keras 2 writes them."""
    return class_name, config


def bind_keras1(layer: Layer, held: list[Dataset]) -> None:
    """Give a layer the weights of a Keras 1 file."""
    if held:
        raise UnsupportedOp("weights of Keras 1", f"layer {layer.path}", "load and save the model with Keras 2")
