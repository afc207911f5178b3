"""What leaves a tensor as it is goes, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, drop_noops
from tests.passes.checks import ort_run as run

F, B = ir.DataType.FLOAT, ir.DataType.BOOL
Maker = Callable[[Builder, ir.Value], ir.Value]


def built(maker: Maker, dtype: ir.DataType = F) -> ir.Model:
    b = Builder("net")
    x = b.input("x", dtype, ("batch", 5, "rows"))
    y = maker(b, b.op("Identity", [x]))
    b.output(b.op("Identity", [y]), "y")
    return b.model()


def sliced(*given: int) -> Maker:
    return lambda b, x: b.op("Slice", [x, *(b.const([n]) for n in given)])


IDLE: dict[str, tuple[Maker, ir.DataType]] = {
    "transpose": (lambda b, x: b.op("Transpose", [x], {"perm": [0, 1, 2]}), F),
    "slice": (sliced(0, 5, 1, 1), F),
    "slice-far": (sliced(0, 2**31 - 1, 2), F),
    "reshape": (lambda b, x: b.op("Reshape", [x, b.const([0, 5, 0])]), F),
    "expand": (lambda b, x: b.op("Expand", [x, b.const([1, 5, 1])]), F),
    "concat": (lambda b, x: b.op("Concat", [x], {"axis": 1}), F),
    "cast": (lambda b, x: b.op("Cast", [x], {"to": 1}), F),
    "times-one": (lambda b, x: b.op("Mul", [b.const(np.float32(1)), x]), F),
    "and-true": (lambda b, x: b.op("And", [b.const(np.array(True)), x]), B),
}
BUSY: dict[str, tuple[Maker, ir.DataType]] = {
    "transpose": (lambda b, x: b.op("Transpose", [x], {"perm": [0, 2, 1]}), F),
    "slice": (sliced(1, 5, 1, 1), F),
    "reversed": (sliced(-1, -9, 1, -1), F),
    "reshape": (lambda b, x: b.op("Reshape", [x, b.const([0, -1])]), F),
    "expand": (lambda b, x: b.op("Expand", [x, b.const([7, 1, 1, 1])]), F),
    "cast": (lambda b, x: b.op("Cast", [x], {"to": 11}), F),
    "times-two": (lambda b, x: b.op("Mul", [x, b.const(np.float32(2))]), F),
    "wider": (lambda b, x: b.op("Mul", [x, b.const(np.ones((1, 1, 1, 1), np.float32))]), F),
    "plus-float-zero": (lambda b, x: b.op("Add", [x, b.const(np.float32(0))]), F),
    "and-false": (lambda b, x: b.op("And", [b.const(np.array(False)), x]), B),
}


@pytest.mark.parametrize("name", IDLE)
def test_idle(name: str) -> None:
    model = built(*IDLE[name])
    drop_noops.apply(model, PassOptions())
    assert {n.op_type for n in model.graph} == {"Identity"}


@pytest.mark.parametrize("name", BUSY)
def test_busy(name: str) -> None:
    model = built(*BUSY[name])
    before = Counter(n.op_type for n in model.graph)
    drop_noops.apply(model, PassOptions())
    assert Counter(n.op_type for n in model.graph) == before


def masked(length: str, start: int = 0) -> ir.Model:
    """``mask[rows[:, None, None, None], columns]``, as masks are made; all rows, columns from ``start`` on."""
    b = Builder("net")
    mask, x = b.input("mask", ir.DataType.INT64, ("batch", "length")), b.input("x", F, ("batch", 3, length))
    ends = [b.op("Squeeze", [b.op("Shape", [x], {"start": a, "end": a + 1})]) for a in (0, 2)]
    zero, one = b.const(0), b.const(1)
    rows, columns = (b.op("Range", [s, e, one]) for s, e in zip((zero, b.const(start)), ends, strict=True))
    rows.shape = ir.Shape(["batch"])
    columns.shape = ir.Shape([length])
    rows = b.op("Unsqueeze", [rows, b.const([1, 2, 3])])
    columns = b.op("Unsqueeze", [columns, b.const([0, 1, 2])])
    shape = b.op("Shape", [b.op("Max", [rows, columns])])
    parts = [b.op("Unsqueeze", [b.op("Expand", [v, shape]), b.const([-1])]) for v in (rows, columns)]
    b.output(b.op("GatherND", [mask, b.op("Concat", parts, {"axis": -1})]), "y")
    b.output(b.op("Identity", [x]), "z")
    model = b.model()
    y = model.graph.outputs[0]
    assert y.producer() is not None
    held = ir.node("Identity", [y], name="last")
    model.graph.append(held)
    held.outputs[0].name, held.outputs[0].shape, held.outputs[0].type = "taken", y.shape, y.type
    model.graph.outputs[0] = held.outputs[0]
    return model


def test_everything_in_order() -> None:
    model = masked("length")
    feeds = {
        "mask": np.arange(2 * 7).reshape(2, 7) * 3,
        "x": np.zeros((2, 3, 7), np.float32),
    }
    wanted = run(model, feeds)
    drop_noops.apply(model, PassOptions())
    assert "GatherND" not in {n.op_type for n in model.graph}
    np.testing.assert_array_equal(run(model, feeds)[0], wanted[0])
    assert wanted[0].shape == (2, 1, 1, 7)


@pytest.mark.parametrize(("length", "start"), [("other", 0), ("length", 2)])
def test_not_everything(length: str, start: int) -> None:
    model = masked(length, start)
    drop_noops.apply(model, PassOptions())
    assert "GatherND" in {n.op_type for n in model.graph}
