"""Every operator read alone: TensorFlow's converter writes it, LiteRT and ONNX Runtime must agree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from recast.formats.tflite.read import read
from recast.formats.tflite.run import Session
from recast.graph.finding import attached
from tests.formats.tflite import reading_cases

pytest.importorskip("tensorflow", reason="the catalogue is written by TensorFlow's converter")
pytestmark = pytest.mark.filterwarnings("ignore")
GROUPS = ("images", "elements", "structure")


class _Names:
    """Stands for TensorFlow while ids are collected: any attribute of anything is a function called like it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Names()
        made.__dict__["__name__"] = name
        return made


def _ids(group: str) -> list[str]:
    return [name for name, _, _ in getattr(reading_cases, group)(_Names())]


@pytest.fixture(scope="module")
def tf() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def catalogue(tf: Any) -> dict[str, reading_cases.Case]:
    return {case[0]: case for group in GROUPS for case in getattr(reading_cases, group)(tf)}


def convert(tf: Any, function: Callable[..., Any], inputs: list[Any], mode: str, rng: np.random.Generator) -> bytes:
    """A ``.tflite`` file of a function: float, float16, dynamic, int8 or int16."""
    specs = [
        tf.TensorSpec(i.shape, i.dtype) if isinstance(i, np.ndarray) else tf.TensorSpec(i, tf.float32) for i in inputs
    ]
    concrete = tf.function(function).get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode in ("int8", "int16"):
        converter.representative_dataset = lambda: (list(_feeds(inputs, rng)) for _ in range(10))
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if mode == "int8" else wide]
        kind = tf.int8 if mode == "int8" else tf.int16
        converter.inference_input_type = converter.inference_output_type = kind
    return converter.convert()


def _feeds(inputs: list[Any], rng: np.random.Generator) -> list[np.ndarray]:
    return [
        i if isinstance(i, np.ndarray) else (rng.normal(size=[d or 2 for d in i]) * 2).astype(np.float32)
        for i in inputs
    ]


def both(file: Path, feeds: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], ir.Model]:
    """Outputs of LiteRT and of the graph in ONNX Runtime, unoptimised, in the file's order."""
    import onnxruntime as ort

    model = read(file)
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), settings, providers=["CPUExecutionProvider"])
    judge = Session(str(file), {})
    expected = judge.run({s.name: f for s, f in zip(judge.inputs, feeds, strict=True)})
    assert [v.name for v in model.graph.outputs] == [s.name for s in judge.outputs]
    got = session.run(None, {v.name: f for v, f in zip(model.graph.inputs, feeds, strict=True)})
    for value in (v for node in model.graph for v in node.outputs):
        assert value.shape is not None, value.name
        assert value.dtype is not None, value.name
    return [expected[s.name] for s in judge.outputs], got, model


@pytest.mark.parametrize("name", [name for group in GROUPS for name in _ids(group)])
def test_float_operator(name: str, tf: Any, catalogue: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    _, function, inputs = catalogue[name]
    file = tmp_path / "one.tflite"
    file.write_bytes(convert(tf, function, inputs, "float", rng))
    for _ in range(2):
        expected, got, _ = both(file, _feeds(inputs, rng))
        for want, have in zip(expected, got, strict=True):
            assert want.shape == have.shape
            assert want.dtype == have.dtype
            np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)


SMALL = ["conv-same-stride2", "depthwise-multiplier2", "dense-rank2", "dense-dynamic", "transpose_conv-same"]


@pytest.mark.parametrize(
    "name", ["conv-dynamic-batch", "dense-dynamic", "reshape-infer", "reshape-computed", "resize-dynamic-batch"]
)
def test_batch_keeps_its_name(name: str, tf: Any, catalogue: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    _, function, inputs = catalogue[name]
    file = tmp_path / "one.tflite"
    file.write_bytes(convert(tf, function, inputs, "float", rng))
    model = read(file)
    assert [v.shape[0] for v in (*model.graph.inputs, *model.graph.outputs)] == [ir.SymbolicDim("batch")] * 2


@pytest.mark.parametrize("mode", ["float16", "dynamic"])
@pytest.mark.parametrize("name", SMALL)
def test_stored_small(name: str, mode: str, tf: Any, catalogue: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    function = catalogue[name][1]
    inputs = catalogue[name][2]

    def larger(v: Any) -> Any:  # the converter leaves weights below 1024 elements as they are
        out = function(v)
        flat = tf.reshape(out, [-1, out.shape[-1]])
        return tf.matmul(flat, np.random.default_rng(5).normal(size=(out.shape[-1], 701)).astype(np.float32))

    file = tmp_path / "one.tflite"
    file.write_bytes(convert(tf, larger, inputs, mode, rng))
    expected, got, model = both(file, _feeds(inputs, rng))
    spread = float(np.abs(expected[0]).max())
    # float16 weights are exact here; LiteRT rounds the inputs of hybrid layers to 8 bits
    np.testing.assert_allclose(got[0], expected[0], atol=spread * (1e-5 if mode == "float16" else 0.03))
    stored = {str(v.dtype) for v in model.graph.initializers.values() if v.const_value and v.const_value.size > 1500}
    assert stored == {"FLOAT16" if mode == "float16" else "INT8"}
    assert bool(attached(model)) == (mode == "dynamic")


INTEGER = [
    "conv-same-stride2", "conv-valid-relu6", "depthwise-multiplier2", "dense-rank2", "avg_pool-same", "max_pool-same",
    "transpose_conv-same", "add-broadcast", "mul-broadcast", "sub-broadcast", "softmax-float", "logistic-float",
    "tanh-float", "concat-axis", "mean-keep", "pad-constant", "reshape-infer", "transpose-perm", "strided_slice-step",
    "batch_matmul-plain", "resize_bilinear-half-23", "leaky_relu-float", "hard_swish-float", "maximum-broadcast",
    "squeeze-axis", "gather-axis", "split-equal", "pack-axis",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["int8", "int16"])
@pytest.mark.parametrize("name", INTEGER)
def test_integer_operator(
    name: str, mode: str, tf: Any, catalogue: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    _, function, inputs = catalogue[name]
    file = tmp_path / "one.tflite"
    try:
        file.write_bytes(convert(tf, function, inputs, mode, rng))
    except Exception as error:
        pytest.skip(f"TensorFlow does not write this operator with {mode}: {str(error)[:80]}")
    limits = np.iinfo(mode)
    feeds = [rng.integers(limits.min, limits.max, [d or 2 for d in i]).astype(mode) for i in inputs]
    try:
        expected, got, model = both(file, feeds)
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"LiteRT does not run this operator with {mode}: {str(error)[:80]}")
    assert {v.dtype for v in model.graph.inputs} == {ir.DataType[mode.upper()]}
    steps = 1 if mode == "int8" else 8  # the 16-bit kernels look functions up in tables of 513 places
    if name.startswith("resize") and mode == "int16":
        steps = 655  # LiteRT steps through pixels in units of 1/1024: 1 % of the range
    for want, have in zip(expected, got, strict=True):
        assert want.shape == have.shape
        assert want.dtype == have.dtype
        assert int(np.abs(want.astype(np.int64) - have.astype(np.int64)).max()) <= steps
