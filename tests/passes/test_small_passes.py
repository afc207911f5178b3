"""clean, drop_dropout and fold_constants: less nodes, the same results."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import InternalError
from recast.graph.build import Builder
from recast.graph.view import const
from recast.passes import PassOptions, catalogue, run

from .checks import count, ort_run, same

F = ir.DataType.FLOAT


def passes(model: ir.Model, *names: str) -> None:
    run(model, names, PassOptions())


def test_catalogue() -> None:
    assert {"layout", "clean", "fold_constants", "fuse_batchnorm", "inline_functions"} <= set(catalogue())
    assert not any(n.startswith("layout_") for n in catalogue())
    with pytest.raises(InternalError):
        run(Builder().model(), ["layout_cut"], PassOptions())


def test_clean_identities_dead_nodes_and_duplicates(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, (2, 3))
    zeros = [b.weight("bias", np.zeros(3, np.float32)) for _ in range(2)]
    axes = [b.weight("axes", np.array([1])) for _ in range(2)]
    y = b.op("Identity", [b.op("Add", [b.op("Identity", [x]), zeros[0]])])
    y = b.op("Add", [y, zeros[1]])
    b.op("Relu", [y])
    b.weight("unused", np.ones(5, np.float32))
    y = b.op("Mul", [b.op("ReduceSum", [y, axes[0]]), b.op("ReduceMax", [y, axes[1]])])
    b.output(b.op("Identity", [y]), "y")
    b.output(x, "copy")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 3)).astype(np.float32)}
    expected = ort_run(model, feeds)
    passes(model, "clean")
    assert [v.name for v in model.graph.outputs] == ["y", "copy"]
    assert count(model, "Identity") == 1, "an input as output needs its Identity"
    assert count(model, "Relu") == 0
    assert len(model.graph.initializers) == 3, "two biases (never merged) and one constant of axes"
    same(expected, ort_run(model, feeds))


@pytest.mark.parametrize("border", ["inside", "output", "input-to-output"])
def test_dropout(border: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, (2, 3))
    y = x if border == "input-to-output" else b.op("Relu", [x])
    y = b.op("Dropout", [y, b.const(0.5)])
    b.output(b.op("Neg", [y]) if border == "inside" else y, "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 3)).astype(np.float32)}
    expected = ort_run(model, feeds)
    passes(model, "drop_dropout", "clean")
    assert count(model, "Dropout") == 0
    assert model.graph.outputs[0].name == "y"
    same(expected, ort_run(model, feeds))


def test_dropout_in_training_stays() -> None:
    b = Builder()
    y = b.op("Dropout", [b.input("x", F, (2, 3)), b.const(0.5), b.const(True)])
    b.output(y, "y")
    model = b.model()
    assert run(model, ["drop_dropout"], PassOptions())[0].level == "warning"
    assert count(model, "Dropout") == 1


def test_fold_dynamic_flatten(rng: np.random.Generator) -> None:
    """What PyTorch exports for ``x.view(x.size(0), -1)`` with a dynamic batch."""
    b = Builder()
    x = b.input("x", F, ("batch", 3, 5, 7))
    size = b.op("Gather", [b.op("Shape", [x]), b.const(0)], {"axis": 0})
    size = b.op("Unsqueeze", [size, b.const([0])])
    target = b.op("Concat", [size, b.const([-1])], {"axis": 0})
    y = b.op("Reshape", [x, target])
    b.output(b.op("Gemm", [y, b.weight("w", rng.standard_normal((105, 2)).astype(np.float32))]), "y")
    model = b.model()
    passes(model, "fold_constants")
    assert [n.op_type for n in model.graph] == ["Reshape", "Gemm"]
    assert const(next(iter(model.graph)).inputs[1]).tolist() == [0, -1]  # type: ignore[union-attr]
    feeds = {"x": rng.standard_normal((2, 3, 5, 7)).astype(np.float32)}
    assert ort_run(model, feeds)[0].shape == (2, 2)


def test_fold_static_arithmetic(rng: np.random.Generator) -> None:
    """Integer division goes toward zero; known dims are computed although the batch is not known."""
    b = Builder()
    x = b.input("x", F, ("batch", 6, 5))
    dims = b.op("Shape", [x], {"start": 1})
    half = b.op("Div", [b.op("Sub", [dims, b.const([9, 9])]), b.const([2, 2])])  # (-3, -4) / 2 = (-1, -2)
    whole = b.op("Mul", [half, b.const([-3, -1])])  # (3, 2)
    y = b.op("Slice", [x, b.const([0, 0]), whole, b.const([1, 2])])
    b.output(b.op("Add", [y, b.op("Sqrt", [b.const(np.float32(2))])]), "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 6, 5)).astype(np.float32)}
    expected = ort_run(model, feeds)
    assert expected[0].shape == (2, 3, 2)
    passes(model, "fold_constants")
    assert [n.op_type for n in model.graph] == ["Slice", "Add"]
    same(expected, ort_run(model, feeds))


def test_fold_leaves_weights_quantised_and_large_results_alone(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, ("batch", 4))
    w = b.weight("w", rng.integers(-127, 127, (4, 4)).astype(np.int8))
    w = b.op("DequantizeLinear", [w, b.weight("scale", np.array(0.1, np.float32))])
    big = b.op("Expand", [b.const(np.float32(1)), b.const([1000, 1000])])
    y = b.op("Add", [b.op("MatMul", [x, w]), b.op("ReduceSum", [big], {"keepdims": 0})])
    b.output(y, "y")
    model = b.model()
    passes(model, "fold_constants")
    assert count(model, "DequantizeLinear") == 1
    assert count(model, "Expand") == 1
