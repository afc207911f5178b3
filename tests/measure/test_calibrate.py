"""Streamed statistics against NumPy on all values at once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.histogram import BINS, Histogram


def _model(rng: np.random.Generator) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 7))
    h = b.op("MatMul", [x, b.weight("w", rng.standard_normal((7, 13)).astype(np.float32))])
    r = b.op("Relu", [h])
    y = b.op("Tanh", [b.op("MatMul", [r, b.weight("v", rng.standard_normal((13, 3)).astype(np.float32))])])
    b.output(y, "y")
    return b.model()


def test_histogram_is_the_same_in_any_order_of_growth(rng: np.random.Generator) -> None:
    parts = [rng.standard_normal(1009) * s for s in (1e-3, 1.0, 37.0, 0.1)]
    found = Histogram()
    for part in parts:
        found.add(part)
    every = np.concatenate(parts)
    assert found.counts.sum() == every.size
    assert (found.low, found.high) == (every.min(), every.max())
    np.testing.assert_allclose([found.mean, found.std], [every.mean(), every.std()], rtol=1e-9)
    width = 2 * found.reach / BINS
    expected = np.bincount(((every + found.reach) / width).astype(int), minlength=BINS)
    # bins merge exactly: growing later counts the same values in the same bins
    assert np.array_equal(found.counts, expected)
    for share in (0.001, 0.5, 0.999):
        assert abs(found.quantile(share) - np.quantile(every, share)) <= 2 * width + 0.05 * abs(
            np.quantile(every, share)
        )


def test_histogram_of_zeros_and_of_values_that_are_not_finite() -> None:
    found = Histogram()
    found.add(np.zeros(5))
    found.add(np.array([np.nan, np.inf, 2.0]))
    assert (found.nonfinite, found.count, found.high) == (2, 6, 2.0)
    assert found.counts.sum() == 6


@pytest.mark.parametrize("group_bytes", [1, 1 << 20], ids=["one-each", "all-at-once"])
def test_observe_is_what_numpy_sees(rng: np.random.Generator, group_bytes: int) -> None:
    model = _model(rng)
    samples = Samples({"x": rng.standard_normal((29, 7)).astype(np.float32)})
    names = ["x", *(v.name or "" for n in model.graph for v in n.outputs)]
    with Graph(model) as graph:
        seen = graph.observe(samples, names, batch=8, group_bytes=group_bytes)
        exact = graph.run(samples, names[1:])
    assert set(seen) == set(names)
    for name, array in {**exact, "x": samples.feeds["x"]}.items():
        np.testing.assert_allclose([seen[name].low, seen[name].high], [array.min(), array.max()], rtol=1e-6)
        np.testing.assert_allclose(seen[name].std, array.astype(np.float64).std(), rtol=1e-6)
        assert seen[name].count == array.size
