"""Transposes meet: attention as PyTorch's module spells it, Slices and Swish in one piece."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import count, ort_run, same

F = ir.DataType.FLOAT
TIME, HEADS, SIZE = 7, 3, 5
WIDTH = HEADS * SIZE


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def turned(b: Builder, x: ir.Value, *perm: int) -> ir.Value:
    return b.op("Transpose", [x], {"perm": list(perm)})


def shaped(b: Builder, x: ir.Value, *dims: int) -> ir.Value:
    return b.op("Reshape", [x, b.const(np.array(dims))])


def dense(b: Builder, x: ir.Value, rng: np.random.Generator, inner: int, outer: int, bias: bool = True) -> ir.Value:
    y = b.op("MatMul", [x, b.weight("w", floats(rng, inner, outer))])
    return b.op("Add", [b.weight("b", floats(rng, outer)), y]) if bias else y


def attention(b: Builder, x: ir.Value, rng: np.random.Generator, keys: tuple[int, ...], bias: bool) -> ir.Value:
    """(batch, time, width) → the same, time first in between; ``keys``: how the keys' axes are turned."""
    y = dense(b, turned(b, x, 1, 0, 2), rng, WIDTH, 3 * WIDTH, bias)
    stack = turned(b, shaped(b, y, TIME, -1, 3, WIDTH), 2, 0, 1, 3)
    parts = [b.op("Gather", [stack, b.const(np.array(i))]) for i in range(3)]
    q, k, v = (shaped(b, p, TIME, -1, HEADS, SIZE) for p in parts)
    q, v = turned(b, q, 1, 2, 0, 3), turned(b, v, 1, 2, 0, 3)
    weights = b.op("Softmax", [b.op("MatMul", [q, turned(b, k, *keys)])], {"axis": -1})
    y = turned(b, b.op("MatMul", [weights, v]), 2, 0, 1, 3)
    y = dense(b, shaped(b, y, TIME, -1, WIDTH), rng, WIDTH, WIDTH, bias)
    return b.op("Add", [x, turned(b, y, 1, 0, 2)])


@pytest.mark.parametrize("bias", [True, False])
def test_attention_turns_its_heads_once(bias: bool, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, ("batch", TIME, WIDTH))
    b.output(attention(b, x, rng, (1, 2, 3, 0), bias), "y")
    model, feeds = b.model(), {"x": floats(rng, 2, TIME, WIDTH)}
    expected = ort_run(model, feeds)
    assert (count(model, "Transpose"), count(model, "Reshape")) == (7, 5)
    run(model, ["join_moves", "merge_moves", "clean"], PassOptions())
    assert (count(model, "Transpose"), count(model, "Reshape")) == (3, 2), "the stack, the keys, the result"
    assert count(model, "Gather") == 3
    same(expected, ort_run(model, feeds))
    for batch in (1, 5):
        assert ort_run(model, {"x": floats(rng, batch, TIME, WIDTH)})[0].shape == (batch, TIME, WIDTH)


@pytest.mark.parametrize("why", ["nothing-follows", "two-users", "last-axis-moves", "slices-differ", "sliced-output"])
def test_what_meets_nothing_stays(why: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, ("batch", TIME, WIDTH))
    if why == "nothing-follows":
        y = b.op("Relu", [dense(b, turned(b, x, 1, 0, 2), rng, WIDTH, 11)])
    elif why == "two-users":
        first = dense(b, turned(b, x, 1, 0, 2), rng, WIDTH, 11)
        b.output(b.op("Neg", [first]), "other")
        y = turned(b, first, 1, 0, 2)
    elif why == "last-axis-moves":
        y = turned(b, dense(b, turned(b, x, 0, 2, 1), rng, TIME, 11), 0, 2, 1)
    else:
        stack = turned(b, shaped(b, x, -1, TIME, HEADS, SIZE), 2, 0, 1, 3)
        parts = [b.op("Gather", [stack, b.const(np.array(i))]) for i in range(2)]
        if why == "sliced-output":
            b.output(parts[0], "part")
        dims = [(-1, TIME * SIZE), (-1, TIME * SIZE)] if why == "sliced-output" else [(-1, SIZE), (-1, SIZE * TIME)]
        y, other = (shaped(b, p, *d) for p, d in zip(parts, dims, strict=True))
        b.output(other, "other")
    b.output(y, "y")
    model, feeds = b.model(), {"x": floats(rng, 2, TIME, WIDTH)}
    expected = ort_run(model, feeds)
    before = [n.op_type for n in model.graph]
    run(model, ["join_moves"], PassOptions())
    assert [n.op_type for n in model.graph] == before
    same(expected, ort_run(model, feeds))


def test_a_branch_is_not_entered(rng: np.random.Generator) -> None:
    """A dense layer inside an If that alone uses a Transpose around it."""
    inner = Builder("then")
    b = Builder()
    x = b.input("x", F, ("batch", TIME, WIDTH))
    outside = turned(b, x, 1, 0, 2)
    weight = inner.weight("w", floats(rng, WIDTH, 11))
    y = inner.op("Transpose", [inner.op("MatMul", [outside, weight])], {"perm": [1, 0, 2]})
    inner.output(y, "y_then")
    other = Builder("else")
    zero = other.op("ReduceSum", [x, other.const(np.array([2]))])
    other.output(other.op("Expand", [zero, other.const(np.array([1, TIME, 11]))]), "y_else")
    branches = {"then_branch": inner.model().graph, "else_branch": other.model().graph}
    b.output(b.op("If", [b.input("c", ir.DataType.BOOL, ())], branches), "y")
    model = b.model()
    feeds = {"x": floats(rng, 2, TIME, WIDTH), "c": np.array(True)}
    expected = ort_run(model, feeds)
    run(model, ["join_moves"], PassOptions())
    assert [n.op_type for n in model.graph] == ["Transpose", "If"]
    same(expected, ort_run(model, feeds))


def test_a_scalar_has_no_last_axis() -> None:
    b = Builder()
    b.output(turned(b, b.op("Neg", [b.input("x", F, ())])), "y")
    model = b.model()
    run(model, ["join_moves"], PassOptions())
    assert [n.op_type for n in model.graph] == ["Neg", "Transpose"]


def cut(b: Builder, x: ir.Value, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> ir.Value:
    return b.op("Slice", [x, *(b.const(np.array(part)) for part in (starts, ends, axes, steps))])


@pytest.mark.parametrize("second", [3, -1, 2], ids=["other-axis", "other-from-the-end", "same-axis"])
def test_slices_of_different_axes_merge(second: int, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, ("batch", 3, 11, 13))
    y = cut(b, cut(b, x, [2], [1], [10], [2]), [second, 1], [-2, 0], [0, 2], [-1, 1])
    b.output(y, "y")
    model, feeds = b.model(), {"x": floats(rng, 2, 3, 11, 13)}
    expected = ort_run(model, feeds)
    run(model, ["merge_slices"], PassOptions())
    assert count(model, "Slice") == (2 if second == 2 else 1)
    same(expected, ort_run(model, feeds))


@pytest.mark.parametrize("kind", ["swish", "left", "other-factor", "two-users", "half"])
def test_swish(kind: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT16 if kind == "half" else F, (3, 5))
    gate = b.op("Sigmoid", [x])
    factor = b.op("Neg", [x]) if kind == "other-factor" else x
    y = b.op("Mul", [gate, factor] if kind == "left" else [factor, gate])
    b.output(b.op("Add", [y, gate]) if kind == "two-users" else y, "y")
    model, feeds = b.model(), {"x": rng.standard_normal((3, 5)).astype(np.float16 if kind == "half" else np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["fuse_swish"], PassOptions())
    assert count(model, "Swish") == (kind in ("swish", "left"))
    assert model.graph.outputs[0].name == "y"
    if not count(model, "Swish"):
        same(expected, ort_run(model, feeds))
    else:
        x64 = feeds["x"].astype(np.float64)
        np.testing.assert_allclose(expected[0], x64 / (1 + np.exp(-x64)), rtol=1e-5)
        assert [n.op_type for n in model.graph] == ["Swish"]
        assert model.graph.node(0).inputs[0] is model.graph.inputs[0]
