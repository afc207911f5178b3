"""The float64 run against someone else's meanings: ONNX's node tests and ONNX Runtime."""

from __future__ import annotations

import warnings
from collections import Counter

import checker_graphs
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from recast.verification.feeds import FeedPlan, make_feeds
from recast.verification.judge import measure_noise
from recast.verification.local import GraphRunner
from recast.verification.oracle import Oracle, OracleUnavailable, is_quantised

# Types compared in a form of their own, results rounded to bfloat16, expected values given to four digits.
NOT_COMPARED = (
    "cast_",
    "quantizelinear_int4",
    "quantizelinear_uint4",
    "quantizelinear_int2",
    "quantizelinear_uint2",
    "_bf16",
    "bfloat16",
    "starts_on_pad",
)


@pytest.mark.filterwarnings("ignore")
def test_node_tests() -> None:
    """Whatever the float64 run does not refuse, it computes as ONNX's node tests say."""
    from onnx.backend.test.case import node as node_cases

    passed: Counter[str] = Counter()
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = node_cases.collect_testcases(None)
    for case in cases:
        model = case.model
        domains = {o.domain for o in model.opset_import}
        if len(model.graph.node) != 1 or domains - {"", "ai.onnx"} or any(s in case.name for s in NOT_COMPARED):
            continue
        try:
            oracle = Oracle(ir.from_proto(model))
            for inputs, outputs in case.data_sets:
                feeds = {i.name: _array(v) for i, v in zip(model.graph.input, inputs, strict=False)}
                result = oracle.run(feeds)
                if not all(_same(result[o.name], _array(w)) for o, w in zip(model.graph.output, outputs, strict=True)):
                    wrong.append(case.name)
                passed[model.graph.node[0].op_type] += 1
        except (OracleUnavailable, TypeError, KeyError, ValueError):
            continue  # refused (sequences, strings, training): never a wrong value
    assert not wrong, wrong
    assert sum(passed.values()) > 850
    assert {"Conv", "ConvTranspose", "LSTM", "GRU", "Resize", "Attention", "LayerNormalization"} <= set(passed)


def _array(value: object) -> np.ndarray:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _same(found: np.ndarray, wanted: np.ndarray) -> bool:
    tolerance = 2e-3 if wanted.dtype.itemsize == 2 else 1e-5
    if found.shape != wanted.shape:
        return False
    return np.allclose(found.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance / 10, equal_nan=True)


@pytest.mark.parametrize("graph", checker_graphs.MAKERS)
def test_float32_runtime_agrees(graph: str, rng: np.random.Generator) -> None:
    model = checker_graphs.MAKERS[graph](rng)
    oracle, runtime = Oracle(model), GraphRunner(model, optimise=False)
    for feed in make_feeds(FeedPlan(runtime.inputs))[:3]:
        exact, found = oracle.run(feed.arrays), runtime.run(feed.arrays)
        for name, value in exact.items():
            scale = np.abs(value).max() or 1
            limit = 1 if is_quantised(model.graph) else 2e-5 * scale
            assert np.abs(found[name].astype(np.float64) - value).max() <= limit


def test_unknown_operator_is_reported(rng: np.random.Generator) -> None:
    model = checker_graphs.mlp(rng)
    next(iter(model.graph)).op_type = "Bernoulli"
    with pytest.raises(OracleUnavailable, match="Bernoulli"):
        Oracle(model)


def test_noise_grows_with_cancellation() -> None:
    """x + 1e6 - 1e6 loses six digits in float32; the measured noise knows."""
    from recast.graph.build import Builder

    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (31,))
    b.output(b.op("Sub", [b.op("Add", [x, b.const(1e6)]), b.const(1e6)]), "y")
    model = b.model()
    feeds = {"x": np.random.default_rng(0).standard_normal(31).astype(np.float32)}
    oracle = Oracle(model)
    noise = measure_noise(oracle, feeds, oracle.run(feeds))["y"]
    assert 1e-3 < noise.max() < 1
