"""What decoders need of passes: masks, dense layers of any rank, attention and counting written out, tied weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, decompose, drop_repeats, fold_constants, layout, unflatten_dense
from tests.passes.checks import ort_run, same

F, B, LONG = ir.DataType.FLOAT, ir.DataType.BOOL, ir.DataType.INT64


def kinds(model: ir.Model) -> Counter[str]:
    return Counter(n.op_type for n in model.graph)


def attending(mask: tuple[ir.DataType, tuple[int | str, ...]] | None, groups: int = 2, **settings: object) -> ir.Model:
    b = Builder("net")
    q = b.input("q", F, ("batch", 6, "new", 5))
    k, v = b.input("k", F, ("batch", groups, "all", 5)), b.input("v", F, ("batch", groups, "all", 7))
    given = [q, k, v] if mask is None else [q, k, v, b.input("mask", *mask)]
    b.output(b.op("Attention", given, settings), "y")
    return b.model()


def attention_feeds(rng: np.random.Generator, groups: int = 2, new: int = 3) -> dict[str, np.ndarray]:
    shapes = {"q": (2, 6, new, 5), "k": (2, groups, 11, 5), "v": (2, groups, 11, 7)}
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


@pytest.mark.parametrize("groups", [6, 2, 1])
def test_attention_of_groups(groups: int, rng: np.random.Generator) -> None:
    checked(attending(None, groups), attention_feeds(rng, groups))
    checked(attending(None, groups, scale=0.3, is_causal=1), attention_feeds(rng, groups))


def test_attention_with_a_mask_that_hides_all_keys(rng: np.random.Generator) -> None:
    feeds = attention_feeds(rng)
    feeds["mask"] = rng.random((2, 1, 3, 11)) < 0.5
    feeds["mask"][1, 0, 2] = False
    wanted = checked(attending((B, ("batch", 1, "new", "all"))), feeds)
    assert not wanted[1, :, 2].any()
    added = np.where(feeds["mask"], rng.standard_normal((2, 1, 3, 11)), -np.inf).astype(np.float32)
    checked(attending((F, ("batch", 1, "new", "all"))), {**feeds, "mask": added})


def test_a_mask_of_another_length_is_left_to_the_function() -> None:
    model = attending((B, ("batch", 1, "new", "some")))
    decompose.apply(model, PassOptions(native=lambda n: n.op_type != "Attention"))
    assert kinds(model)["Attention"] == 1


def checked(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    wanted = ort_run(model, feeds)
    decompose.apply(model, PassOptions(native=lambda n: n.op_type != "Attention"))
    assert "Attention" not in kinds(model)
    same(wanted, ort_run(model, feeds))
    return wanted[0]


@pytest.mark.parametrize(("past", "new"), [(0, 1), (5, 3), (1, 7)])
def test_counting_by_the_inputs(past: int, new: int, rng: np.random.Generator) -> None:
    b = Builder("net")
    ids, cache = b.input("ids", LONG, ("batch", "new")), b.input("cache", F, ("batch", 3, "past"))
    sizes = [b.op("Squeeze", [b.op("Shape", [x], {"start": a, "end": a + 1})]) for x, a in ((ids, 1), (cache, 2))]
    b.output(b.op("Range", [b.const(2), b.op("Add", sizes), b.const(1)]), "y")
    b.output(b.op("Range", [b.const(0), b.op("Add", sizes), b.const(1)]), "z")
    model = b.model()
    feeds = {"ids": rng.integers(0, 9, (2, new)), "cache": np.full((2, 3, past), np.nan, np.float32)}
    wanted = ort_run(model, feeds)
    fold_constants.apply(model, PassOptions())
    decompose.apply(model, PassOptions(native=lambda n: n.op_type != "Range"))
    assert kinds(model)["Range"] == 1, "only what starts at 0 has a known length"
    same(wanted, ort_run(model, feeds))


def test_positions_and_masks_are_not_repeated(rng: np.random.Generator) -> None:
    b = Builder("net")
    x, places = b.input("x", F, ("batch", "new", 5)), b.input("places", LONG, (1, "new"))
    batch = b.op("Shape", [x], {"start": 0, "end": 1})
    spread = b.op("Tile", [places, b.op("Concat", [batch, b.const([1])], {"axis": 0})])
    spread.shape = ir.Shape(["batch", "new"])
    table = b.weight("table", rng.standard_normal((13, 5)).astype(np.float32))
    b.output(b.op("Add", [x, b.op("Gather", [table, spread])]), "y")
    b.output(b.op("Relu", [b.op("Cast", [spread], {"to": 1})]), "z")
    model = b.model()
    feeds = {"x": rng.standard_normal((3, 7, 5)).astype(np.float32), "places": rng.integers(0, 13, (1, 7))}
    wanted = ort_run(model, feeds)
    drop_repeats.apply(model, PassOptions())
    gather = next(n for n in model.graph if n.op_type == "Gather")
    assert gather.inputs[1] is model.graph.inputs[1]
    assert kinds(model)["Tile"] == 1, "the second output needs it"
    same(wanted, ort_run(model, feeds))


@pytest.mark.parametrize("parts", [(6,), (2, 3)], ids=["one dim", "heads"])
@pytest.mark.parametrize("flip", [0, 1])
def test_a_dense_layer_of_another_rank(flip: int, parts: tuple[int, ...], rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", F, ("batch", "new", *parts))
    w = b.weight("w", rng.standard_normal((5, 6) if flip else (6, 5)).astype(np.float32))
    flat = b.op("Gemm", [b.op("Reshape", [x, b.const([-1, 6])]), w, b.weight("b", np.ones(5, np.float32))],
                {"transB": flip})  # fmt: skip
    sizes = [b.op("Shape", [x], {"start": 0, "end": 2}), b.const([5])]
    y = b.op("Reshape", [flat, b.op("Concat", sizes, {"axis": 0})])
    y.shape = ir.Shape(["batch", "new", 5])
    b.output(y, "y")
    model = b.model()
    feeds = {"x": rng.standard_normal((2, 7, *parts)).astype(np.float32)}
    wanted = ort_run(model, feeds)
    unflatten_dense.apply(model, PassOptions())
    assert set(kinds(model)) <= {"MatMul", "Add", "Transpose"} | ({"Reshape"} if len(parts) > 1 else set())
    assert kinds(model)["Reshape"] == len(parts) - 1
    same(wanted, ort_run(model, feeds))


@pytest.mark.parametrize("keep", [False, True])
def test_tied_weights(keep: bool, rng: np.random.Generator) -> None:
    b = Builder("net")
    table = b.weight("table", rng.standard_normal((13, 5)).astype(np.float32))
    x = b.op("Gather", [table, b.input("ids", LONG, ("batch", 7))])
    b.output(b.op("MatMul", [x, b.op("Transpose", [table], {"perm": [1, 0]})]), "y")
    model = b.model()
    feeds = {"ids": rng.integers(0, 13, (2, 7))}
    wanted = ort_run(model, feeds)
    for step in (fold_constants, layout, fold_constants):
        step.apply(model, PassOptions(keep_tied=keep))
    assert len(model.graph.initializers) == (1 if keep else 2)
    assert all(not n.domain for n in model.graph)
    same(wanted, ort_run(model, feeds))


@pytest.mark.parametrize(
    ("shape", "stays"), [((1, 1, "new", "all"), 0), (("batch", 1, 1, "all"), 0), (("batch", 1, "new", 1), 1)]
)
def test_masks_of_attention(shape: tuple[int | str, ...], stays: int, rng: np.random.Generator) -> None:
    b = Builder("net")
    q, mask = b.input("q", F, ("batch", 2, "new", 5)), b.input("mask", B, shape)
    k, v = b.input("k", F, ("batch", 2, "all", 5)), b.input("v", F, ("batch", 2, "all", 5))
    sizes = [b.op("Shape", [x], {"start": a, "end": a + 1}) for x, a in ((q, 0), (q, 2), (k, 2))]
    sizes.insert(1, b.const([1]))
    spread = b.op("Expand", [mask, b.op("Concat", sizes, {"axis": 0})])
    spread.shape = ir.Shape(["batch", 1, "new", "all"])
    b.output(b.op("Attention", [q, k, v, spread]), "y")
    model = b.model()
    known = {"batch": 3, "new": 7, "all": 11}
    feeds = {
        name: rng.standard_normal((3, 2, length, 5)).astype(np.float32)
        for name, length in zip("qkv", (7, 11, 11), strict=True)
    }
    feeds["mask"] = rng.random([d if isinstance(d, int) else known[d] for d in shape]) < 0.7
    wanted = ort_run(model, feeds)
    drop_repeats.apply(model, PassOptions())
    assert kinds(model)["Expand"] == stays
    same(wanted, ort_run(model, feeds))


def test_absolute_integers() -> None:
    b = Builder("net")
    b.output(b.op("Abs", [b.input("x", LONG, (7,))]), "y")
    model, x = b.model(), np.array([0, 1, -1, 5, -7, 2**63 - 1, -(2**63)])
    decompose.apply(model, PassOptions(native=lambda n: n.op_type != "Abs"))
    assert "Abs" not in kinds(model)
    np.testing.assert_array_equal(ort_run(model, {"x": x})[0], np.abs(x))
