"""16-, 32- and 64-bit unsigned integers, on which PyTorch hardly computes: exact up to their largest numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from tests.formats.torch.torch_writing import opened

TYPES = {"uint16": ir.DataType.UINT16, "uint32": ir.DataType.UINT32, "uint64": ir.DataType.UINT64}
PICK = np.array([2, 0, -1])
PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b,
    "Mod": lambda a, b: a % b,
    "Max": np.maximum,
    "Min": np.minimum,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
    "Equal": np.equal,
}
SINGLES: dict[str, tuple[dict[str, object], tuple[object, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "Abs": ({}, (), lambda a: a),
    "Sign": ({}, (), np.sign),
    "Relu": ({}, (), lambda a: a),
    "ReduceMax": ({"keepdims": 0}, ([1],), lambda a: a.max(1)),
    "ReduceMin": ({"keepdims": 0}, ([1],), lambda a: a.min(1)),
    "ReduceProd": ({"keepdims": 0}, ([0],), lambda a: a.prod(0, dtype=a.dtype)),
    "CumSum": ({}, (np.array(1),), lambda a: a.cumsum(1, dtype=a.dtype)),
    "ArgMax": ({"axis": 1, "keepdims": 0}, (), lambda a: a.argmax(1)),
    "Gather": ({"axis": 1}, (PICK,), lambda a: a[:, PICK]),
    "Trilu": ({"upper": 0}, (), np.tril),
    "NonZero": ({}, (), lambda a: np.array(a.nonzero())),
    "Slice": ({}, ([9], [-12], [1], [-2]), lambda a: a[:, ::-2][:, : a.shape[1] // 2 + 1]),
    "Compress": ({"axis": 1}, (np.array([True, False, True]),), lambda a: a[:, [0, 2]]),
}


def numbers(rng: np.random.Generator, dtype: np.dtype[np.unsignedinteger]) -> np.ndarray:
    most = np.iinfo(dtype).max
    found = rng.integers(1, 7, (5, 7)).astype(dtype)
    extreme = np.array([most, most - 1, most // 2, most // 2 + 1, 1, most // 3], dtype)
    return np.where(rng.random((5, 7)) < 0.6, rng.choice(extreme, (5, 7)), found)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("op", PAIRS)
def test_two_operands(op: str, kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    a, c = numbers(rng, np.dtype(kind)), numbers(rng, np.dtype(kind))
    b = Builder()
    ends = [b.input(name, TYPES[kind], ("batch", 7)) for name in "ac"]
    b.output(b.op(op, ends), "y")
    found = opened(b.model(), tmp_path).run({"a": a, "c": c})["y"]
    with np.errstate(over="ignore"):
        wanted = PAIRS[op](a, c)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("op", SINGLES)
def test_one_operand(op: str, kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    if kind == "uint16" and (op.startswith("Reduce") or op == "CumSum"):
        pytest.skip("ONNX does not reduce 16-bit integers")
    a = numbers(rng, np.dtype(kind))
    attributes, more, reference = SINGLES[op]
    b = Builder()
    x = b.input("a", TYPES[kind], ("batch", 7))
    b.output(b.op(op, [x, *(b.const(m) for m in more)], attributes), "y")
    found = opened(b.model(), tmp_path).run({"a": a})["y"]
    with np.errstate(over="ignore"):
        wanted = reference(a)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("count", [0, 1, 31, 63])
def test_zeros_come_in_from_the_left(count: int, tmp_path: Path, rng: np.random.Generator) -> None:
    a = numbers(rng, np.dtype("uint64"))
    b = Builder()
    ends = [b.input("a", TYPES["uint64"], ("batch", 7)), b.const(np.array(count, np.uint64))]
    b.output(b.op("BitShift", ends, {"direction": "RIGHT"}), "y")
    found = opened(b.model(), tmp_path).run({"a": a})["y"]
    np.testing.assert_array_equal(found, a >> np.uint64(count))
