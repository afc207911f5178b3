"""Models run with real numbers in and out, in turns, whatever their types, axes and batch sizes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from recast._util.child import TensorSpec
from recast.errors import BadModel
from recast.graph.build import Builder
from recast.measure import latency
from recast.measure.coding import Code, as_input, as_real, back, codes_of, order_for
from recast.measure.subject import Subject
from tests.measure.nets import FLOAT, dense_net, written


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize("batch", ["batch", 4])
def test_every_sample_gets_its_own_output(
    suffix: str, batch: int | str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """37 samples through a fixed batch of 4: the last run is filled up and cut."""
    w, c = rng.standard_normal((7, 5)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    subject = Subject("net", written(dense_net(w, c, batch=batch), tmp_path / f"net{suffix}"))
    x = rng.standard_normal((37, 7)).astype(np.float32)
    with subject.running() as runner:
        (found,) = subject.predict(runner, {"x": x})
        assert runner.memory() is not None  # type: ignore[attr-defined]
    exact = x.astype(np.float64) @ w.astype(np.float64) + c
    assert found.shape == (37, 5)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_codes_are_the_files_own() -> None:
    b = Builder("net")
    import onnx_ir as ir

    x = b.input("x", ir.DataType.INT8, ("batch", 3))
    scale, zero = b.weight("s", np.float32(0.25)), b.weight("z", np.int8(-7))
    y = b.op("Relu", [b.op("DequantizeLinear", [x, scale, zero])])
    b.output(b.op("QuantizeLinear", [y, b.weight("t", np.float32(0.5)), b.weight("u", np.int8(3))]), "y")
    assert codes_of(b.model()) == {"x": Code(0.25, -7), "y": Code(0.5, 3)}


def test_codes_are_found_behind_moves() -> None:
    b = Builder("net")
    import onnx_ir as ir

    x = b.input("x", ir.DataType.INT8, ("batch", 3, 5))
    scale, zero = b.weight("s", np.float32(0.25)), b.weight("z", np.int8(-7))
    y = b.op("Transpose", [b.op("Transpose", [x], {"perm": [0, 2, 1]})], {"perm": [0, 2, 1]})
    y = b.op("Relu", [b.op("DequantizeLinear", [y, scale, zero])])
    b.output(b.op("Flatten", [b.op("QuantizeLinear", [y, scale, zero])]), "y")
    b.op("Reshape", [x, b.const(np.array([-1]))])  # another user, which leads nowhere
    b.output(b.op("Reshape", [b.op("Abs", [y]), b.const(np.array([-1]))]), "z")  # no integers
    assert codes_of(b.model()) == {"x": Code(0.25, -7), "y": Code(0.25, -7)}


def test_a_file_with_operators_that_are_not_read_still_runs(tmp_path: Path) -> None:
    import onnx

    node = onnx.helper.make_node("NotYet", ["x"], ["y"], domain="made.up")
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("made.up", 1)]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", ports[:1], ports[1:]), opset_imports=opsets),
        tmp_path / "net.onnx",
    )
    subject = Subject("net", tmp_path / "net.onnx")
    assert subject.graph is None
    assert subject.codes == {}
    assert subject.size.file_bytes > 0


def test_integers_are_quantised_or_taken_as_they_are() -> None:
    spec, codes = TensorSpec("x", "int8", ("batch", 3)), {"x": Code(0.5, -3)}
    real = np.array([[1.0, -0.75, 1000.0]], np.float32)
    assert as_input(real, spec, codes).tolist() == [[-1, -5, 127]]  # 1.5 rounds to even: -2 - 3
    integers = np.array([[-1, 5, 127]], np.int8)
    assert as_real(integers, spec, codes).tolist() == [[1.0, 4.0, 65.0]]
    assert as_input(as_real(integers, spec, codes), spec, codes).tolist() == integers.tolist()
    with pytest.raises(BadModel, match="no integers"):
        as_input(real, spec, {})


def test_axes_follow_the_input() -> None:
    image = np.zeros((2, 13, 17, 3), np.float32)
    assert order_for(image.shape, TensorSpec("x", "float32", ("b", 3, 13, 17))) == (0, 3, 1, 2)
    assert order_for(image.shape, TensorSpec("x", "float32", ("b", 13, 17, 3))) is None
    with pytest.raises(BadModel, match="samples of shape"):
        order_for(image.shape, TensorSpec("x", "float32", ("b", 17, 13, 3)))
    assert back(np.zeros((2, 3, 13, 17)), (13, 17, 3)).shape == (2, 13, 17, 3)
    assert back(np.zeros((2, 17, 13, 3)), (13, 17, 3)).shape == (2, 17, 13, 3)


class Slow:
    """A runner of a known speed; writes down whose turn it was."""

    inputs = outputs = ()

    def __init__(self, name: str, seconds: float, log: list[str]) -> None:
        self.name, self.seconds, self.log = name, seconds, log

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.log.append(self.name)
        time.sleep(self.seconds)
        return {}

    def close(self) -> None:
        """Nothing to do."""


def test_turns_are_interleaved_and_medians_are_those_of_the_runs() -> None:
    log: list[str] = []
    runners = {n: Slow(n, s, log) for n, s in (("a", 0.02), ("b", 0.04))}
    found = latency.interleaved(runners, {"a": {}, "b": {}}, rounds=4)
    assert 0.02 <= found["a"].median_s < found["b"].median_s
    assert found["b"].median_s >= 0.04
    assert found["a"].fast_s <= found["a"].median_s <= found["a"].p95_s
    turns = [n for i, n in enumerate(log) if i == 0 or log[i - 1] != n]
    assert len(turns) >= 5, "one after another, not in turns"


def test_time_is_taken_inside_the_child(tmp_path: Path) -> None:
    """A model whose run takes microseconds: handing 4 MB over would take far longer than what is measured."""
    b = Builder("net")
    x = b.input("x", FLOAT, ("batch", 1_000_003))
    b.output(b.op("Slice", [x, b.const([0]), b.const([5]), b.const([1])]), "y")
    subject = Subject("net", written(b.model(), tmp_path / "net.onnx"))
    with subject.running() as runner:
        feeds = subject.feeds(runner, {"x": np.zeros((1, 1_000_003), np.float32)}, slice(0, 1))
        start = time.perf_counter()
        runner.run(feeds)
        outside = time.perf_counter() - start
        found = latency.interleaved({"net": runner}, {"net": feeds}, rounds=3)["net"]
    assert found.median_s < outside / 4


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".keras", ".py", ".mindir"])
def test_every_runtime_times_itself(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """The same signature everywhere; two inputs, so that none takes the short way of a single one."""
    from recast._util.optional import have
    from recast.formats import for_writing

    needed = for_writing(tmp_path / f"net{suffix}").judge[0].partition(".")[0]
    if not have(needed):
        pytest.skip(f"{needed} is not installed")
    b = Builder("net")
    x, z = b.input("x", FLOAT, (2, 7)), b.input("z", FLOAT, (2, 7))
    b.output(b.op("MatMul", [b.op("Add", [x, z]), b.weight("w", rng.standard_normal((7, 5)).astype(np.float32))]), "y")
    subject = Subject("net", written(b.model(), tmp_path / f"net{suffix}"))
    feeds = {n: rng.standard_normal((2, 7)).astype(np.float32) for n in ("x", "z")}
    with subject.running(threads=1) as runner:
        before = runner.run(feeds)
        times, _ = runner.call("latency", feeds, repeats=3, warmup=1)  # type: ignore[attr-defined]
        after = runner.run(feeds)
    assert len(times) == 3
    assert min(times) > 0
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])


def test_code_of_others_runs_only_when_trusted(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``.py`` that this process did not write; trust does not change how any other file is opened."""
    pytest.importorskip("torch")
    from recast.errors import UnsafeModel
    from recast.formats.tflite import TFLite
    from recast.formats.torch import trust

    w = rng.standard_normal((7, 5)).astype(np.float32)
    model = dense_net(w, np.zeros(5, np.float32), batch=2)
    script = written(model, tmp_path / "net.py")
    monkeypatch.setattr(trust, "_written", set())
    with pytest.raises(UnsafeModel), Subject("net", script).running():
        pass
    x = rng.standard_normal((6, 7)).astype(np.float32)
    with Subject("net", script, trust=True).running() as runner:
        np.testing.assert_allclose(Subject("net", script, True).predict(runner, {"x": x})[0], x @ w, atol=1e-5)
    monkeypatch.delattr(TFLite, "open_source")
    with Subject("net", written(model, tmp_path / "net.tflite"), trust=True).running() as runner:
        assert runner.inputs[0].shape == (2, 7)
