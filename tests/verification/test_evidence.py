"""Runs that prove nothing are not counted: a chaotic map is not called verified, whatever its rounding does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.verification.check import Side, verify
from recast.verification.feeds import FLOAT_KINDS
from recast.verification.outcome import Report


def logistic(steps: int, order: int) -> ir.Model:
    """x -> 3.9 x (1 - x), again and again: rounding doubles at each step. ``order``: two ways to write it."""
    b = Builder("chaos")
    x = b.op("Sigmoid", [b.input("x", ir.DataType.FLOAT, ("batch", 53))])
    for _ in range(steps):
        rest = b.op("Sub", [b.const(1.0), x])
        rate = b.const(3.9)
        x = b.op("Mul", [b.op("Mul", [rate, x]), rest]) if order else b.op("Mul", [rate, b.op("Mul", [x, rest])])
    b.output(x, "y")
    return b.model()


def judged(steps: int) -> Report:
    return verify(Side("a", None, logistic(steps, 0)), Side("b", None, logistic(steps, 1)))


def test_a_few_steps_are_verified() -> None:
    report = judged(5)
    assert report.passed, report.summary()
    assert report.resolution is not None
    assert report.resolution < 1e-3
    assert any("would have been seen" in line for line in report.summary())


@pytest.mark.parametrize("steps", [23, 40])
def test_chaos_is_not_verified(steps: int) -> None:
    report = judged(steps)
    assert not report.passed
    assert report.wrong is not None
    assert report.wrong.kind == "feeds"
    assert "--data" in report.wrong.what


def test_smooth_feeds_are_smooth_and_differ() -> None:
    shape = (3, 31, 37)
    for kind, size in (("smooth", 1.0), ("photo", 100.0)):
        one, two = (FLOAT_KINDS[kind](np.random.default_rng(n), shape) for n in (1, 2))
        assert np.abs(np.diff(one, axis=1)).mean() < 0.4 * one.std()
        assert np.abs(one - two).mean() > 0.1 * size
        assert one.std() > 0.1 * size
