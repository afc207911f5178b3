"""The whole way: read, passes, write, verify, certificate; and what happens when the proof fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import recast
from recast import Checking, Reading, Recipe, Writing
from recast._util.child import pool
from recast.demo import DATA, MODEL
from recast.errors import BadModel, BadRecipe, BadShape, OutputExists, UnknownFormat
from recast.formats.onnx import FORMAT as ONNX


@pytest.fixture(autouse=True)
def _children() -> Iterator[None]:
    with pool():
        yield


@pytest.fixture
def onnx_model(tmp_path: Path) -> Path:
    """The demo network as ONNX: its judge is quick."""
    path = tmp_path / "source.onnx"
    recast.convert(MODEL, path, Recipe(checking=Checking(verify=False)))
    return path


def certificate(path: Path) -> dict[str, Any]:
    text = path.read_text()
    assert "NaN" not in text
    data: dict[str, Any] = json.loads(text)
    return data


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_verified_with_certificate(target: str, onnx_model: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out.{target}"
    result = recast.convert(onnx_model, out, Recipe(checking=Checking(data=DATA)))
    assert result.verdict == "verified"
    assert [f.name for f in result.files] == [out.name, out.name + ".recast.json"]
    proof = certificate(result.files[1])
    assert proof["verdict"] == "verified"
    assert proof["outputs"][0]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert proof["inputs"][0]["sha256"] == hashlib.sha256(onnx_model.read_bytes()).hexdigest()
    assert len(proof["feeds"]) >= 8
    assert any("sample" in f["name"] or "data" in f["name"] for f in proof["feeds"]), "real samples took part"
    assert str(tmp_path) not in result.files[1].read_text()


def test_same_recipe_same_bytes(onnx_model: Path, tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result = recast.convert(onnx_model, tmp_path / name / "out.tflite")
        made.append([f.read_bytes() for f in result.files])
    assert made[0] == made[1]


def test_a_wrong_result_is_never_delivered(onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the writer swaps two filters of the second convolution."""
    write = type(ONNX).write

    def faulty(self: Any, model: ir.Model, path: Path, options: Any) -> Any:
        convolutions = [n for n in model.graph if n.op_type == "Conv"]
        value = convolutions[1].inputs[1]
        kernel = value.const_value.numpy().copy()
        kernel[[3, 7]] = kernel[[7, 3]]
        value.const_value = ir.Tensor(kernel, name=value.name)
        return write(self, model, path, options)

    monkeypatch.setattr(type(ONNX), "write", faulty)
    result = recast.convert(onnx_model, tmp_path / "out.onnx")
    assert result.verdict == "failed"
    assert not (tmp_path / "out.onnx").exists()
    assert (tmp_path / "out.onnx.unverified").is_file()
    proof = certificate(tmp_path / "out.onnx.recast.json.unverified")
    assert proof["verdict"] == "failed"
    assert result.report is not None
    assert "conv2" in result.report.culprit, "the first wrong operator's layer is named"
    assert "Conv" in result.report.culprit


def test_verify_two_files(onnx_model: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_model)
    assert recast.verify(onnx_model, onnx_model).passed
    bias = next(t for t in model.graph.initializer if "hidden" in t.name and len(t.dims) == 1)
    array = onnx.numpy_helper.to_array(bias).copy()
    array[5] += 1e-3
    bias.raw_data = array.tobytes()
    onnx.save(model, tmp_path / "other.onnx")
    report = recast.verify(onnx_model, tmp_path / "other.onnx")
    assert not report.passed


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("keep", ["batch", 8, 8, 1]),
        ("nhwc", ["batch", 8, 8, 1]),
        ("nchw", ["batch", 1, 8, 8]),
        ("auto", ["batch", 1, 8, 8]),
    ],
)
def test_io_layout(layout: Any, shape: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    recipe = Recipe(writing=Writing(io_layout=layout), checking=Checking(verify=layout != "keep"))
    assert recast.convert(MODEL, out, recipe).passed
    written = onnx.load(out)
    dims = written.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == shape
    transposes = sum(n.op_type == "Transpose" for n in written.graph.node)
    assert transposes == (1 if layout in ("keep", "nhwc") else 0)


@pytest.mark.parametrize(("batch", "dim"), [("3", 3), ("dynamic", "batch")])
def test_batch(batch: str, dim: object, onnx_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert recast.convert(onnx_model, out, Recipe(writing=Writing(batch=batch))).verdict == "verified"
    found = onnx.load(out).graph.input[0].type.tensor_type.shape.dim[0]
    assert (found.dim_param or found.dim_value) == dim


def test_float16_is_half_the_size_and_verified(onnx_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    result = recast.convert(onnx_model, out, Recipe(writing=Writing(dtype="float16")))
    assert result.verdict == "verified", result.report.summary() if result.report else ""
    assert out.stat().st_size < 0.65 * onnx_model.stat().st_size


def test_input_shapes_are_fixed(onnx_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    recast.convert(onnx_model, out, Recipe(Reading({"image": (5, 8, 8, 1)}), checking=Checking(verify=False)))
    assert [d.dim_value for d in onnx.load(out).graph.input[0].type.tensor_type.shape.dim] == [5, 8, 8, 1]


@pytest.mark.parametrize(
    ("shapes", "error"),
    [({"nope": (1,)}, BadModel), ({"image": (1, 2)}, BadModel), ({"image": (1, 8, 8, 3)}, BadShape)],
)
def test_wrong_input_shapes(shapes: Any, error: type, onnx_model: Path, tmp_path: Path) -> None:
    with pytest.raises(error):
        recast.convert(onnx_model, tmp_path / "out.onnx", Recipe(Reading(shapes)))


@pytest.mark.parametrize("opset", [17, 21])
def test_older_opset(opset: int, onnx_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert recast.convert(onnx_model, out, Recipe(writing=Writing(opset=opset))).verdict == "verified"
    assert onnx.load(out).opset_import[0].version == opset


def test_requests_that_cannot_be(onnx_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat):
        recast.convert(onnx_model, tmp_path / "out.xyz")
    with pytest.raises(UnknownFormat):
        recast.convert(onnx_model, tmp_path / "out.onnx", Recipe(writing=Writing(to="nope")))
    with pytest.raises(OutputExists):
        recast.convert(onnx_model, onnx_model)
    (tmp_path / "net.safetensors").write_bytes(b"somebody's")
    with pytest.raises(OutputExists, match="net.safetensors"):  # it would be written beside
        recast.convert(onnx_model, tmp_path / "net.py")
    assert (tmp_path / "net.safetensors").read_bytes() == b"somebody's"
    for bad in ({"batch": "-1"}, {"batch": "x"}, {"io_layout": "chw"}, {"dtype": "int8"}):
        with pytest.raises(BadRecipe):
            Writing(**bad)  # type: ignore[arg-type]


def test_weights_keep_every_bit(onnx_model: Path, tmp_path: Path) -> None:
    result = recast.convert(onnx_model, tmp_path / "w.safetensors")
    assert result.verdict == "verified"
    assert any("only the weights" in f.what for f in result.findings)
    again = recast.convert(tmp_path / "w.safetensors", tmp_path / "w.npz")
    assert again.verdict == "verified"
    with np.load(tmp_path / "w.npz") as held:
        original = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(onnx_model).graph.initializer}
        assert set(held.files) == set(original)
        assert all(held[k].tobytes() == v.tobytes() for k, v in original.items())


def test_inspect() -> None:
    summary = recast.inspect(MODEL)
    assert summary.parameters > 9000
    assert {layer.name: layer.origin for layer in summary.layers}["conv1"] == "Conv2D"
    assert summary.inputs[0].shape == ("batch", 8, 8, 1)
