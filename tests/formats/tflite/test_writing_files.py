"""Files as a whole: signatures, buffers, sizes, what is refused, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tflite_graphs import Judge, image, run_onnx

from recast.errors import UnsupportedOp
from recast.formats._format import WriteOptions
from recast.formats.tflite import FORMAT, flat_write
from recast.graph.build import Builder


def two_dense(rng: np.random.Generator, same: bool = True) -> ir.Model:
    b = Builder("net")
    x = b.input("features", ir.DataType.FLOAT, ("batch", 71))
    first = rng.normal(size=(71, 71)).astype(np.float32)
    second = first if same else rng.normal(size=(71, 71)).astype(np.float32)
    shared = b.weight("a/kernel", first)
    y = b.op("Tanh", [b.op("Gemm", [x, shared])])
    y = b.op("Gemm", [y, shared if same else b.weight("b/kernel", second)])
    b.output(y, "scores")
    return b.model()


def test_shared_weight_is_stored_once(tmp_path: Path, rng: np.random.Generator) -> None:
    one, two = tmp_path / "one.tflite", tmp_path / "two.tflite"
    FORMAT.write(two_dense(rng), one, WriteOptions())
    FORMAT.write(two_dense(rng, False), two, WriteOptions())
    assert two.stat().st_size - one.stat().st_size > 71 * 71 * 4 - 100


def test_same_bytes_again(tmp_path: Path, rng: np.random.Generator) -> None:
    model = two_dense(rng)
    paths = [tmp_path / "one.tflite", tmp_path / "two.tflite"]
    for path in paths:
        FORMAT.write(model, path, WriteOptions())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert FORMAT.sniff(paths[0], paths[0].read_bytes()[:64])


def test_data_behind_the_flatbuffer(
    litert: Judge, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models over 2 GB keep their weights behind the tables; the limit is lowered to try it."""
    monkeypatch.setattr(flat_write, "_OFFSET_LIMIT", flat_write._RESERVE + 1000)
    model = two_dense(rng, False)
    path = tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    feeds = {"features": rng.normal(size=(3, 71)).astype(np.float32)}
    _, found = litert.run(path, feeds)
    np.testing.assert_allclose(found["scores"], run_onnx(model, feeds)["scores"], rtol=1e-4, atol=1e-4)


def test_half_precision(litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    """Half-precision inside: constants stay small, arithmetic is float32, and the user is told."""
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 5, 7, 3))
    y = b.op("Cast", [x], {"to": 10})
    kernel, bias = (b.weight(n, rng.normal(size=s).astype(np.float16)) for n, s in (("k", (31, 3, 3, 3)), ("b", 31)))
    y = b.op("Relu", [image(b, "Conv", [y, kernel, bias])])
    y = b.op("Mul", [y, b.weight("s", rng.normal(size=31).astype(np.float16))])
    b.output(b.op("Cast", [y], {"to": 1}), "out")
    model = b.model()
    path = tmp_path / "model.tflite"
    made = FORMAT.write(model, path, WriteOptions())
    assert any("float16" in f.what for f in made.findings)
    feeds = {"x": rng.normal(size=(2, 5, 7, 3)).astype(np.float32)}
    operators, found = litert.run(path, feeds)
    assert sorted(operators) == ["CONV_2D", "DEQUANTIZE", "DEQUANTIZE", "MUL"]
    np.testing.assert_allclose(found["out"], run_onnx(model, feeds)["out"], rtol=2e-2, atol=2e-2)


def test_tiles_of_any_batch_need_no_shape(litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    """A TRANSPOSE_CONV whose output's shape is computed keeps out of LiteRT's fast kernels."""
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 5, 7, 3))
    kernel, bias = (b.weight(n, rng.normal(size=s).astype(np.float32)) for n, s in (("k", (3, 11, 2, 2)), ("b", 11)))
    y = image(b, "ConvTranspose", [x, kernel, bias], {"strides": [2, 2]})
    b.output(b.op("Relu", [y]), "out")
    model, path = b.model(), tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    for batch in (1, 3):
        feeds = {"x": rng.normal(size=(batch, 5, 7, 3)).astype(np.float32)}
        operators, found = litert.run(path, feeds)
        assert operators == ["CONV_2D", "DEPTH_TO_SPACE"]
        np.testing.assert_allclose(found["out"], run_onnx(model, feeds)["out"], rtol=1e-5, atol=1e-5)


def test_all_problems_are_named(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (2, 5, 7, 3))
    y = image(b, "MaxPool", [x], {"kernel_shape": [3, 3], "dilations": [2, 2]})
    with b.layer("enc/tail", "Lambda"):
        y = b.op("Det", [b.op("Reshape", [y, b.const([2, 3, 3])])])
    y = b.op("Bernoulli", [y])
    b.output(y, "out")
    with pytest.raises(UnsupportedOp) as caught:
        FORMAT.write(b.model(), tmp_path / "model.tflite", WriteOptions())
    text = str(caught.value)
    assert "3 operators" in text
    assert all(part in text for part in ("dilation", "enc/tail: Det", "Bernoulli"))
    assert not (tmp_path / "model.tflite").exists()


def test_channels_first_is_refused(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (2, 3, 5, 7))
    b.output(b.op("GlobalMaxPool", [x]), "out")
    with pytest.raises(UnsupportedOp, match="layout"):
        FORMAT.write(b.model(), tmp_path / "model.tflite", WriteOptions())


_MEMORY = """
import resource, sys
import numpy as np, onnx_ir as ir
from pathlib import Path
from recast.formats._format import WriteOptions
from recast.formats.tflite import FORMAT
from recast.graph.build import Builder
b = Builder("net")
x = b.input("x", ir.DataType.FLOAT, ("batch", 2048))
y = x
for i in range(6):
    y = b.op("Gemm", [y, b.weight(f"w{i}", np.full((2048, 2048), i + 0.5, np.float32))])
b.output(y, "out")
model = b.model()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
FORMAT.write(model, Path(sys.argv[1]), WriteOptions())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_weights_are_streamed(tmp_path: Path) -> None:
    """100 MB of weights, all transposed while writing, cost little more than one of them."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(tmp_path / "big.tflite")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 45  # one kernel is 16 MB
    assert (tmp_path / "big.tflite").stat().st_size > 6 * 2048 * 2048 * 4
