"""The judge: LiteRT in a child process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recast._util.child import RemoteRunner
from recast.errors import BadModel, BadShape, RecastError, RuntimeDied
from recast.formats.tflite import FORMAT


@pytest.fixture(scope="module")
def resnet(shared_models: Path) -> Iterator[RemoteRunner]:
    path = shared_models / "ic-resnet8-cifar10" / "pretrainedResnet.tflite"
    with RemoteRunner("recast.formats.tflite.run", path, {"all_tensors": True, "threads": 1}) as runner:
        yield runner


def _image(batch: int) -> dict[str, np.ndarray]:
    return {"input_1": np.random.default_rng(batch).normal(size=(batch, 32, 32, 3)).astype(np.float32)}


def test_specs(resnet: RemoteRunner) -> None:
    assert [(s.name, s.dtype, s.shape) for s in resnet.inputs] == [("input_1", "float32", ("batch", 32, 32, 3))]
    assert [(s.name, s.dtype, s.shape) for s in resnet.outputs] == [("Identity", "float32", ("batch", 10))]


def test_batch_follows_the_feed(resnet: RemoteRunner) -> None:
    feed = _image(3)
    together = resnet.run(feed)["Identity"]
    alone = [resnet.run({"input_1": feed["input_1"][i : i + 1]})["Identity"][0] for i in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.shape == (3, 10)


def test_intermediate_tensors(resnet: RemoteRunner) -> None:
    failed, found = resnet.call("tensors", _image(2), names=["model/flatten/Reshape", "Identity"])
    assert failed == {}
    assert found["model/flatten/Reshape"].shape == (2, 64)
    np.testing.assert_array_equal(found["Identity"], resnet.run(_image(2))["Identity"])


def test_latency_and_statistics(resnet: RemoteRunner) -> None:
    times, _ = resnet.call("latency", _image(1), repeats=4, warmup=1)
    assert len(times) == 4
    assert min(times) > 0
    assert resnet.call("statistics")[0]["operators"]["CONV_2D"] == 9


def test_bad_feeds(resnet: RemoteRunner) -> None:
    with pytest.raises(BadShape, match="no data for input_1"):
        resnet.run({})
    with pytest.raises(BadShape, match="float64 instead of float32"):
        resnet.run({"input_1": np.zeros((1, 32, 32, 3))})


def test_state_is_fresh_in_every_run(shared_models: Path) -> None:
    with FORMAT.open(shared_models / "mnist-mixed" / "trained_lstm.tflite") as runner:
        assert [s.name for s in (*runner.inputs, *runner.outputs)] == ["fixed_input", "sequential"]
        feed = {"fixed_input": np.random.default_rng(7).normal(size=(1, 28, 28)).astype(np.float32)}
        first, second = runner.run(feed), runner.run(feed)
        np.testing.assert_array_equal(first["sequential"], second["sequential"])
        with pytest.raises(BadModel, match="not kept"):
            runner.call("tensors", feed)


def test_refused_by_litert(shared_models: Path) -> None:
    with pytest.raises(RuntimeDied, match="quantized_dimension"):
        FORMAT.open(shared_models / "awkward" / "person_detect.tflite")


def test_no_model(tmp_path: Path) -> None:
    file = tmp_path / "none.tflite"
    file.write_bytes(b"nothing")
    with pytest.raises(RecastError):
        FORMAT.open(file)
