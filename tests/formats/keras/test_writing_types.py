"""Element types, sums along the right axis, places: what stock Keras computes equals what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast.formats.keras.writing._bias import misread
from recast.graph.build import Builder
from tests.formats.keras.keras_judge import check

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
Body = Callable[[Builder, ir.Value, np.random.Generator], ir.Value]
CASES: dict[str, tuple[str, tuple[int, ...], Body]] = {}


def case(name: str, dtype: str, *shape: int) -> Callable[[Body], Body]:
    def register(body: Body) -> Body:
        CASES[name] = (dtype, shape, body)
        return body

    return register


@case("Add-middle_axis_as_long_as_the_last", "FLOAT", 3, 5, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("Add", [x, b.weight("w", rng.standard_normal((1, 5, 1)).astype(np.float32))])


@case("Add-computed_middle_axis", "FLOAT", 3, 5, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    mean = b.op("ReduceMean", [x, b.const([0, 2])], {"keepdims": 1})
    return b.op("Add", [x, mean])


@case("Greater-uint64_above_2_63", "UINT64", 3, 7)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("Greater", [x, b.weight("w", np.array([2**63 + 11], np.uint64))])


@case("Div-uint64_above_2_63", "UINT64", 3, 7)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("Div", [x, b.weight("w", np.array([1, 2, 7, 2**40 + 1, 2**62 + 3, 2**63 + 5, 2**64 - 1], np.uint64))])


@case("Div-negative_integers", "INT32", 3, 7)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("Div", [x, b.weight("w", np.array([1, -2, 7, -11, 13, -17, 19], np.int32))])


@case("ReduceProd-int64", "INT64", 3, 7)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("ReduceProd", [x, b.const([1])], {"keepdims": 0})


@case("CumSum-exclusive_reverse", "FLOAT", 3, 7, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("CumSum", [x, b.const(1)], {"exclusive": 1, "reverse": 1})


@case("ScatterElements-add_from_the_end", "FLOAT", 3, 7, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    places = b.weight("i", np.array([[[-1, 2, 0], [6, -7, 3]]]))
    updates = b.weight("u", rng.standard_normal((1, 2, 3)).astype(np.float32))
    return b.op("ScatterElements", [x, places, updates], {"axis": 1, "reduction": "add"})


@case("TopK-smallest_of_a_middle_axis", "INT32", 3, 7, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.node("TopK", [x, b.const([3])], {"axis": 1, "largest": 0}, 2)[0]


@case("Shape-counted", "FLOAT", 3, 7, 5)
def _(b: Builder, x: ir.Value, rng: np.random.Generator) -> ir.Value:
    return b.op("Shape", [x])


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    dtype, shape, body = CASES[name]
    kind = ir.DataType[dtype].numpy()
    b = Builder(name)
    x = b.input("x", ir.DataType[dtype], ("batch", *shape[1:]))
    b.output(body(b, x, rng), "y")
    if dtype == "UINT64":
        feed = rng.integers(0, 2**64 - 1, shape, np.uint64)
    else:
        feed = (rng.standard_normal(shape) * (1 if dtype == "FLOAT" else 31)).astype(kind)
    check(b.model(), {"x": feed}, tmp_path)


@pytest.mark.parametrize(
    ("x", "y", "wrong"),
    [
        ((3, 4, 4), (1, 4, 1), True),  # added along the last axis
        ((3, 5, 7), (1, 5, 1), False),
        ((None, 5, 7), (5, 1), False),
        ((None, 4, 4), (4,), False),
        ((3, 4, 1), (4,), True),  # a result of the wrong shape
        ((None, 6, 7, 4), (None, 1, 1, 1), True),  # a batch of 4 or 6
        ((None, 7, 5), (None, 7, 5), False),
        ((2, 3), (), False),
    ],
)
def test_sums_that_keras_misreads(x: tuple[int | None, ...], y: tuple[int | None, ...], wrong: bool) -> None:
    assert misread(x, y) is wrong
