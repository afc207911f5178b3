"""Keras judges the reader: random weights, saved, read, run in ONNX Runtime, compared."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from recast.formats._format import ReadOptions
from recast.formats.keras.read import read


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Random weights; variances stay positive."""
    from keras import layers

    for weight in model.variables:
        if weight.dtype != "float32":
            continue
        value = rng.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)
    for layer in model.layers:
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            layer.finalize_state()


def reference(model: Any, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Keras's outputs, flat."""
    import keras

    return [np.asarray(v) for v in keras.tree.flatten(model(feeds[0] if len(feeds) == 1 else feeds, training=False))]


def converted(path: Path, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of the graph that the reader makes, in ONNX Runtime."""
    model = read(path, ReadOptions())
    for node in model.graph:
        assert all(v.shape is not None and v.dtype is not None for v in node.outputs), node.name
    session = onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    declared = [[d if isinstance(d, int) else None for d in v.shape] for v in model.graph.outputs]
    names = [i.name for i in session.get_inputs()]
    got = session.run(None, dict(zip(names, feeds, strict=True)))
    for shape, value in zip(declared, got, strict=True):
        assert len(shape) == value.ndim
        assert all(d is None or d == v for d, v in zip(shape, value.shape, strict=True))
    return got


def agree(model: Any, feeds: list[np.ndarray], folder: Path, suffixes: tuple[str, ...] = (".keras", ".h5")) -> None:
    """Save, read, run, compare."""
    wanted = reference(model, feeds)
    for suffix in suffixes:
        path = folder / f"model{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(path)
        for want, got in zip(wanted, converted(path, feeds), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=suffix)
