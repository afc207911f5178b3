"""Real trained files: accuracy as published by their makers, and agreement with Keras itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from recast.errors import UnsupportedOp
from recast.formats._format import ReadOptions
from recast.formats.keras import FORMAT


def session(path: Path) -> onnxruntime.InferenceSession:
    """The file's graph in ONNX Runtime."""
    model = FORMAT.read(path, ReadOptions())
    return onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())


def infer(path: Path, x: np.ndarray) -> np.ndarray:
    """One output of one input."""
    made = session(path)
    result: np.ndarray = made.run(None, {made.get_inputs()[0].name: x.astype(np.float32)})[0]
    return result


def test_resnet8_accuracy(shared_models: Path) -> None:
    data = np.load(shared_models / "ic-resnet8-cifar10" / "ic01_200.npz")
    got = infer(shared_models / "ic-resnet8-cifar10" / "pretrainedResnet.h5", data["x"])
    assert (got.argmax(1) == data["y"]).mean() == pytest.approx(0.855, abs=1e-6)


def test_vww_accuracy_although_keras_refuses_it(shared_models: Path) -> None:
    data = np.load(shared_models / "vww-mobilenet" / "vww01_even500.npz")
    got = infer(shared_models / "vww-mobilenet" / "vww_96.h5", data["x"] / np.float32(255))
    assert (got.argmax(1) == data["y"]).mean() == pytest.approx(0.86, abs=1e-6)


def test_autoencoder_separates_anomalies(shared_models: Path) -> None:
    data = np.load(shared_models / "ad-autoencoder" / "ad01_dev.npz")
    frames, labels = data["x"], data["y"]
    windows = np.concatenate([frames[:, i : i + 196] for i in range(5)], axis=2)  # 196 windows of 5 frames
    got = infer(shared_models / "ad-autoencoder" / "ad01.h5", windows.reshape(-1, 640)).reshape(windows.shape)
    error = np.square(got - windows).mean((1, 2))
    normal, odd = error[labels == 0], error[labels == 1]
    assert (odd[:, None] > normal[None]).mean() == pytest.approx(0.904, abs=0.002)


def test_mini_xception_of_keras_2_0(shared_models: Path) -> None:
    path = shared_models / "mini-xception-keras2" / "fer2013_mini_XCEPTION.102-0.66.hdf5"
    got = infer(path, np.random.default_rng(0).normal(size=(3, 64, 64, 1)))
    assert got.shape == (3, 7)
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)


def test_qkeras_names_every_custom_layer(shared_models: Path) -> None:
    with pytest.raises(UnsupportedOp) as caught:
        FORMAT.read(shared_models / "awkward" / "qkeras_RN08_model_best.h5", ReadOptions())
    assert "11 layers" in str(caught.value)
    assert "QDense 'q_dense'" in str(caught.value)


def test_judge_cleans_what_keras_3_refuses(shared_models: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("keras")
    path = shared_models / "vww-mobilenet" / "vww_96.h5"
    made = session(path)
    x = rng.normal(0, 1, (2, 96, 96, 3)).astype(np.float32)
    with FORMAT.open(path) as judge:
        assert [s.name for s in judge.inputs] == [v.name for v in made.get_inputs()]
        assert [s.name for s in judge.outputs] == [v.name for v in made.get_outputs()]
        (wanted,) = judge.run({judge.inputs[0].name: x}).values()
    (got,) = made.run(None, {made.get_inputs()[0].name: x})
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
