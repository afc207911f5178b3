"""Fused or decomposed, a batch normalisation still computes the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import count, laid_out, ort_run, same
from .nets import Net


def batchnorm(b: Builder, x: ir.Value, c: int, rng: np.random.Generator) -> ir.Value:
    parts = [rng.standard_normal(c), rng.standard_normal(c), rng.standard_normal(c), rng.uniform(0.2, 3, c)]
    rest = [b.weight("bn", p.astype(np.float32)) for p in parts]
    return b.op("BatchNormalization", [x, *rest], {"epsilon": 0.02})


def layer(op: str, b: Builder, x: ir.Value, rng: np.random.Generator) -> tuple[ir.Value, int]:
    def w(*shape: int) -> ir.Value:
        return b.weight("w", rng.standard_normal(shape).astype(np.float32))

    if op == "Conv":
        return b.op("Conv", [x, w(6, 4, 3, 3)]), 6
    if op == "Conv-bias-groups":
        return b.op("Conv", [x, w(6, 2, 3, 3), w(6)], {"group": 2}), 6
    if op == "ConvTranspose-groups":
        return b.op("ConvTranspose", [x, w(4, 3, 3, 2), w(6)], {"group": 2, "strides": [2, 1]}), 6
    flat = b.op("Flatten", [x], {"axis": 1})
    if op == "Gemm":
        return b.op("Gemm", [flat, w(140, 3)]), 3
    if op == "Gemm-transB":
        return b.op("Gemm", [flat, w(3, 140), w(3)], {"transB": 1}), 3
    if op == "MatMul":
        return b.op("MatMul", [flat, w(140, 3)]), 3
    return b.op("Add", [b.op("MatMul", [flat, w(140, 3)]), w(3)]), 3


OPS = ["Conv", "Conv-bias-groups", "ConvTranspose-groups", "Gemm", "Gemm-transB", "MatMul", "MatMul-Add"]


@pytest.mark.parametrize("op", OPS)
def test_fused(op: str, rng: np.random.Generator) -> None:
    b = Builder()
    y, c = layer(op, b, b.input("x", ir.DataType.FLOAT, ("batch", 4, 5, 7)), rng)
    b.output(batchnorm(b, y, c, rng), "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 4, 5, 7)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["fuse_batchnorm", "clean"], PassOptions())
    assert count(model, "BatchNormalization") == count(model, "Mul") == 0
    assert model.graph.outputs[0].name == "y"
    same(expected, ort_run(model, feeds))


@pytest.mark.parametrize("why", ["two-users", "graph-output", "no-layer", "shared-weight"])
def test_what_others_see_is_kept(why: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 4, 5, 7))
    y = b.op("Relu", [x])
    if why != "no-layer":
        w = b.weight("w", rng.standard_normal((4, 4, 3, 3)).astype(np.float32))
        y = b.op("Conv", [x, w], {"pads": [1, 1, 1, 1]})
    z = batchnorm(b, y, 4, rng)
    if why == "two-users":
        z = b.op("Add", [y, z])
    if why == "graph-output":
        b.output(y, "raw")
    if why == "shared-weight":
        z = b.op("Add", [z, b.op("Conv", [y if why == "two-users" else x, w], {"pads": [1, 1, 1, 1]})])
    b.output(z, "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 4, 5, 7)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["fuse_batchnorm", "clean"], PassOptions())
    assert count(model, "BatchNormalization") == 0
    assert count(model, "Mul") == (0 if why == "shared-weight" else 1)
    same(expected, ort_run(model, feeds))


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("names", [("fuse_batchnorm", "layout"), ("layout", "fuse_batchnorm")], ids=["before", "after"])
@pytest.mark.parametrize("target", ["channels_last", "channels_first"])
def test_with_layout(last: bool, names: tuple[str, ...], target: str, rng: np.random.Generator) -> None:
    net = Net(last, rng)
    y = net.norm(net.conv(net.x, 5))
    net.pooled(net.norm(net.b.op("Relu", [y])), "scores")
    copy = laid_out(net.b.model(), net.feeds(), PassOptions(layout=target, io_layout="auto"), names)
    assert count(copy, "BatchNormalization") == count(copy, "Transpose") == 0
    assert count(copy, "Mul") == 1


@pytest.mark.parametrize("before", ["Conv", "none"])
def test_folding_leaves_the_others_alone(before: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 4, 5, 7))
    y, c = layer("Conv", b, x, rng) if before == "Conv" else (b.op("Relu", [x]), 4)
    b.output(batchnorm(b, y, c, rng), "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 4, 5, 7)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["fold_batchnorm", "clean"], PassOptions())
    assert count(model, "BatchNormalization") == (before == "none")
    assert count(model, "Mul") == 0
    same(expected, ort_run(model, feeds))
