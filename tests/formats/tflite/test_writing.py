"""Every operator as LiteRT computes it against ONNX Runtime, at batch 1 and 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import tflite_catalogue_shapes
from tflite_catalogue import CASES
from tflite_graphs import Judge, run_onnx

from recast.formats._format import WriteOptions
from recast.formats.tflite import FORMAT
from recast.graph.build import Builder

assert tflite_catalogue_shapes.case


def build(make, rng: np.random.Generator) -> ir.Model:
    b = Builder("net")
    made = make(b, rng)
    for index, value in enumerate(made if isinstance(made, list) else [made]):
        b.output(value, f"out{index}")
    return b.model()


def feeds_of(model: ir.Model, batch: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        shape = [d if isinstance(d, int) else (batch if d.value == "batch" else 5) for d in value.shape]
        if value.dtype == ir.DataType.FLOAT:
            feeds[value.name] = np.asarray(rng.normal(size=shape) * 2, np.float32)
        elif value.dtype == ir.DataType.BOOL:
            feeds[value.name] = rng.integers(0, 2, size=shape).astype(bool)
        else:
            feeds[value.name] = rng.integers(0, 11, size=shape).astype(value.dtype.numpy())
    return feeds


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    model = build(CASES[name], rng)
    path = tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    dynamic = any("batch" in str(v.shape) for v in model.graph.inputs)
    for batch in (1, 3) if dynamic else (1,):
        feeds = feeds_of(model, batch, rng)
        _, found = litert.run(path, feeds)
        wanted = run_onnx(model, feeds)
        assert sorted(found) == sorted(wanted)
        for key, array in wanted.items():
            assert found[key].dtype == array.dtype
            assert found[key].shape == array.shape
            np.testing.assert_allclose(found[key], array, rtol=3e-5, atol=2e-5)
