"""float16 inside, float32 at the border, close to the float32 result."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import UnsupportedOp
from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import laid_out, ort_run, same
from .nets import Net

F = ir.DataType.FLOAT


@pytest.mark.parametrize("names", [("to_float16",), ("layout", "to_float16")], ids=["alone", "after-layout"])
def test_cnn(names: tuple[str, ...], rng: np.random.Generator) -> None:
    net = Net(True, rng)
    y = net.gate(net.branches(net.norm(net.conv(net.x, 5))))
    y = net.upsample(net.pool(y))
    net.classifier(y, "scores", 2)
    model, feeds = net.b.model(), net.feeds()
    copy = laid_out(model, feeds, PassOptions(layout="channels_last"), names)
    assert {v.dtype for v in (*copy.graph.inputs, *copy.graph.outputs)} == {F}
    weights = [v for v in copy.graph.initializers.values() if v.dtype == F]
    assert all(w.const_value.size <= 4 for w in weights), "only Resize's scales stay float32"  # type: ignore[union-attr]
    assert all(v.dtype != F for n in copy.graph if n.op_type != "Cast" for v in n.outputs)


def test_operators_without_float16_stay_float32(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, ("batch", 5))
    scale, zero = b.weight("s", np.array(0.1, np.float32)), b.weight("z", np.array(3, np.int8))
    y = b.op("QuantizeLinear", [b.op("Tanh", [x]), scale, zero])
    y = b.op("DequantizeLinear", [y, scale, zero])
    b.output(b.op("Neg", [y]), "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 5)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["to_float16"], PassOptions())
    kinds = {n.op_type: n.outputs[0].dtype for n in model.graph if n.op_type != "Cast"}
    assert kinds["DequantizeLinear"] == F
    assert kinds["Neg"] == ir.DataType.FLOAT16
    same(expected, ort_run(model, feeds), 2e-3)


def test_out_of_range(rng: np.random.Generator) -> None:
    """A mask is clipped, an epsilon does not vanish, huge weights keep their layer in float32: all are said."""
    b = Builder()
    x = b.input("x", F, ("batch", 5))
    mask = b.weight("mask", np.array([0, 0, -1e9, 0, -3e38], np.float32))
    y = b.op("Softmax", [b.op("Add", [x, mask])], {"axis": -1})
    square = b.op("ReduceSum", [b.op("Mul", [y, b.const(np.float32(0))]), b.const([1])])
    y = b.op("Div", [square, b.op("Add", [square, b.const(np.float32(1e-12))])])
    huge = b.op("Mul", [x, b.weight("huge", np.full(5, 1e5, np.float32))])
    b.output(b.op("Add", [y, b.op("Mul", [huge, b.weight("low", np.full(5, 1e-6, np.float32))])]), "y")
    model, feeds = b.model(), {"x": rng.uniform(-0.5, 0.5, (2, 5)).astype(np.float32)}
    expected = ort_run(model, feeds)
    findings = run(model, ["to_float16"], PassOptions())
    text = " | ".join(f.what for f in findings)
    assert "clipped" in text
    assert "raised" in text
    assert "stays float32" in text
    found = ort_run(model, feeds)
    assert np.all(np.isfinite(found[0]))
    np.testing.assert_allclose(found[0], expected[0], atol=5e-3)


def test_sub_graphs_are_refused() -> None:
    b = Builder()
    x = b.input("x", F, (2,))
    inner = Builder("then")
    inner.output(inner.op("Relu", [inner.weight("w", np.ones(2, np.float32))]), "t")
    other = Builder("else")
    other.output(other.op("Neg", [other.weight("w2", np.ones(2, np.float32))]), "e")
    condition = b.op("Cast", [b.op("ReduceSum", [x], {"keepdims": 0})], {"to": int(ir.DataType.BOOL)})
    y = b.op("If", [condition], {"then_branch": inner.graph(), "else_branch": other.graph()})
    b.output(y, "y")
    with pytest.raises(UnsupportedOp):
        run(b.model(), ["to_float16"], PassOptions())
