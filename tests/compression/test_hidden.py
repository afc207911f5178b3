"""Hidden sizes: zeros in what reads a unit, means over what is left, and cutting the unit are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import passes
from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.distill.logits import Logits
from recast.compression.groups import Groups, find
from recast.compression.prune.hidden import Hidden
from recast.compression.prune.structured import OPTIONS, PASSES
from recast.graph.view import attr, dims
from recast.measure import trainable
from recast.measure.data import Samples
from recast.passes._editor import Editor

from ..conformance.zoo._stories import Stories
from .group_nets import NETS, Net
from .test_groups import outputs, size, some, zeroed

WORDS, HIDDEN, STEPS = 17, 11, 7
REPAIRS: tuple[Literal["none", "least-squares"], ...] = ("none", "least-squares")


def masked(model: ir.Model, groups: Groups, gone: set[int]) -> ir.Model:
    """The model whose normalisations count only what stays (and whose readers are at zero), nothing cut."""
    made = zeroed(model, groups, gone)
    editor = Editor(made.graph)
    nodes = {n.name: n for n in made.graph}
    for node in model.graph:
        if node.op_type not in ("LayerNormalization", "ReduceMean") or node.inputs[0] is None:
            continue
        units = groups.units_of(node.inputs[0], len(dims(node.inputs[0])) - 1)
        stays = ~np.isin(units, list(gone))
        if not stays.all():
            _masked(editor, nodes[node.name], stays.astype(np.float32))
    return made


def _masked(editor: Editor, node: ir.Node, stays: np.ndarray) -> None:
    def op(kind: str, *inputs: ir.Value | None) -> ir.Value:
        return editor.node(kind, list(inputs), {}, node)

    last = editor.const(np.array([-1], np.int64), "last")
    mask, count = editor.const(stays, "mask"), editor.const(np.array(stays.sum(), np.float32), "count")

    def mean(x: ir.Value) -> ir.Value:
        return op("Div", op("ReduceSum", op("Mul", x, mask), last), count)

    x, *rest = node.inputs
    assert x is not None
    if node.op_type == "ReduceMean":
        result = mean(x)
    else:
        apart = op("Mul", op("Sub", x, mean(x)), mask)
        small = editor.const(np.array(attr(node, "epsilon", 1e-5), np.float32), "small")
        result = op("Mul", op("Div", apart, op("Sqrt", op("Add", mean(op("Mul", apart, apart)), small))), rest[0])
        result = op("Add", result, rest[1]) if len(rest) > 1 else result
    editor.replace(node.outputs[0], result)
    editor.graph.remove(node, safe=True)


def tied(n: Net, norm: Callable[[Net, ir.Value], ir.Value], after: bool = False, groups: int = 3) -> ir.Model:
    """Words in, scores of words out through the very table; attention with 3 heads of 5 on ``groups`` keys."""
    table = n.w(WORDS, HIDDEN, name="table")
    ids = n.op("Clip", n.op("Cast", n.op("Abs", n.op("Round", n.x)), to=7), n.b.const(0), n.b.const(WORDS - 1))
    x = n.op("Add", n.b.op("Gather", [table, ids], {"axis": 0}), n.w(STEPS, HIDDEN, name="places"))

    def dense(x: ir.Value, to: int) -> ir.Value:
        return n.op("Add", n.op("MatMul", x, n.w(int(dims(x)[-1]), to)), n.w(to, name="bias"))

    def heads(x: ir.Value, count: int) -> ir.Value:
        table = n.b.op("Reshape", [dense(x, count * 5), n.b.const([0, STEPS, count, 5])])
        table = n.op("Transpose", table, perm=[0, 2, 1, 3])
        if count == 3:
            return table
        wide = n.b.op("Expand", [n.b.op("Unsqueeze", [table, n.b.const([2])]), n.b.const([1, 1, 3, 1, 1])])
        return n.b.op("Reshape", [wide, n.b.const([0, 3, STEPS, 5])])

    for _ in range(2):
        y = x if after else norm(n, x)
        keys = n.op("Transpose", heads(y, groups), perm=[0, 1, 3, 2])
        mixed = n.op("MatMul", n.op("Softmax", n.op("MatMul", heads(y, 3), keys), axis=-1), heads(y, groups))
        flat = n.b.op("Reshape", [n.op("Transpose", mixed, perm=[0, 2, 1, 3]), n.b.const([0, STEPS, 15])])
        x = n.op("Add", x, dense(flat, HIDDEN))
        x = norm(n, x) if after else x
        y = dense(n.op("Tanh", dense(x if after else norm(n, x), 23)), HIDDEN)
        x = norm(n, n.op("Add", x, y)) if after else n.op("Add", x, y)
    x = x if after else norm(n, x)
    return n.end(n.op("MatMul", x, n.op("Transpose", table, perm=[1, 0])))


def layer(n: Net, x: ir.Value) -> ir.Value:
    """LayerNormalization."""
    scale, bias = (n.b.weight(k, n.rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)) for k in ("scale", "bias"))
    return n.op("LayerNormalization", x, scale, bias, axis=-1)


def root(n: Net, x: ir.Value) -> ir.Value:
    """Division by the root of the mean square, in simple operators as exporters write it."""
    mean = n.op("ReduceMean", n.op("Pow", x, n.b.const(2.0)), n.b.const([-1]), keepdims=1)
    scale = n.b.weight("scale", n.rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32))
    return n.op("Mul", scale, n.op("Mul", x, n.op("Reciprocal", n.op("Sqrt", n.op("Add", mean, n.b.const(1e-5))))))


def _net(rng: np.random.Generator) -> Net:
    return Net(rng, ("batch", STEPS))


STREAMS: dict[str, Callable[[np.random.Generator], ir.Model]] = {
    "layer": lambda rng: tied(_net(rng), layer),
    "layer-behind": lambda rng: tied(_net(rng), layer, after=True),
    "root": lambda rng: tied(_net(rng), root),
    "root-grouped": lambda rng: tied(_net(rng), root, groups=1),
}


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("name", STREAMS)
def test_cut_equals_zero(name: str, turn: int, rng: np.random.Generator) -> None:
    model = STREAMS[name](rng)
    passes.run(model, PASSES, OPTIONS)
    groups = find(model, stream=True)
    assert [len(g.units) for g in groups.groups] == [HIDDEN], "the stream is one group"
    gone = some(groups, rng, most=0.7)  # the means of one number would be that number
    small = apply(model, Plan("cut", tuple(groups.edits(gone))))
    given = {"x": rng.integers(0, WORDS, (3, STEPS)).astype(np.float32)}
    assert size(small) < size(model)
    (wanted,), (found,) = outputs(masked(model, groups, gone), given), outputs(small, given)
    assert wanted.shape == found.shape == (3, STEPS, WORDS)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * float(np.abs(wanted).max()))
    (whole,) = outputs(model, given)
    assert np.abs(found - whole).max() > 1e-2 * np.abs(whole).max(), "the cut must be heard"


def test_the_table_is_cut_once(rng: np.random.Generator) -> None:
    """A head that is the embedding stays that."""
    model = STREAMS["layer"](rng)
    passes.run(model, PASSES, OPTIONS)
    small = apply(model, Hidden(0.4, repair="none").plan(model, Statistics()))
    words = [v for v in small.graph.initializers.values() if WORDS in dims(v)]
    assert [dims(v) for v in words] == [(WORDS, HIDDEN - 4)]
    assert {u.node.op_type for u in words[0].uses()} == {"Gather", "Transpose"}


def test_training_leaves_one_table(rng: np.random.Generator) -> None:
    """A distillation trains the table that is embedding and head as one weight, and it comes back under its name."""
    pytest.importorskip("torch")
    model = STREAMS["layer"](rng)
    passes.run(model, trainable.passes(), Logits.pass_options)
    tables = [v for v in model.graph.initializers.values() if WORDS in dims(v)]
    assert [dims(v) for v in tables] == [(WORDS, HIDDEN)]
    with trainable.opened(model) as network:
        held = network.weights()[tables[0].name or ""]
    assert tables[0].const_value is not None
    np.testing.assert_array_equal(held, tables[0].const_value.numpy())


def test_means_that_would_change_are_left_to_who_asks(rng: np.random.Generator) -> None:
    model = STREAMS["root-grouped"](rng)
    passes.run(model, PASSES, OPTIONS)
    for group in find(model).groups:
        assert all(HIDDEN not in (len(group.units), len(place.units)) for place in group.places)
    plan = Hidden().plan(NETS["residual"](rng), Statistics())
    assert not plan.edits
    assert "layer normalisation" in plan.skips[0].why


def test_a_trained_llama_keeps_one_table_and_most_of_what_it_knew(shared_models: Path, tmp_path: Path) -> None:
    """An eighth of the hidden size goes, the repair wins back much, and the file runs in LiteRT."""
    pytest.importorskip("transformers")
    stories = Stories(shared_models / "stories260k-llama", tmp_path)
    source, length = tmp_path / "stories.onnx", 64
    recast.convert(stories.folder, source, recast.Recipe(checking=recast.Checking(verify=False)))
    words = np.array([text[:length] for text in stories.texts()] + [stories.texts()[0][length : 2 * length]], np.int64)
    data = {"input_ids": words, "attention_mask": np.ones_like(words)}

    def surprise(model: ir.Model) -> float:
        scores = outputs(model, data)[0].astype(np.float64)
        scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        return float(-np.take_along_axis(scores[:, :-1], words[:, 1:, None], axis=-1).mean())

    model = recast.load(source)
    passes.run(model, PASSES, OPTIONS)
    given = Statistics(samples=Samples(data))
    bare, repaired = (apply(model, Hidden(0.125, "activation", repair=r).plan(model, given)) for r in REPAIRS)
    assert surprise(model) < surprise(repaired) < surprise(bare) - 0.1
    tables = [v for v in repaired.graph.initializers.values() if 512 in dims(v)]
    assert [dims(v) for v in tables] == [(512, 56)]
    np.savez(tmp_path / "data.npz", **data)
    steps = recast.Prune(0.125, kind="hidden", options={"repair": "none"})
    settings = recast.Settings(data=tmp_path / "data.npz", limits=recast.Limits(allow_worse=True))
    result = recast.compress(source, tmp_path / "small.tflite", steps, settings)
    assert result.report is not None
    assert result.report.passed, result.reasons
