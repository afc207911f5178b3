"""Composite operators written out compute what ONNX Runtime computes for them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph import LAYER
from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import ort_run, same


def weights(b: Builder, rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[ir.Value]:
    return [b.weight("w", rng.standard_normal(s).astype(np.float32)) for s in shapes]


def build(op: str, rng: np.random.Generator) -> tuple[ir.Model, dict[str, np.ndarray]]:
    b = Builder()
    shapes = {"Attention": (2, 5, 12), "RotaryEmbedding": (2, 3, 5, 8)}
    shape = shapes.get(op, (2, 6, 5, 7))
    x = b.input("x", ir.DataType.FLOAT, ("batch", *shape[1:]))
    with b.layer("block/layer", op):
        if op == "GroupNormalization":
            y = b.op(op, [x, *weights(b, rng, (6,), (6,))], {"num_groups": 3, "epsilon": 0.01})
        elif op == "LayerNormalization":
            y = b.op(op, [x, *weights(b, rng, (5, 7), (5, 7))], {"axis": 2})
        elif op == "RMSNormalization":
            y = b.op(op, [x, *weights(b, rng, (7,))], {})
        elif op == "Attention":
            y = b.op(op, [x, x, x], {"q_num_heads": 3, "kv_num_heads": 3, "is_causal": 1})
        elif op == "RotaryEmbedding":
            y = b.op(op, [x, *weights(b, rng, (2, 5, 4), (2, 5, 4))], {})
        elif op == "Gelu":
            y = b.op(op, [x], {"approximate": "tanh"})
        else:
            y = b.op(op, [x], {})
    b.output(y, "y")
    return b.model(), {"x": rng.standard_normal(shape).astype(np.float32)}


OPS = ["Attention", "GroupNormalization", "RMSNormalization", "RotaryEmbedding", "MeanVarianceNormalization"]
MORE = ["LayerNormalization", "Gelu", "HardSwish", "Softplus", "LogSoftmax", "Celu", "Mish"]


@pytest.mark.parametrize("op", OPS + MORE)
def test_written_out(op: str, rng: np.random.Generator) -> None:
    model, feeds = build(op, rng)
    expected = ort_run(model, feeds)
    keep = None if op in OPS else frozenset({"Softmax", "Clip", "Relu"})
    run(model, ["inline_functions"], PassOptions(keep_functions=keep))
    assert not any(n.op_type in (op, "Constant") for n in model.graph)
    assert all(n.metadata_props.get(LAYER) == "block/layer" for n in model.graph)
    assert model.graph.outputs[0].name == "y"
    assert not model.functions
    same(expected, ort_run(model, feeds), 1e-5)
    count = len(model.graph)
    run(model, ["fold_constants", "clean"], PassOptions())
    assert len(model.graph) <= count
    same(expected, ort_run(model, feeds), 1e-5)


def test_two_of_a_kind(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 6, 5))
    y = b.op("GroupNormalization", [x, *weights(b, rng, (6,), (6,))], {"num_groups": 3})
    y = b.op("GroupNormalization", [y, *weights(b, rng, (6,), (6,))], {"num_groups": 2})
    b.output(y, "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 6, 5)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["inline_functions"], PassOptions())
    same(expected, ort_run(model, feeds), 1e-5)
    names = [n.name for n in model.graph]
    assert len(set(names)) == len(names)


def test_kept(rng: np.random.Generator) -> None:
    model, _ = build("LayerNormalization", rng)
    run(model, ["inline_functions"], PassOptions())
    assert [n.op_type for n in model.graph] == ["LayerNormalization"]
