"""Depth pruning: blocks are found, those that do nothing go first and cost nothing, kept layers keep their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.compression._method import Statistics
from recast.compression.apply import apply
from recast.compression.prune.depth import Depth, blocks
from recast.compression.recipe import Distill, Steps, from_toml
from recast.errors import BadRecipe
from recast.measure.data import Samples

from .group_nets import NETS, Net
from .test_groups import outputs

IMAGE = ("batch", 3, 11, 13)


def residual(rng: np.random.Generator, idle: tuple[int, ...] = (), count: int = 5) -> ir.Model:
    """Five equal residual blocks, a wider one, two of its width; ``idle`` ones add nothing."""
    n = Net(rng, IMAGE)
    x = n.op("Relu", n.norm(n.conv(n.x, 7)))
    for number in range(count + 3):
        wide = 7 if number < count else 11
        branch = n.norm(n.conv(n.op("Relu", n.norm(n.conv(x, wide, bias=False))), wide, bias=False))
        if number in idle:
            branch = n.op("Mul", branch, n.b.weight("gate", np.zeros((), np.float32)))
        else:
            branch = n.op("Mul", branch, n.b.weight("gate", np.full((), 0.7, np.float32)))
        x = n.op("Relu", n.op("Add", n.conv(x, 11, kernel=1) if number == count else x, branch))
    return n.scores(x)


def samples(rng: np.random.Generator, *shape: int) -> Samples:
    return Samples({"x": rng.standard_normal(shape).astype(np.float32)})


def layers(model: ir.Model) -> int:
    return sum(n.op_type in ("Conv", "MatMul") for n in model.graph)


def test_blocks_that_do_nothing_go_and_nothing_changes(rng: np.random.Generator) -> None:
    model, given = residual(rng, idle=(1, 2, 4)), samples(rng, 29, *IMAGE[1:])
    found = blocks(model.graph)
    assert len(found) == 7  # the wider one is none
    plan = Depth(3 / 7).plan(model, Statistics(samples=Samples(given.feeds, real=False)))
    ends = [b.name for b in found]
    assert plan.notes["cut"] == [ends[i] for i in (1, 2, 4)]
    influence = plan.notes["influence"]
    assert all((influence[e] < 1e-6) == (i in (1, 2, 4)) for i, e in enumerate(ends))
    cut = apply(model, plan)
    assert layers(model) - layers(cut) == 6
    np.testing.assert_allclose(outputs(cut, dict(given.feeds))[0], outputs(model, dict(given.feeds))[0], atol=1e-6)
    kept = {n: v.const_value.numpy() for n, v in cut.graph.initializers.items() if v.const_value is not None}
    for name, array in kept.items():
        held = model.graph.initializers[name].const_value
        assert held is not None
        np.testing.assert_array_equal(array, held.numpy())


def test_one_of_each_kind_stays(rng: np.random.Generator) -> None:
    model = residual(rng)
    plan = Depth(0.99).plan(model, Statistics(samples=samples(rng, 17, *IMAGE[1:])))
    assert len(plan.notes["cut"]) == 5  # of five and two
    cut = apply(model, plan)
    assert len(blocks(cut.graph)) == 2
    assert np.isfinite(outputs(cut, {"x": np.ones((3, *IMAGE[1:]), np.float32)})[0]).all()


def transformer(rng: np.random.Generator) -> ir.Model:
    """Three layers before whose products stands a mask that is computed once, from the input."""
    n = Net(rng, ("batch", 5, 11))
    mask = n.op("Cast", n.op("Greater", n.x, n.b.const(np.float32(-9))), to=int(ir.DataType.FLOAT))
    x = n.op("Add", n.op("MatMul", n.x, n.w(11, 11)), n.w(11))
    for _ in range(3):
        normal = n.op("LayerNormalization", x, n.w(11), n.w(11), axis=-1)
        hidden = n.op("Gelu", n.op("Add", n.op("MatMul", n.op("Mul", normal, mask), n.w(11, 23)), n.w(23)))
        x = n.op("Add", x, n.op("MatMul", hidden, n.w(23, 11)))
    return n.end(n.op("MatMul", x, n.w(11, 3)))


def test_masks_that_live_on_hide_no_block(rng: np.random.Generator) -> None:
    model = transformer(rng)
    assert len(blocks(model.graph)) == 3
    plan = Depth(0.67).plan(model, Statistics(samples=samples(rng, 19, 5, 11)))
    cut = apply(model, plan)
    assert layers(model) - layers(cut) == 4
    assert outputs(cut, {"x": np.ones((2, 5, 11), np.float32)})[0].shape == (2, 5, 3)


@pytest.mark.parametrize("name", ["mlp", "dense_block", "recurrent", "plain", "transposed"])
def test_nothing_repeats(name: str, rng: np.random.Generator) -> None:
    model = NETS[name](rng)
    plan = Depth().plan(model, Statistics(samples=samples(rng, 2, 3)))
    assert not plan.edits
    assert plan.skips


def test_refusals(rng: np.random.Generator) -> None:
    with pytest.raises(BadRecipe):
        Depth(1.0)
    with pytest.raises(BadRecipe, match="samples"):
        Depth().plan(residual(rng), Statistics())


def test_students_made_from_the_teacher(tmp_path: Path, rng: np.random.Generator) -> None:
    """``student`` is the steps before the training, in every way to say it; the teacher is the original."""
    pytest.importorskip("torch")
    told = Distill(student="depth 0.6, width 0.75", options={"epochs": 4, "rate": 0.01})
    (tmp_path / "r.toml").write_text(
        "[[step]]\ndistill = {student = 'depth 0.6, width 0.75', options = {epochs = 4, rate = 0.01}}\n"
    )
    assert list(from_toml(tmp_path / "r.toml")) == list(told) == list(Steps() >> told)
    assert [s.as_dict()["method"] for s in told] == ["depth", "structured", "logits"]
    recast.save(residual(rng), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=samples(rng, 80, *IMAGE[1:]).feeds["x"])
    limits = recast.Limits(slower=99.0, allow_worse=True)
    settings = recast.Settings(data=tmp_path / "data.npz", limits=limits)
    found = recast.compress(tmp_path / "net.onnx", tmp_path / "small.onnx", told, settings)
    assert found.plans[2].notes["teacher"] == "the original"
    losses = found.plans[2].notes["loss by epoch (training, held out)"]
    assert losses[-1][0] < 0.9 * losses[0][0]
    small = recast.load(tmp_path / "small.onnx")
    assert layers(small) == 1 + 2 * (8 - 3) + 1  # of eight blocks three are gone
    for text in ("width", "height 0.5", "depth 1.5", "width 0.5; depth 0.5"):
        with pytest.raises(BadRecipe, match="student"):
            list(Distill(student=text))


def test_the_last_normalisation_stays_where_it_stands_alone(rng: np.random.Generator) -> None:
    """Behind every layer it belongs to the layers; behind the last one it does not."""

    def stacked(behind: bool) -> ir.Model:
        n = Net(rng, ("batch", 5, 11))
        x = n.op("MatMul", n.x, n.w(11, 11))
        for _ in range(3):
            x = n.op("Add", x, n.op("MatMul", n.op("Gelu", n.op("MatMul", x, n.w(11, 23))), n.w(23, 11)))
            x = n.op("LayerNormalization", x, n.w(11), n.w(11), axis=-1) if behind else x
        x = x if behind else n.op("LayerNormalization", x, n.w(11), n.w(11), axis=-1)
        return n.end(n.op("MatMul", x, n.w(11, 3)))

    for behind in (True, False):
        found = blocks(stacked(behind).graph)
        assert len({b.kind for b in found}) == 1
        assert [node.op_type for b in found if (node := b.end.producer())] == [
            "LayerNormalization" if behind else "Add"
        ] * 3
