"""Operators written as plainer ones compute what ONNX Runtime computes for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph import LAYER
from recast.graph.build import Builder
from recast.passes import PassOptions, run
from recast.passes.decompose import reason

from .checks import ort_run

Net = Callable[[Builder, np.random.Generator], ir.Value]


def bytes_(rng: np.random.Generator, *shape: int, signed: bool = False) -> np.ndarray:
    return rng.integers(-128 if signed else 0, 128 if signed else 256, shape).astype(np.int8 if signed else np.uint8)


def conv_integer(channels: int) -> Net:
    def make(b: Builder, rng: np.random.Generator) -> ir.Value:
        x = b.input("x", ir.DataType.UINT8, ("batch", channels, 7, 5))
        w = b.weight("w", bytes_(rng, 3, channels, 3, 2))
        zeros = b.const(np.array(131, np.uint8)), b.const(np.array(127, np.uint8))
        return b.op("ConvInteger", [x, w, *zeros], {"pads": [1, 0, 1, 1], "strides": [2, 1]})

    return make


def matmul_integer(b: Builder, rng: np.random.Generator) -> ir.Value:
    x = b.input("x", ir.DataType.UINT8, (2, 5, 1303))
    w = b.weight("w", bytes_(rng, 1303, 7, signed=True))
    zeros = b.const(np.array(3, np.uint8)), b.weight("z", bytes_(rng, 7, signed=True))
    return b.op("MatMulInteger", [x, w, *zeros], {})


def qlinear_conv(b: Builder, rng: np.random.Generator) -> ir.Value:
    x = b.input("x", ir.DataType.UINT8, ("batch", 4, 7, 5))
    scales = [b.const(np.array(v, np.float32)) for v in (0.02, 0.07)]
    zeros = [b.const(np.array(v, np.uint8)) for v in (121, 133)]
    w = [
        b.weight("w", bytes_(rng, 3, 4, 3, 2, signed=True)),
        b.weight("s", rng.uniform(0.001, 0.02, 3).astype(np.float32)),
        b.weight("z", np.zeros(3, np.int8)),
    ]
    bias = b.weight("b", rng.integers(-999, 999, 3).astype(np.int32))
    return b.op("QLinearConv", [x, scales[0], zeros[0], *w, scales[1], zeros[1], bias], {"pads": [1, 0, 1, 1]})


def qlinear_matmul(b: Builder, rng: np.random.Generator) -> ir.Value:
    x = b.input("x", ir.DataType.UINT8, (2, 5, 13))
    scales = [b.const(np.array(v, np.float32)) for v in (0.02, 0.07)]
    zeros = [b.const(np.array(v, np.uint8)) for v in (121, 133)]
    w = [b.weight("w", bytes_(rng, 13, 7)), b.const(np.array(0.03, np.float32)), b.const(np.array(130, np.uint8))]
    return b.op("QLinearMatMul", [x, scales[0], zeros[0], *w, scales[1], zeros[1]], {})


def dynamic_quantize(b: Builder, rng: np.random.Generator) -> ir.Value:
    y = b.node("DynamicQuantizeLinear", [b.input("x", ir.DataType.FLOAT, (2, 5, 13))], {}, 3)
    for value in y[1:]:
        b.output(value)
    return y[0]


NETS: dict[str, Net] = {
    "conv_integer": conv_integer(5),
    "conv_integer-digits": conv_integer(151),
    "matmul_integer-digits": matmul_integer,
    "qlinear_conv": qlinear_conv,
    "qlinear_matmul": qlinear_matmul,
    "dynamic_quantize": dynamic_quantize,
}


def build(name: str, rng: np.random.Generator) -> tuple[ir.Model, dict[str, np.ndarray]]:
    b = Builder()
    with b.layer("block/layer", "Source"):
        y = NETS[name](b, rng)
    b.output(y, "y")
    shape = [d if isinstance(d, int) else 2 for d in b.inputs[0].shape or ()]
    x = bytes_(rng, *shape) if b.inputs[0].dtype == ir.DataType.UINT8 else rng.standard_normal(shape)
    return b.model(), {"x": x.astype(b.inputs[0].dtype.numpy() if b.inputs[0].dtype else None)}


@pytest.mark.parametrize("name", NETS)
def test_decomposed(name: str, rng: np.random.Generator) -> None:
    model, feeds = build(name, rng)
    expected = ort_run(model, feeds)
    before = {n.op_type for n in model.graph}
    run(model, ["decompose"], PassOptions(native=lambda node: node.op_type not in before))
    assert not before & {n.op_type for n in model.graph}
    assert all(n.metadata_props.get(LAYER) == "block/layer" for n in model.graph)
    assert [v.name for v in model.graph.outputs][-1] == "y"
    for wanted, found in zip(expected, ort_run(model, feeds), strict=True):
        assert wanted.dtype == found.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-6 if wanted.dtype.kind == "f" else 0)


def test_what_the_target_has_stays(rng: np.random.Generator) -> None:
    model, _ = build("conv_integer", rng)
    run(model, ["decompose"], PassOptions(native=lambda node: True))
    run(model, ["decompose"], PassOptions())
    assert [n.op_type for n in model.graph] == ["ConvInteger"]


def test_what_does_not_fit_stays_with_its_reason(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.UINT8, (5, "features"))
    b.output(b.op("MatMulInteger", [x, b.input("w", ir.DataType.UINT8, ("features", 3))], {}), "y")
    model = b.model()
    run(model, ["decompose"], PassOptions(native=lambda node: False))
    assert [n.op_type for n in model.graph] == ["MatMulInteger"]
    assert "run time" in reason(next(iter(model.graph)))
