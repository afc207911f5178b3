"""The minimum cut itself, recurrent and quantised graphs, odd borders, size."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import onnx_ir as ir
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from recast.errors import UnsupportedOp
from recast.graph.build import Builder
from recast.passes import PassOptions, run
from recast.passes.layout_cut import Cut

from .checks import count, laid_out
from .nets import Net

F = ir.DataType.FLOAT


@pytest.mark.parametrize("seed", range(30))
def test_cut_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 30))
    cut, dense = Cut(), np.zeros((size, size), np.int32)
    for _ in range(size - 2):
        cut.variable()
    for _ in range(size * 3):
        left, right = (int(v) for v in rng.integers(0, size, 2))
        cost, back = (int(v) for v in rng.integers(0, 50, 2))
        if left != right:
            cut.disagree(left, right, cost, back)
            dense[left, right] += cost
            dense[right, left] += back
    for prefer in (0, 1):
        labels, cost = cut.solve(prefer)
        paid = sum(dense[i, j] for i in range(size) for j in range(size) if labels[i] == 0 and labels[j] == 1)
        if prefer == 0:
            assert cost == maximum_flow(csr_array(dense), 0, 1).flow_value
            best = cost
        assert paid == best
        assert labels[:2] == [0, 1]


def test_fan_out_costs_once() -> None:
    cut = Cut()
    source, users = cut.variable(), [cut.variable() for _ in range(5)]
    cut.fan_out(source, users, 7)
    cut.disagree(0, source, 1000)
    for user in users:
        cut.disagree(user, 1, 3)
    assert cut.solve(0)[1] == 7


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequence", "last"])
@pytest.mark.parametrize("states", [True, False], ids=["states", "no-states"])
@pytest.mark.parametrize("batch_major", [True, False], ids=["batch-major", "time-major"])
def test_recurrent(op: str, sequences: bool, states: bool, batch_major: bool, rng: np.random.Generator) -> None:
    """As a batch-major reader writes two layers; a batch-major target needs no Transpose."""
    b, hidden = Builder(), 7
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * hidden
    x = b.input("x", F, ("batch", 5, 3))
    names = ["h", "c"] if op == "LSTM" else ["h"]
    given = [b.input(n, F, ("batch", hidden)) for n in names] if states else []

    def layer(y: ir.Value, size: int) -> ir.Value:
        shapes = ((1, gates, size), (1, gates, hidden), (1, 2 * gates))
        w = [b.weight("w", rng.standard_normal(s).astype(np.float32)) for s in shapes]
        first = [b.op("Unsqueeze", [s, b.const([0])]) for s in given]
        turned = b.op("Transpose", [y], {"perm": [1, 0, 2]})
        outs = b.node(op, [turned, *w, *([None, *first] if states else [])], {"hidden_size": hidden}, 2)
        if not sequences and size != 3:
            return b.op("Squeeze", [outs[1], b.const([0])])
        return b.op("Transpose", [b.op("Squeeze", [outs[0], b.const([1])])], {"perm": [1, 0, 2]})

    y = layer(b.op("Tanh", [layer(x, 3)]), hidden)
    b.output(b.op("MatMul", [y, b.weight("d", rng.standard_normal((hidden, 2)).astype(np.float32))]), "y")
    feeds = {"x": rng.standard_normal((2, 5, 3)).astype(np.float32)}
    feeds |= {n: rng.standard_normal((2, hidden)).astype(np.float32) for n in names if states}
    copy = laid_out(b.model(), feeds, PassOptions(rnn_batch_major=batch_major))
    assert count(copy, "Transpose") == (0 if batch_major else (2 if sequences else 1))


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("target", ["channels_last", "channels_first"])
def test_quantised(last: bool, target: str, rng: np.random.Generator) -> None:
    """QDQ between all layers, per-channel weights, dense weights behind DequantizeLinear."""
    net = Net(last, rng, (3, 7, 5))
    b = net.b

    def qdq(x: ir.Value) -> ir.Value:
        scale, zero = b.weight("s", np.array(0.05, np.float32)), b.weight("z", np.array(3, np.int8))
        return b.op("DequantizeLinear", [b.op("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weight(shape: tuple[int, ...], axis: int) -> ir.Value:
        w = b.weight("w", rng.integers(-127, 128, shape).astype(np.int8))
        scale = b.weight("s", rng.uniform(0.001, 0.01, shape[axis]).astype(np.float32))
        return b.op("DequantizeLinear", [w, scale], {"axis": axis})

    x = qdq(net.x)
    y = qdq(b.op("Relu", [net.image("Conv", x, (weight((5, 3, 3, 3), 0),), auto_pad="SAME_UPPER")]))
    y = qdq(net.image("Conv", y, (weight((5, 1, 3, 3), 0),), auto_pad="SAME_UPPER", group=5))
    per_channel = b.weight("s", rng.uniform(0.02, 0.05, 5).astype(np.float32))
    zeros, axis = b.weight("z", np.zeros(5, np.int8)), {"axis": net.axis(1)}
    y = b.op("DequantizeLinear", [b.op("QuantizeLinear", [y, per_channel, zeros], axis), per_channel, zeros], axis)
    flat = qdq(b.op("Reshape", [y, b.const([0, -1])]))
    b.output(b.op("Gemm", [flat, weight((7, 175), 0)], {"transB": 1}), "y")
    copy = laid_out(b.model(), net.feeds(), PassOptions(layout=target, io_layout="auto"))
    assert count(copy, "Transpose") == 0


@pytest.mark.parametrize("target", [[0, 35], [1, -1], [-1, 35]], ids=str)
@pytest.mark.parametrize("batch_major", [True, False], ids=["batch-major", "time-major"])
def test_flatten_after_recurrent_layer_of_batch_one(
    target: list[int], batch_major: bool, rng: np.random.Generator
) -> None:
    """With a batch of one the Transpose moves no bytes, but ``0`` in the target shape copies another dim."""
    b = Builder()
    x = b.op("Transpose", [b.input("x", F, (1, 5, 3))], {"perm": [1, 0, 2]})
    w = [b.weight("w", rng.standard_normal((1, 7, n)).astype(np.float32)) for n in (3, 7)]
    y = b.op("Squeeze", [b.op("RNN", [x, *w], {"hidden_size": 7}), b.const([1])])
    y = b.op("Reshape", [b.op("Transpose", [y], {"perm": [1, 0, 2]}), b.const(target)])
    b.output(b.op("Gemm", [y, b.weight("d", rng.standard_normal((35, 2)).astype(np.float32))]), "y")
    feeds = {"x": rng.standard_normal((1, 5, 3)).astype(np.float32)}
    copy = laid_out(b.model(), feeds, PassOptions(rnn_batch_major=batch_major))
    assert count(copy, "Transpose") <= (0 if batch_major else 1)


def test_dense_weights_used_twice_are_permuted_once_each(rng: np.random.Generator) -> None:
    """One weight behind two flattens, one of which is not of an image: only the image's copy is permuted."""
    net = Net(False, rng, (3, 4, 5))
    y = net.conv(net.x, 3)
    w = net.weight(60, 7)
    image = net.b.op("Gemm", [net.b.op("Flatten", [y]), w])
    other = net.b.input("other", F, ("batch", 60))
    net.b.output(net.b.op("Add", [image, net.b.op("Gemm", [other, w])]), "y")
    feeds = net.feeds() | {"other": rng.standard_normal((2, 60)).astype(np.float32)}
    laid_out(net.b.model(), feeds, PassOptions(layout="channels_last", io_layout="auto"))


@pytest.mark.parametrize("how", ["output", "softmax", "gathered"])
def test_flatten_seen_by_others_is_transposed(how: str, rng: np.random.Generator) -> None:
    """Where something else sees the flattened order, the weights cannot absorb it."""
    net = Net(False, rng, (3, 4, 5))
    flat = net.b.op("Flatten", [net.conv(net.x, 3)])
    net.b.output(net.b.op("Gemm", [flat, net.weight(60, 7)]), "y")
    if how == "output":
        net.b.output(flat, "flat")
    elif how == "softmax":
        net.b.output(net.b.op("Softmax", [flat]), "flat")
    else:
        net.b.output(net.b.op("Gather", [flat, net.b.const([7, 3])], {"axis": 1}), "flat")
    copy = laid_out(net.b.model(), net.feeds(), PassOptions(layout="channels_last", io_layout="auto"))
    assert count(copy, "Transpose") == 1


@pytest.mark.parametrize("target", ["channels_last", "channels_first"])
@pytest.mark.parametrize("io", ["keep", "auto"])
def test_odd_borders(target: str, io: str, rng: np.random.Generator) -> None:
    """An input that is an output, one value twice an output, a transposed output, a sub-graph that looks outside."""
    net = Net(True, rng, (3, 7, 5))
    b = net.b
    y = net.conv(net.x, 5)
    inner, other = Builder("then"), Builder("else")
    inner.output(inner.op("Neg", [y]), "t")
    other.output(other.op("Relu", [y]), "e")
    condition = b.op("Greater", [b.op("ReduceSum", [y], {"keepdims": 0}), b.const(np.float32(0))])
    branch = b.node("If", [condition], {"then_branch": inner.graph(), "else_branch": other.graph()})[0]
    branch.dtype, branch.shape = y.dtype, y.shape
    b.output(net.conv(branch, 2), "after")
    b.output(y, "once")
    b.output(y, "twice")
    b.output(net.x, "same")
    b.output(b.op("Transpose", [y], {"perm": [0, 3, 1, 2]}), "turned")
    b.output(b.op("Transpose", [y], {"perm": [3, 2, 1, 0]}), "reversed")
    laid_out(b.model(), net.feeds(), PassOptions(layout=target, io_layout=io))


def test_indices_of_pooling_are_refused_for_channels_last() -> None:
    b = Builder()
    x = b.input("x", F, (1, 3, 5, 5))
    y, picks = b.node("MaxPool", [x], {"kernel_shape": [2, 2]}, 2)
    b.output(y, "y")
    b.output(picks, "picks")
    model = b.model()
    run(model, ["layout"], PassOptions())
    with pytest.raises(UnsupportedOp, match="channels-last"):
        run(model, ["layout"], PassOptions(layout="channels_last"))


def test_large_graphs_take_linear_time() -> None:
    def seconds(steps: int) -> float:
        b = Builder()
        x = b.input("x", F, ("batch", 8, 8, 4))
        w = b.weight("w", np.zeros((4, 4, 1, 1), np.float32))
        for _ in range(steps):
            x = b.op("Add", [x, b.channels_last(b.op("Conv", [b.channels_first(b.op("Relu", [x])), w]))])
        b.output(x, "y")
        model = b.model()
        start = time.process_time()
        run(model, ["layout"], PassOptions(layout="channels_first"))
        assert count(model, "Transpose") <= 2
        return time.process_time() - start

    small, large = seconds(100), seconds(800)
    assert large < 30 * max(small, 0.01)


@pytest.mark.parametrize("target", ["channels_last", "channels_first"])
@pytest.mark.parametrize("perm", [(0, 3, 2, 1), (0, 2, 1, 3), (0, 3, 1, 2)], ids=str)
def test_any_transpose_before_dense(perm: tuple[int, ...], target: Literal["channels_last", "channels_first"]) -> None:
    """Flattened in an order that is neither layout: the dense layer's rows take it."""
    net = Net(False, np.random.default_rng(7))
    x = net.conv(net.x, 5)
    turned = net.b.op("Transpose", [x], {"perm": list(perm)})
    flat = net.b.op("Reshape", [turned, net.b.const([0, -1])])
    net.b.output(net.b.op("Gemm", [flat, net.weight(5 * 13 * 17, 7)]), "scores")
    model = laid_out(net.b.model(), net.feeds(), PassOptions(layout=target, io_layout="auto"))
    assert count(model, "Transpose") == 0
