"""Dense layers and normalisation between two Transposes of images become convolutions and reductions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import count, ort_run, same

F32 = ir.DataType.FLOAT
SIZES = ((1, 1, 1), (2, 5, 7), (3, 13, 2))


class Net:
    """Images (n, 3, h, w), with weights of prime sizes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.b, self.rng = Builder("net"), rng
        self.x = self.b.input("x", F32, ("n", 3, "h", "w"))

    def weight(self, *shape: int) -> ir.Value:
        return self.b.const(self.rng.standard_normal(shape).astype(np.float32), name="weight")

    def last(self, x: ir.Value) -> ir.Value:
        return self.b.op("Transpose", [x], {"perm": [0, 2, 3, 1]})

    def first(self, x: ir.Value) -> ir.Value:
        return self.b.op("Transpose", [x], {"perm": [0, 3, 1, 2]})

    def norm(self, x: ir.Value, bias: bool = True) -> ir.Value:
        given = [x, self.weight(3), *([self.weight(3)] if bias else [])]
        return self.b.op("LayerNormalization", given, {"axis": -1, "epsilon": 0.1})

    def block(self, x: ir.Value) -> ir.Value:
        """A normalisation, two dense layers, a scale: ConvNeXt's, without its first convolution."""
        b, y = self.b, self.norm(self.last(x))
        y = b.op("Gelu", [b.op("Add", [self.weight(11), b.op("MatMul", [y, self.weight(3, 11)])])])
        y = b.op("Add", [b.op("MatMul", [y, self.weight(11, 3)]), self.weight(3)])
        return b.op("Add", [x, self.first(b.op("Mul", [y, self.weight(3)]))])

    def changed(self, *outputs: ir.Value) -> ir.Model:
        """The model after the pass, which computes what it did."""
        for number, value in enumerate(outputs):
            self.b.output(value, f"y{number}")
        model = self.b.model()
        made = model.clone()
        run(made, ["channel_dense", "clean"], PassOptions())
        for n, h, w in SIZES:
            feeds = {"x": self.rng.standard_normal((n, 3, h, w)).astype(np.float32)}
            same(ort_run(model, feeds), ort_run(made, feeds))
        return made


@pytest.fixture
def net(rng: np.random.Generator) -> Net:
    return Net(rng)


def test_blocks(net: Net) -> None:
    made = net.changed(net.block(net.block(net.x)))
    assert not any(count(made, kind) for kind in ("Transpose", "LayerNormalization", "MatMul"))
    assert count(made, "Conv") == 4
    assert all(len(n.inputs) == 3 for n in made.graph if n.op_type == "Conv")


def test_two_results(net: Net) -> None:
    """Both are the network's, one is read before the last layer."""
    inner = net.norm(net.last(net.x), bias=False)
    made = net.changed(net.first(inner), net.first(net.b.op("MatMul", [inner, net.weight(3, 5)])), net.first(inner))
    assert not count(made, "Transpose")


def test_joined(net: Net) -> None:
    """Two sources, one of them also read alone; constants of every rank."""
    b = net.b
    left, right = net.last(net.x), net.last(b.op("Relu", [net.x]))
    y = b.op("Mul", [b.op("Add", [net.norm(left), right]), net.weight(1, 1, 1, 3)])
    y = b.op("Sub", [b.op("Max", [y, b.const(np.float32(-0.5), name="least")]), b.op("Sigmoid", [right])])
    made = net.changed(net.first(y), b.op("Neg", [net.x]))
    assert not count(made, "Transpose")


def test_stays(net: Net) -> None:
    """Where the order is seen, where a weight is shared, and where it does not pay."""
    b, shared = net.b, net.weight(3, 3)
    seen = net.norm(net.last(net.x))
    once = b.op("MatMul", [b.op("MatMul", [net.last(b.op("Relu", [net.x])), shared]), shared])
    many = net.last(b.op("Tanh", [net.x]))
    for _ in range(3):
        many = net.norm(many)
    made = net.changed(b.op("Softmax", [seen], {"axis": -1}), net.first(seen), net.first(once), net.first(many))
    assert count(made, "LayerNormalization") == 4
    assert count(made, "MatMul") == 2
    assert not count(made, "Conv")
