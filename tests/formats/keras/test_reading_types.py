"""Operations of ``keras.ops`` on every kind of number: element types, literals and signs as Keras has them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from recast.formats._format import ReadOptions
from recast.formats.keras import promotion
from recast.formats.keras.read import read
from tests.formats.keras.reading_judge import agree

keras = pytest.importorskip("keras", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from keras import ops

_NAMES = (
    "bool",
    "int",
    "uint8",
    "uint32",
    "uint64",
    "int8",
    "int32",
    "int64",
    "float",
    "float16",
    "float32",
    "float64",
)


def test_types_are_promoted_as_keras_does() -> None:
    from keras.src.backend.common import dtypes

    for names in [*itertools.product(_NAMES, repeat=2), *itertools.permutations(_NAMES[1::2], 3)]:
        given = [{"int": int, "float": float}.get(n, n) for n in names]
        assert promotion.result_type(*names) == dtypes.result_type(*given), names


# id → (types of the inputs, what is made of them); inputs are (batch, 3, 5) and between -9 and 9, without 0
CASES: dict[str, tuple[tuple[str, ...], Callable[..., list[Any]]]] = {
    "integers with numbers": (("int32",), lambda x: [x + 3, 7 - x, x * 0.5, x > 2.5, ops.maximum(x, -4), x / 4]),
    "integers with arrays": (
        ("int32",),
        lambda x: [x + np.arange(5), x * np.arange(5, dtype="int8"), ops.equal(x, np.arange(5, dtype="float32"))],
    ),
    "large integers stay whole": (("int32",), lambda x: [x + np.array([2**40, -(2**40), 1, 2, 3])]),
    "mixed types": (
        ("int32", "float16", "int8"),
        lambda x, h, b: [
            x + h,
            h * b,
            x - b,
            ops.where(x > 0, h, b),
            ops.concatenate([x, b], axis=1),
            ops.stack([h, x]),
        ],
    ),
    "division": (
        ("int32", "int32"),
        lambda x, y: [x // y, x // 4, x % y, ops.mod(x, 4), ops.fmod(x, y), ops.true_divide(x, y)],
    ),
    "division of fractions": (("float32", "float32"), lambda x, y: [x // y, x % y, ops.fmod(x, y), ops.mod(x, -2.5)]),
    "reductions of narrow integers": (
        ("int8",),
        lambda x: [
            ops.sum(x * 13, axis=2),
            ops.mean(x, axis=1),
            ops.prod(x, axis=2),
            ops.max(x, axis=1),
            ops.var(x, 2),
        ],
    ),
    "truth": (
        ("int32", "float32"),
        lambda x, y: [ops.any(x > 5, axis=1), ops.all(y, axis=2), ops.logical_and(x, y > 0), ops.logical_not(x - 1)],
    ),
    "bits": (
        ("int32", "int32"),
        lambda x, y: [
            ops.bitwise_and(x, y),
            ops.bitwise_or(x, np.array([1, 2, 4, 8, -9])),
            ops.bitwise_xor(x, y),
            ops.bitwise_not(x),
        ],
    ),
    "shifts": (("int32",), lambda x: [ops.left_shift(x, 3), ops.right_shift(x, 1), ops.right_shift(x * 1000, 7)]),
    "bits as another type": (("float32",), lambda x: [ops.view(x, "int32")]),
    "functions of integers": (("int32",), lambda x: [ops.exp(x), ops.sin(x), ops.sqrt(ops.abs(x)), ops.arcsinh(x)]),
    "infinite or none": (
        ("float32",),
        lambda x: [ops.isnan(ops.log(x)), ops.isinf(ops.exp(x * 99)), ops.arctanh(x / 10), ops.isinf(x)],
    ),
    "running": (("int32",), lambda x: [ops.cumsum(x, axis=1), ops.cumsum(x, axis=-1)]),
    "gathering": (
        ("float32",),
        lambda x: [
            ops.take_along_axis(x, np.array([[[2, -1, 0, 1, 1]]]), axis=1),
            ops.take(x, np.array([[1, -1], [0, 2]]), axis=2),
            *ops.top_k(x, 2),
        ],
    ),
    "triangles": (("float32",), lambda x: [ops.tril(x), ops.triu(x, 1), ops.tril(x, -1)]),
    "filled": (("int32",), lambda x: [ops.zeros_like(x), ops.ones_like(x, dtype="float32") + x]),
    "one-hot of negative ids": (("int32",), lambda x: [ops.one_hot(x, 7), ops.one_hot(x, 5, axis=1, dtype="int32")]),
    "constants among tensors": (
        ("float32",),
        lambda x: [
            ops.concatenate([x, np.ones((2, 1, 5), "float32")], axis=1),
            ops.einsum("bij,jk->bik", x, np.arange(15, dtype="float32").reshape(5, 3)),
            ops.matmul(x, np.arange(10, dtype="float32").reshape(5, 2)),
        ],
    ),
    "borders": (("int32",), lambda x: [ops.pad(x, ((0, 0), (1, 2), (3, 0)), constant_values=7)]),
    "clipped": (("int32",), lambda x: [ops.clip(x, -3, 4), ops.square(x), ops.negative(x), ops.round(x)]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(CASES))
def test_operation(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    dtypes, make = CASES[name]
    inputs = [keras.Input(batch_shape=(2, 3, 5), dtype=d) for d in dtypes]
    made = make(*inputs)
    feeds = []
    for dtype in dtypes:
        size = rng.integers(1, 10, (2, 3, 5))
        feed = (size * rng.choice([-1, 1], size.shape)).astype(dtype)
        feeds.append(feed + feed.dtype.type(0.25) if feed.dtype.kind == "f" else feed)
    agree(keras.Model(inputs, made), feeds, tmp_path, (".keras",))


@pytest.mark.filterwarnings("ignore")
def test_constants_of_a_file_are_constants_again(tmp_path: Path, rng: np.random.Generator) -> None:
    """A weight that is looked up at a computed zero, and a literal that is added to it."""
    import recast
    from recast.recipe import Recipe, Writing

    builder = recast.graph.build.Builder()
    x = builder.input("x", ir.DataType.FLOAT, ("batch", 7))
    ids = builder.input("ids", ir.DataType.INT64, ("batch", 3))
    table = builder.weight("table", rng.normal(size=(2, 5, 7)).astype(np.float32))
    places = builder.weight("places", rng.integers(0, 9, (67, 3)))
    builder.output(builder.op("Add", [table, x]), "y")
    builder.output(builder.op("Add", [places, builder.op("ReduceSum", [ids], {"keepdims": 0})]), "z")
    ir.save(builder.model(), tmp_path / "m.onnx")
    recast.convert(tmp_path / "m.onnx", tmp_path / "m.keras", Recipe(writing=Writing(force=True)))
    again = read(tmp_path / "m.keras", ReadOptions())
    kinds = {node.op_type for node in again.graph}
    assert kinds <= {"Add", "ReduceSum", "Identity", "Reshape", "Cast"}, kinds
    shapes = {tuple(v.shape) for v in again.graph.initializers.values()}
    assert {(2, 5, 7), (67, 3)} <= shapes
