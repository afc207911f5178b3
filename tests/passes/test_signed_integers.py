"""Unsigned activations with signed weights become signed; what cannot follow stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast import formats, passes
from recast.formats._format import WriteOptions
from recast.graph.build import Builder
from recast.pipeline import convert
from recast.verification.local import GraphRunner


def _pair(b: Builder, value: ir.Value, scale: float, zero: int, dtype: str = "uint8") -> tuple[ir.Value, ir.Value]:
    s, z = b.weight(f"s{value.name}", np.array(scale, np.float32)), b.weight(f"z{value.name}", np.array(zero, dtype))
    integers = b.op("QuantizeLinear", [value, s, z])
    return integers, b.op("DequantizeLinear", [integers, s, z])


def _net(rng: np.random.Generator, weights: str = "int8", output: bool = False) -> ir.Model:
    """Quantised input, moved as integers, convolution, sum with a constant; the last integers may be an output."""
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (3, 7, 5, 2))
    s, z = b.weight("sx", np.array(0.03, np.float32)), b.weight("zx", np.array(101, np.uint8))
    moved = b.op("Transpose", [b.op("QuantizeLinear", [x, s, z])], {"perm": [0, 3, 1, 2]})
    low = -127 if weights == "int8" else 0
    w = b.weight("w", rng.integers(low, 127, (5, 2, 3, 3)).astype(weights))
    real = b.op("DequantizeLinear", [w, b.weight("sw", rng.uniform(0.01, 0.02, 5).astype(np.float32))], {"axis": 0})
    y = b.op("Conv", [b.op("DequantizeLinear", [moved, s, z]), real])
    _, y = _pair(b, y, 0.05, 117)
    c = b.weight("c", rng.integers(0, 255, (5, 1, 1)).astype(np.uint8))
    offset = b.op("DequantizeLinear", [c, b.weight("sc", np.array(0.01, np.float32)), z])
    last, y = _pair(b, b.op("Add", [y, offset]), 0.04, 3)
    b.output(y, "y")
    if output:
        b.output(last, "integers")
    return b.model()


def _run(model: ir.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return GraphRunner(model, optimise=False).run({"x": x})


def _kinds(model: ir.Model) -> list[str]:
    return [v.dtype.name for n in model.graph for v in n.outputs if v.dtype and v.dtype.name.endswith("INT8")]


def test_the_same_numbers_with_signed_integers(rng: np.random.Generator) -> None:
    model, x = _net(rng), rng.standard_normal((3, 7, 5, 2)).astype(np.float32) * 2
    before, held = _run(model, x)["y"], model.clone()
    passes.run(model, ("signed_integers",), passes.PassOptions())
    assert set(_kinds(model)) == {"INT8"}
    assert not [v.name for v in model.graph.initializers.values() if v.dtype == ir.DataType.UINT8]
    assert np.array_equal(_run(model, x)["y"], before)
    assert before.std() > 0.1
    assert set(_kinds(held)) == {"UINT8"}  # a clone keeps its types


def test_an_output_of_integers_keeps_its_type(rng: np.random.Generator) -> None:
    model, x = _net(rng, output=True), rng.standard_normal((3, 7, 5, 2)).astype(np.float32)
    before = _run(model, x)
    passes.run(model, ("signed_integers",), passes.PassOptions())
    after = _run(model, x)
    assert after["integers"].dtype == np.uint8
    assert all(np.array_equal(before[n], after[n]) for n in before)
    assert "INT8" in _kinds(model)


def test_unsigned_weights_keep_unsigned_activations(rng: np.random.Generator) -> None:
    model = _net(rng, "uint8")
    passes.run(model, ("signed_integers",), passes.PassOptions())
    assert set(_kinds(model)) == {"UINT8"}


def test_a_file_of_onnx_runtimes_kind_runs_in_litert(rng: np.random.Generator, tmp_path: Path) -> None:
    formats.by_name("onnx").write(_net(rng), tmp_path / "m.onnx", WriteOptions())
    result = convert(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert result.report is not None
    assert result.report.passed
