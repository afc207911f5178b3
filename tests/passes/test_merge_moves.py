"""Chains of moves: the same numbers with fewer operators; a chain that cannot be proved stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from recast.graph.build import Builder
from recast.passes import PassOptions, merge_moves

Step = tuple[str, tuple[int, ...]]


def op(b: Builder, kind: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
    return b.op(kind, inputs, attributes)


def build(dims: tuple[int | str, ...], steps: list[Step]) -> ir.Model:
    b = Builder("chain")
    x = b.input("x", ir.DataType.FLOAT, dims)
    for kind, numbers in steps:
        if kind == "Transpose":
            x = op(b, "Transpose", x, perm=list(numbers))
        else:
            x = op(b, kind, x, b.const(numbers, np.int64))
    b.output(op(b, "Neg", x), "y")
    return b.model()


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0])


def moves(model: ir.Model) -> list[str]:
    return [n.op_type for n in model.graph if n.op_type != "Neg"]


CHAINS: dict[str, tuple[tuple[int | str, ...], list[Step], list[str]]] = {
    "keys": (
        ("batch", 7, 12),
        [
            ("Reshape", (0, 0, 3, 4)),
            ("Transpose", (0, 2, 1, 3)),
            ("Reshape", (-1, 7, 4)),
            ("Transpose", (0, 2, 1)),
            ("Reshape", (-1, 3, 4, 7)),
        ],
        ["Transpose", "Reshape"],
    ),
    "there and back": (("n", 3, 5), [("Transpose", (0, 2, 1)), ("Transpose", (0, 2, 1))], []),
    "two reshapes": (("n", 6, 5), [("Reshape", (0, 2, 15)), ("Reshape", (0, 30))], ["Reshape"]),
    "squeezed": (("n", 3, 1, 5), [("Squeeze", (2,)), ("Unsqueeze", (1,)), ("Squeeze", (1,))], ["Reshape"]),
    "ones move freely": ((1, 3, 5), [("Transpose", (1, 0, 2)), ("Reshape", (3, 5))], ["Reshape"]),
    "merge": (("n", "m", 3, 4), [("Transpose", (0, 2, 1, 3)), ("Transpose", (0, 1, 3, 2))], ["Transpose"]),
    "needed": ((2, 3, 5), [("Transpose", (1, 0, 2)), ("Reshape", (6, 5))], ["Transpose", "Reshape"]),
    "cut across": ((6, 5), [("Transpose", (1, 0)), ("Reshape", (3, 10))], ["Transpose", "Reshape"]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain(name: str, rng: np.random.Generator) -> None:
    dims, steps, wanted = CHAINS[name]
    model, merged = build(dims, steps), build(dims, steps)
    merge_moves.apply(merged, PassOptions())
    assert moves(merged) == wanted
    for n, m in ((1, 2), (3, 1), (5, 7)):
        size = {"n": n, "m": m, "batch": n}
        x = rng.standard_normal([size[d] if isinstance(d, str) else d for d in dims]).astype(np.float32)
        np.testing.assert_array_equal(run(merged, x), run(model, x))


def random_steps(rng: np.random.Generator, shape: list[int]) -> list[Step]:
    """Transposes, and Reshapes that split or merge neighbours or add and drop ones."""
    steps: list[Step] = []
    for _ in range(int(rng.integers(2, 6))):
        kind = rng.integers(4)
        at = int(rng.integers(len(shape)))
        if kind == 0:
            perm = [int(p) for p in rng.permutation(len(shape))]
            steps.append(("Transpose", tuple(perm)))
            shape = [shape[p] for p in perm]
            continue
        if kind == 1 and len(shape) > 1:
            at = min(at, len(shape) - 2)
            shape = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
        elif kind == 2:
            first = int(rng.choice([d for d in range(1, shape[at] + 1) if shape[at] % d == 0]))
            shape = [*shape[:at], first, shape[at] // first, *shape[at + 1 :]]
        else:
            shape = [*shape[:at], 1, *shape[at:]]
        steps.append(("Reshape", tuple(shape)))
    return steps


def test_random_chains(rng: np.random.Generator) -> None:
    shorter = 0
    for _ in range(150):
        shape = [int(d) for d in rng.choice([1, 2, 3, 4, 6], int(rng.integers(1, 5)))]
        steps = random_steps(rng, shape)
        model, merged = build(tuple(shape), steps), build(tuple(shape), steps)
        merge_moves.apply(merged, PassOptions())
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(run(merged, x), run(model, x), err_msg=f"{shape} {steps}")
        assert len(moves(merged)) <= len(moves(model))
        shorter += len(moves(merged)) < len(moves(model))
    assert shorter > 75


def test_what_others_use_stays() -> None:
    b = Builder("fork")
    x = b.input("x", ir.DataType.FLOAT, ("n", 3, 5))
    middle = op(b, "Transpose", x, perm=[0, 2, 1])
    b.output(middle, "middle")
    b.output(op(b, "Transpose", middle, perm=[0, 2, 1]), "y")
    model = b.model()
    merge_moves.apply(model, PassOptions())
    assert moves(model) == ["Transpose", "Transpose"]
