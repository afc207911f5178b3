"""OpenVINO IR: written by OpenVINO, read by us, judged by OpenVINO."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.errors import BadModel, OutputExists, RecastError, TooLarge, UnsafeModel, UnsupportedOp
from recast.formats import by_name, of_file
from recast.graph.build import Builder

pytest.importorskip("openvino")


def network(rng: np.random.Generator) -> ir.Model:
    """Convolutions (plain and grouped), pooling, activations, a matrix product; batch and height stay free."""

    def weight(name: str, *shape: int) -> ir.Value:
        return b.weight(name, rng.normal(size=shape).astype(np.float32))

    b = Builder("net")
    x = b.input("image", ir.DataType.FLOAT, ("batch", 3, 11, 13))
    y = b.op("Conv", [x, weight("k", 6, 3, 3, 2), weight("b", 6)], {"pads": [1, 0, 0, 1], "strides": [2, 1]})
    y = b.op("PRelu", [y, weight("slope", 6, 1, 1)])
    y = b.op("Conv", [y, weight("g", 6, 2, 2, 3)], {"group": 3, "dilations": [2, 1]})
    y = b.op("MaxPool", [y], {"kernel_shape": [1, 2], "strides": [1, 2]})
    y = b.op("AveragePool", [y], {"kernel_shape": [2, 1], "pads": [1, 0, 0, 0], "count_include_pad": 0})
    y = b.op("Sigmoid", [y])
    features = b.op("Flatten", [y])
    assert features.shape is not None
    b.output(y, "map")
    y = b.op("MatMul", [features, weight("w", int(features.shape[1]), 5)])
    b.output(b.op("Softmax", [y], {"axis": -1}), "scores")
    return b.model()


def reference(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, feeds)


def test_written_and_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """Names, dynamic batch and numbers survive both directions; nothing else is left behind."""
    model, out = network(rng), tmp_path / "net.xml"
    feeds = {"image": rng.normal(size=(7, 3, 11, 13)).astype(np.float32)}
    expected = reference(model, feeds)
    recast.save(model, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert of_file(out).name == "openvino"
    with by_name("openvino").open(out) as runner:  # type: ignore[attr-defined]
        assert [s.name for s in runner.inputs] == ["image"]
        assert runner.inputs[0].shape == ("image.0", 3, 11, 13)
        found = runner.run(feeds)
        times, _ = runner.call("latency", feeds, repeats=2, warmup=1)
        assert len(times) == 2
    for name, array in zip(("map", "scores"), expected, strict=True):
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
    again = recast.load(out)
    assert [v.name for v in again.graph.outputs] == ["map", "scores"]
    for array, read in zip(expected, reference(again, feeds), strict=True):
        np.testing.assert_allclose(read, array, rtol=1e-4, atol=1e-5)


def test_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        recast.save(network(np.random.default_rng(5)), tmp_path / folder / "net.xml")
    for name in ("net.xml", "net.bin"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_companion_is_not_overwritten(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "net.bin").write_bytes(b"somebody's weights")
    with pytest.raises(OutputExists):
        recast.save(network(rng), tmp_path / "net.xml")
    assert (tmp_path / "net.bin").read_bytes() == b"somebody's weights"


def test_real_landmarks(shared_models: Path, tmp_path: Path) -> None:
    """A published network, against OpenVINO."""
    source = shared_models / "openvino-landmarks" / "landmarks-regression-retail-0009.xml"
    result = recast.convert(source, tmp_path / "landmarks.onnx")
    assert result.verdict == "verified"
    assert result.report is not None


def test_old_version_is_refused(shared_models: Path) -> None:
    with pytest.raises(UnsupportedOp, match="IR version 5"):
        recast.load(shared_models / "awkward" / "mnist_irv5.xml")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    recast.save(network(np.random.default_rng(3)), tmp_path / "net.xml")
    return tmp_path / "net.xml"


def test_hostile(written: Path) -> None:
    """Entities, cut weights, cycles, unknown operators and attributes: one clear error each."""
    text = written.read_text()

    def refused(new: str, kind: type[RecastError], match: str) -> None:
        assert new != text
        written.write_text(new)
        with pytest.raises(kind, match=match):
            recast.load(written)

    bomb = '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
    refused(bomb + text.partition("?>")[2], UnsafeModel, "document type")
    refused(text[: len(text) // 2], BadModel, "XML is damaged")
    refused(text.replace('type="Sigmoid"', 'type="Sigmund"'), UnsupportedOp, "Sigmund")
    refused(text.replace('auto_pad="explicit"', 'auto_pad="explicit" mirror="1"', 1), UnsupportedOp, "mirror")
    refused(text.replace('strides="2, 1"', 'strides="1, 1"', 1), BadModel, "declares the shape")
    refused(re.sub("<edge [^>]*>", "", text, count=1), BadModel, "nothing is connected")
    written.write_text(text)
    data = written.with_suffix(".bin").read_bytes()
    written.with_suffix(".bin").write_bytes(data[:-8])
    with pytest.raises(TooLarge):
        recast.load(written)
