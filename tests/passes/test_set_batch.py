"""The batch can be fixed or freed where the graph allows it, and is refused where it does not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.graph.view import dims
from recast.passes import PassOptions, run

from .checks import ort_run, same
from .nets import Net

F = ir.DataType.FLOAT


def flat_net(batch: int | str, target: list[int], rng: np.random.Generator) -> ir.Model:
    b = Builder()
    x = b.input("x", F, (batch, 3, 5))
    y = b.op("Reshape", [b.op("Relu", [x]), b.const(target)])
    b.output(b.op("Gemm", [y, b.weight("w", rng.standard_normal((15, 2)).astype(np.float32))]), "y")
    return b.model()


@pytest.mark.parametrize("target", [[1, 15], [1, -1], [0, 15], [-1, 15]], ids=str)
@pytest.mark.parametrize("wish", [7, "batch"])
def test_spelt_out_batch(target: list[int], wish: int | str, rng: np.random.Generator) -> None:
    model = flat_net(1, target, rng)
    feeds = {"x": rng.standard_normal((7, 3, 5)).astype(np.float32)}
    single = [ort_run(model, {"x": row[None]})[0] for row in feeds["x"]]
    run(model, ["set_batch"], PassOptions(batch=wish))
    assert dims(model.graph.inputs[0]) == (wish, 3, 5)
    assert dims(model.graph.outputs[0]) == (wish, 2)
    same([np.concatenate(single)], ort_run(model, feeds))


def test_symbolic_to_number_and_back(rng: np.random.Generator) -> None:
    net = Net(False, rng)
    net.classifier(net.gate(net.conv(net.x, 5)), "scores", 1)
    model, feeds = net.b.model(), net.feeds(3)
    expected = ort_run(model, feeds)
    run(model, ["set_batch"], PassOptions(batch=3))
    assert all(isinstance(d, int) for n in model.graph for v in n.outputs for d in v.shape or ())
    same(expected, ort_run(model, feeds))
    run(model, ["set_batch"], PassOptions(batch="n"))
    assert dims(model.graph.outputs[0]) == ("n", 7)
    same(expected, ort_run(model, feeds))


def test_zero_state_of_recurrent_layer(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.op("Transpose", [b.input("x", F, (1, 5, 3))], {"perm": [1, 0, 2]})
    w, r = (b.weight("w", rng.standard_normal((1, 7, n)).astype(np.float32)) for n in (3, 7))
    h = b.weight("h", np.zeros((1, 1, 7), np.float32))
    _, last = b.node("RNN", [x, w, r, None, None, h], {"hidden_size": 7}, 2)
    b.output(b.op("Squeeze", [last, b.const([0])]), "y")
    model, feeds = b.model(), {"x": rng.standard_normal((2, 5, 3)).astype(np.float32)}
    run(model, ["set_batch"], PassOptions(batch="batch"))
    assert ort_run(model, feeds)[0].shape == (2, 7)


@pytest.mark.parametrize("case", ["constant", "merged", "state", "squeezed"])
def test_refused(case: str, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", F, (1 if case == "squeezed" else 2, 3, 5))
    if case == "constant":
        y = b.op("Add", [x, b.weight("w", rng.standard_normal((2, 3, 5)).astype(np.float32))])
    elif case == "merged":
        y = b.op("Reshape", [x, b.const([6, 5])])
    elif case == "squeezed":
        y = b.op("Squeeze", [x, b.const([0])])
    else:
        turned = b.op("Transpose", [x], {"perm": [1, 0, 2]})
        w, r = (b.weight("w", rng.standard_normal((1, 7, n)).astype(np.float32)) for n in (5, 7))
        h = b.weight("h", np.ones((1, 2, 7), np.float32))
        y = b.node("RNN", [turned, w, r, None, None, h], {"hidden_size": 7}, 2)[1]
    b.output(y, "y")
    with pytest.raises(BadRecipe):
        run(b.model(), ["set_batch"], PassOptions(batch=7))
