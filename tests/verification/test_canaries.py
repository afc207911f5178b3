"""Each entry of the tolerance table has a fault that must fail it, and a correct variant that must not."""

from __future__ import annotations

import checker_graphs
import numpy as np
import onnx_ir as ir
import pytest
from checker_faults import FAULTS
from checker_rewrites import NumpyRunner

from recast._util.child import TensorSpec
from recast.verification.check import Side, verify
from recast.verification.compare import against_exact, tight
from recast.verification.local import GraphRunner
from recast.verification.tolerances import TABLE, for_dtype

EXECUTED = {"batchnorm-epsilon", "zero-point-off-by-one", "integer-off-by-one", "bias-missing", "float32-weights"}


def test_every_entry_has_a_canary_and_a_reason() -> None:
    assert {t.canary for t in TABLE.values()} <= EXECUTED
    assert all(len(t.reason) > 20 for t in TABLE.values())


@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        ("residual", "epsilon-x10"),
        ("depthwise", "epsilon-small"),
        ("qdq_cnn", "zero-point-off-by-one"),
        ("qdq_dense", "zero-point-off-by-one"),
    ],
)
def test_canary_in_graph(graph: str, fault: str) -> None:
    make = checker_graphs.MAKERS[graph]
    source, target = make(np.random.default_rng(5)), make(np.random.default_rng(5))
    assert FAULTS[fault](target, np.random.default_rng(1)) is not None
    optimise = not graph.startswith("qdq")
    report = verify(Side("a", None, source), Side("b", GraphRunner(target, optimise)))
    assert not report.passed
    assert verify(Side("a", None, source), Side("b", NumpyRunner(source))).passed


def test_canary_integer_off_by_one(rng: np.random.Generator) -> None:
    ids = rng.integers(0, 97, (5, 7))
    wrong = ids.copy()
    wrong[3, 2] += 1
    assert tight("y", ids, ids.copy(), TABLE["exact"]).accepted
    found = tight("y", ids, wrong, TABLE["exact"])
    assert not found.accepted
    assert found.index == (3, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_canary_half_bias_missing(dtype: str, rng: np.random.Generator) -> None:
    """A dense layer in half precision: rounding passes, one missing bias does not."""
    kind = ir.DataType[dtype.upper()].numpy()
    x, w = (rng.standard_normal(s).astype(kind).astype(np.float64) for s in ((11, 31), (31, 7)))
    bias = rng.standard_normal(7).astype(kind).astype(np.float64) * 0.2 + 1.5
    exact = x @ w + bias
    source = (x.astype(np.float32) @ w.astype(np.float32) + bias.astype(np.float32)).astype(kind)
    good = ((x.astype(np.float32) @ w.astype(np.float32)).astype(kind) + bias.astype(kind)).astype(kind)
    wrong = good.copy()
    wrong[:, 3] = (wrong[:, 3].astype(np.float32) - np.float32(bias[3])).astype(kind)
    noise = np.abs(source.astype(np.float64) - exact)
    assert against_exact("y", (source, good, exact), noise, for_dtype(dtype)).accepted
    assert not against_exact("y", (source, wrong, exact), noise, for_dtype(dtype)).accepted


def test_canary_float64_computed_in_float32(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((11, 31)), rng.standard_normal((31, 7))
    reordered = x[:, ::-1] @ w[::-1]
    narrow = (x.astype(np.float32) @ w.astype(np.float32)).astype(np.float64)
    assert tight("y", x @ w, reordered, TABLE["float64"]).accepted
    assert not tight("y", x @ w, narrow, TABLE["float64"], blind=True).accepted


class _Reader:
    """A source runtime whose results are not what the graph says."""

    def __init__(self, model: ir.Model) -> None:
        inner = GraphRunner(model)
        self.inputs: tuple[TensorSpec, ...] = inner.inputs
        self.outputs: tuple[TensorSpec, ...] = inner.outputs
        self.run, self.close = inner.run, inner.close


def test_graph_that_is_not_the_source_is_told_apart() -> None:
    """The reader dropped something: the target agrees with the graph, the source's runtime does not."""
    make = checker_graphs.residual
    truth, graph = make(np.random.default_rng(5)), make(np.random.default_rng(5))
    assert FAULTS["residual-dropped"](graph, np.random.default_rng(1)) is not None
    report = verify(Side("a", _Reader(truth), graph), Side("b", GraphRunner(graph)))
    assert not report.passed
    assert report.wrong is not None
    assert report.wrong.kind == "graph"
