"""Sparse tensors: smaller, the same numbers in LiteRT, and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast import formats, passes
from recast._util.child import RemoteRunner
from recast.formats._format import ReadOptions, WriteOptions
from recast.graph.build import Builder

TFLITE = formats.by_name("tflite")


def _weights(rng: np.random.Generator, share: float) -> dict[str, np.ndarray]:
    shapes = {"k": (31, 13, 3, 5), "d": (31, 1, 7, 5), "g": (37, 31)}
    made = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    for array in made.values():
        array[rng.random(array.shape) < share] = 0
    return made


def _model(weights: dict[str, np.ndarray]) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (1, 13, 11, 17))
    held = {n: b.weight(n, a) for n, a in weights.items()}
    h = b.op("Relu", [b.op("Conv", [x, held["k"]], {"pads": [1, 2, 1, 2]})])
    h = b.op("Conv", [h, held["d"]], {"group": 31, "auto_pad": "SAME_UPPER"})
    h = b.op("Flatten", [b.op("GlobalAveragePool", [h])])
    b.output(b.op("Gemm", [h, held["g"]], {"transB": 1}), "y")
    return b.model()


def _write(model: ir.Model, path: Path, sparse: bool) -> Path:
    passes.run(model, TFLITE.passes, passes.PassOptions(layout="channels_last"))
    TFLITE.write(model, path, WriteOptions(sparse=sparse))
    return path


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_sparse_weights_compute_the_same(rng: np.random.Generator, tmp_path: Path, share: float) -> None:
    weights = _weights(rng, share)
    dense = _write(_model(weights), tmp_path / "dense.tflite", False)
    packed = _write(_model(weights), tmp_path / "packed.tflite", True)
    stored = sum(a.nbytes for a in weights.values())
    assert packed.stat().st_size < dense.stat().st_size - 0.25 * stored
    x = rng.standard_normal((1, 17, 13, 11)).astype(np.float32)
    results, kinds = [], {}
    for path in (dense, packed):
        with RemoteRunner("recast.formats.tflite.run", path) as runner:
            kinds = runner.call("statistics")[0]["operators"]
            spec = runner.inputs[0]
            results.append(runner.run({spec.name: np.resize(x, [int(d) for d in spec.shape])})[runner.outputs[0].name])
    assert kinds["DENSIFY"] >= 2
    assert np.array_equal(*results)
    back = TFLITE.read(packed, ReadOptions())
    held = [v.const_value.numpy() for v in back.graph.initializers.values() if v.const_value is not None]
    values = {n: np.sort(a[a != 0]) for n, a in weights.items()}
    for wanted in values.values():
        assert any(np.array_equal(np.sort(a[a != 0]), wanted) for a in held)


def test_dense_weights_stay(rng: np.random.Generator, tmp_path: Path) -> None:
    weights = _weights(rng, 0.1)
    files = [_write(_model(weights), tmp_path / f"{s}.tflite", s) for s in (False, True)]
    assert files[0].read_bytes() == files[1].read_bytes()
