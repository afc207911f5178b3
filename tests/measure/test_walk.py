"""A walk gives what running the whole graph gives, and runs each node once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from recast._util import child
from recast._util.child import RemoteRunner
from recast.graph.build import Builder
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.walk import Walk

COUNT = 37


def branched(rng: np.random.Generator) -> ir.Model:
    """Two dense branches of one value, joined again, with an If whose branches read a value from outside."""
    b = Builder("branched")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 7))

    def dense(value: ir.Value, name: str, rows: int, columns: int) -> ir.Value:
        made = b.op("MatMul", [value, b.weight(name, rng.standard_normal((rows, columns)).astype(np.float32))])
        made.name = f"{name}_y"
        return made

    stem = b.op("Tanh", [dense(x, "a", 7, 11)])
    stem.name = "stem"
    left, right = dense(stem, "b", 11, 5), dense(stem, "c", 11, 5)
    half = Builder("half")
    half.output(half.op("Mul", [right, half.const(0.5)]), "half")
    whole = Builder("whole")
    whole.output(whole.op("Identity", [right]), "whole")
    chosen = b.node("If", [b.const(True)], {"then_branch": half.graph(), "else_branch": whole.graph()}, 1)[0]
    chosen.name, chosen.type, chosen.shape = "chosen", right.type, right.shape
    joined = b.op("Add", [b.op("Relu", [left]), chosen])
    joined.name = "joined"
    b.output(dense(joined, "d", 5, 3), "y")
    return b.model()


WANTED = ["x", "a_y", "stem", "stem", "b_y", "c_y", "joined", "y"]


@pytest.mark.parametrize("room", [1 << 30, 0, 700])
def test_every_value_is_that_of_the_whole_graph(rng: np.random.Generator, room: int) -> None:
    model = branched(rng)
    samples = Samples({"x": rng.standard_normal((COUNT, 7)).astype(np.float32)})
    with child.pool(), Graph(model) as graph, Walk(graph, samples, WANTED, batch=16, room=room) as walk:
        told = graph.run(samples, [n for n in dict.fromkeys(WANTED) if n != "x"]) | dict(samples.feeds)
        for name in WANTED:
            np.testing.assert_allclose(np.concatenate(list(walk.values(name))), told[name], rtol=1e-6, atol=1e-6)


def test_nodes_run_once(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    model = branched(rng)
    ran: list[int] = []
    part = Graph.part

    def counted(self: Graph, nodes: Sequence[int], inputs: Sequence[str], outputs: Sequence[str]) -> RemoteRunner:
        ran.extend(n for n in nodes if self.read[n])
        return part(self, nodes, inputs, outputs)

    monkeypatch.setattr(Graph, "part", counted)
    samples = Samples({"x": rng.standard_normal((COUNT, 7)).astype(np.float32)})
    with child.pool(), Graph(model) as graph, Walk(graph, samples, WANTED) as walk:
        for name in WANTED:
            for _ in walk.values(name):
                pass
        assert sorted(ran) == sorted(set(ran))
        assert len(ran) == len([n for n in model.graph if n.inputs])


def test_changed_weights_are_computed_with(rng: np.random.Generator) -> None:
    model = branched(rng)
    samples = Samples({"x": rng.standard_normal((COUNT, 7)).astype(np.float32)})
    new: dict[str, np.ndarray] = {}

    def prepare(runner: RemoteRunner, names: Sequence[str]) -> None:
        runner.call("hold", {n: a for n, a in new.items() if n in names})

    with child.pool(), Graph(model, ["a", "b"]) as graph, Walk(graph, samples, WANTED, prepare) as walk:
        stem = np.concatenate(list(walk.values("stem")))
        new["b"] = np.ones((11, 5), np.float32)
        walk.changed(["b"])  # was not read yet
        wanted = np.repeat(stem.sum(axis=1, keepdims=True), 5, axis=1)
        np.testing.assert_allclose(np.concatenate(list(walk.values("b_y"))), wanted, atol=1e-5)
        new["a"] = np.zeros((7, 11), np.float32)
        walk.changed(["a"])  # what was kept of "stem" holds no more
        assert not np.concatenate(list(walk.values("c_y"))).any()
