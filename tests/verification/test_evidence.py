"""Runs that prove nothing are not counted: a chaotic map is not called verified, whatever its rounding does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from checker_rewrites import NumpyRunner

from recast.graph.build import Builder
from recast.verification.check import Side, verify
from recast.verification.feeds import FLOAT_KINDS
from recast.verification.outcome import Report


def logistic(steps: int, order: int, dtype: str = "float32") -> ir.Model:
    """x -> 3.9 x (1 - x), again and again: rounding doubles at each step. ``order``: two ways to write it."""
    b = Builder("chaos")
    kind = ir.DataType.INT8 if dtype == "int8" else ir.DataType.from_numpy(np.dtype(dtype))
    real = ir.DataType.FLOAT if dtype == "int8" else kind
    x = b.op("Sigmoid", [b.input("x", real, ("batch", 53))])

    def number(value: float) -> ir.Value:
        return b.const(np.array(value, real.numpy()))

    def stored(value: ir.Value) -> ir.Value:
        if dtype != "int8":
            return value
        steps_of = [b.const(np.float32(1 / 255)), b.const(np.int8(-128))]
        return b.op("DequantizeLinear", [b.op("QuantizeLinear", [value, *steps_of]), *steps_of])

    x = stored(x)
    for _ in range(steps):
        rest, rate = b.op("Sub", [number(1.0), x]), number(3.9)
        pair = [b.op("Mul", [rate, x]), rest] if order else [rate, b.op("Mul", [x, rest])]
        x = b.op("Mul", pair)
        if order and dtype == "int8":  # a runtime whose rounding is off by a part of a step
            x = b.op("Add", [x, b.const(np.float32(0.02 / 255))])
        x = stored(x)
    b.output(x, "y")
    return b.model()


def judged(steps: int, dtype: str = "float32") -> Report:
    """Half precision is run by NumPy, which rounds every value; ONNX Runtime keeps what it fuses in float32."""
    models = [logistic(steps, order, dtype) for order in (0, 1)]
    runners = [NumpyRunner(m) if "float16" in dtype else None for m in models]
    return verify(Side("a", runners[0], models[0]), Side("b", runners[1], models[1]))


@pytest.mark.parametrize(
    ("steps", "dtype", "fault"), [(5, "float32", 1e-3), (1, "float64", 1e-9), (1, "float16", 0.01), (1, "int8", 0.01)]
)
def test_a_few_steps_are_verified(steps: int, dtype: str, fault: float) -> None:
    report = judged(steps, dtype)
    assert report.passed, report.summary()
    assert report.resolution is not None
    assert report.resolution < fault
    assert any("would have been seen" in line for line in report.summary())


@pytest.mark.parametrize(
    ("steps", "dtype"),
    [(23, "float32"), (40, "float32"), (11, "float16"), (29, "float16")],
)
def test_chaos_is_not_verified(steps: int, dtype: str) -> None:
    """Inputs on which the map ends in zeros (pixels, photo) agree to the bit, and are no proof of the others."""
    report = judged(steps, dtype)
    assert not report.passed
    assert report.wrong is not None
    assert report.wrong.kind == "feeds"
    assert "--data" in report.wrong.what


@pytest.mark.parametrize(("steps", "dtype"), [(11, "float64"), (41, "float64"), (11, "int8")])
def test_chaos_where_nothing_is_more_exact_is_a_mismatch(steps: int, dtype: str) -> None:
    """float64 is compared directly; steps of integers are jittered less than chaos makes of them."""
    report = judged(steps, dtype)
    assert not report.passed
    assert report.wrong is not None
    assert report.wrong.kind in ("values", "graph")


def test_smooth_feeds_are_smooth_and_differ() -> None:
    shape = (3, 31, 37)
    for kind, size in (("smooth", 1.0), ("photo", 100.0)):
        one, two = (FLOAT_KINDS[kind](np.random.default_rng(n), shape) for n in (1, 2))
        assert np.abs(np.diff(one, axis=1)).mean() < 0.4 * one.std()
        assert np.abs(one - two).mean() > 0.1 * size
        assert one.std() > 0.1 * size
