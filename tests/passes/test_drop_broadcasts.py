"""Masks as exporters write them out become the masks themselves; what is not provably the same stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from recast.graph.build import Builder
from recast.passes import PassOptions, drop_broadcasts, drop_noops, fold_constants

BOOL, F32, I64 = ir.DataType.BOOL, ir.DataType.FLOAT, ir.DataType.INT64


def op(b: Builder, kind: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
    return b.op(kind, inputs, attributes)


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    return np.asarray(session.run(None, feeds)[0])


def kinds(model: ir.Model) -> list[str]:
    return [n.op_type for n in model.graph]


def masked(limit: int = 0, axes: tuple[int, int] = (0, 3)) -> ir.Model:
    """``scores + where(mask[arange(n), arange(s)], 0, -9)``, with a comparison ANDed that holds if ``limit`` <= 0."""
    b = Builder("masked")
    mask, scores = b.input("mask", BOOL, ("n", "s")), b.input("scores", F32, ("n", 3, "s", "s"))
    dims = op(b, "Shape", mask)
    places = []
    for axis, at in enumerate(axes):
        size = op(b, "Squeeze", op(b, "Slice", dims, b.const([axis]), b.const([axis + 1])))
        ramp = op(b, "Range", b.const(0), size, b.const(1))
        places.append(op(b, "Unsqueeze", ramp, b.const([a for a in range(4) if a != at])))
    shape = op(b, "Shape", op(b, "Max", *places))
    parts = [op(b, "Unsqueeze", op(b, "Expand", p, shape), b.const([-1])) for p in places]
    found = op(b, "GatherND", mask, op(b, "Concat", *parts, axis=-1))
    rows = op(b, "Unsqueeze", op(b, "Range", b.const(0), size, b.const(1)), b.const([0, 1, 3]))
    found = op(b, "And", op(b, "GreaterOrEqual", rows, b.const(limit)), found)
    grown = op(b, "Expand", found, op(b, "Shape", scores))
    bias = op(b, "Where", grown, b.const(0, np.float32), b.const(-9, np.float32))
    b.output(op(b, "Add", scores, bias), "y")
    return b.model()


def tidy(model: ir.Model) -> ir.Model:
    for rewrite in (fold_constants, drop_noops, drop_broadcasts, fold_constants):
        rewrite.apply(model, PassOptions())
    return model


def same(model: ir.Model, tidied: ir.Model, rng: np.random.Generator) -> None:
    for n, s in ((1, 1), (2, 7), (5, 3)):
        scores = rng.standard_normal((n, 3, s, s)).astype(np.float32)
        feeds = {"mask": rng.random((n, s)) < 0.5, "scores": scores}
        np.testing.assert_array_equal(run(tidied, feeds), run(model, feeds))


def test_a_mask(rng: np.random.Generator) -> None:
    tidied = tidy(masked())
    assert kinds(tidied) == ["Unsqueeze", "Where", "Add"]
    same(masked(), tidied, rng)


def test_a_comparison_that_may_fail_stays(rng: np.random.Generator) -> None:
    tidied = tidy(masked(limit=1))
    assert "GreaterOrEqual" in kinds(tidied)
    assert "GatherND" not in kinds(tidied)
    same(masked(limit=1), tidied, rng)


def test_a_broadcast_that_shows_stays(rng: np.random.Generator) -> None:
    b = Builder("shown")
    x, y = b.input("x", F32, ("n", 1, 5)), b.input("y", F32, ("n", 3, 5))
    grown = op(b, "Expand", x, op(b, "Shape", y))
    b.output(op(b, "ReduceSum", grown), "sum")
    b.output(op(b, "Add", y, op(b, "Relu", grown)), "y2")
    model = tidy(b.model())
    assert kinds(model).count("Expand") == 1


def test_zeros_that_are_weights_stay() -> None:
    b = Builder("bias")
    x = b.input("x", F32, ("n", 5))
    biased = op(b, "Add", x, b.weight("bias", np.zeros(5, np.float32)))
    mask = op(
        b,
        "Where",
        op(b, "Expand", b.const([[True]], bool), op(b, "Shape", x)),
        b.const(0, np.float32),
        b.const(-9, np.float32),
    )
    b.output(op(b, "Neg", op(b, "Add", biased, mask)), "y")
    model = tidy(b.model())
    assert kinds(model) == ["Add", "Neg"]
    assert "bias" in model.graph.initializers
