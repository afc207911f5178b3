"""Sizes known at run time, counted from an input instead: the same results at several sizes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, decompose, fold_constants

F32, I64 = ir.DataType.FLOAT, ir.DataType.INT64
_OPTIONS = PassOptions(native=lambda node: node.op_type not in ("Expand", "Range", "Slice") or not _computed(node))


def _computed(node: ir.Node) -> bool:
    return any(v is not None and v.const_value is None for v in node.inputs[1:])


def op(b: Builder, kind: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
    return b.op(kind, inputs, attributes)


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    return np.asarray(session.run(None, feeds)[0])


def size(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    return op(b, "Shape", x, start=axis, end=axis + 1)


def token(b: Builder, x: ir.Value) -> ir.Value:
    """A row for every sample, as class tokens are."""
    row = b.const(np.arange(5, dtype=np.float32).reshape(1, 1, 5), np.float32)
    return op(b, "Concat", op(b, "Expand", row, op(b, "Concat", size(b, x, 0), b.const([1, 1]), axis=0)), x, axis=1)


def counted(b: Builder, x: ir.Value) -> ir.Value:
    ramp = op(b, "Range", b.const(0), op(b, "Squeeze", size(b, x, 1)), b.const(1))
    ramp = op(b, "Unsqueeze", op(b, "Cast", ramp, to=1), b.const([1]))
    return op(b, "Add", x, ramp)


def positions(b: Builder, x: ir.Value) -> ir.Value:
    """The first rows of a table, added to a sequence."""
    ids = b.const(np.arange(11)[None] * 2 % 11)
    some = op(b, "Slice", ids, b.const([0]), size(b, x, 1), b.const([1]))
    rows = op(b, "Gather", b.const(np.random.default_rng(3).random((11, 5)).astype(np.float32), np.float32), some)
    return op(b, "Add", x, rows)


@pytest.mark.parametrize("make", [token, counted, positions])
def test_the_same_results(make, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    models = []
    for _ in range(2):
        b = Builder(make.__name__)
        b.output(make(b, b.input("x", F32, ("batch", "sequence", 5))), "y")
        models.append(b.model())
        fold_constants.apply(models[-1], PassOptions())
    model, plain = models
    decompose.apply(plain, _OPTIONS)
    assert not any(_computed(n) for n in plain.graph if n.op_type in ("Expand", "Range", "Slice"))
    for batch, sequence in ((1, 1), (3, 7), (2, 11)):
        x = rng.standard_normal((batch, sequence, 5)).astype(np.float32)
        x[0, 0, 0] = np.nan  # only the size of an input counts
        np.testing.assert_array_equal(run(plain, {"x": x}), run(model, {"x": x}))


def test_a_slice_that_may_clamp_stays() -> None:
    b = Builder("clamped")
    x = b.input("x", F32, ("batch", "sequence"))
    b.output(op(b, "Slice", b.const(np.arange(11)), b.const([0]), size(b, x, 1), b.const([0])), "y")
    model = b.model()
    decompose.apply(model, _OPTIONS)
    assert [n.op_type for n in model.graph] == ["Shape", "Slice"]
