"""Structured pruning: what is chosen, what is repaired, on small nets and on a real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import passes
from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.groups import find
from recast.compression.prune import _repair, _statistics
from recast.compression.prune._importance import measure
from recast.compression.prune.structured import PASSES, Structured, choose
from recast.errors import BadRecipe
from recast.measure import cost
from recast.measure.data import Samples

from .group_nets import NETS, Net
from .test_groups import outputs


def samples(shape: tuple[int, ...], rng: np.random.Generator) -> Statistics:
    return Statistics(samples=Samples({"x": rng.standard_normal(shape).astype(np.float32)}))


def test_the_smallest_units_go(rng: np.random.Generator) -> None:
    model = NETS["mlp"](rng)
    groups = find(model)
    first = groups.groups[0]
    weight = next(p.weight for p in first.places if not p.read and len(p.weight.shape or ()) == 2)
    assert weight.const_value is not None
    norms = np.sqrt((weight.const_value.numpy().astype(np.float64) ** 2).sum(axis=0))
    np.testing.assert_allclose(measure(model, groups, "l2", Statistics())[0], norms)
    plan = Structured(0.3, repair="none").plan(model, Statistics())
    small = apply(model, plan)
    kept = next(v for v in small.graph.initializers.values() if v.name == weight.name)
    assert kept.const_value is not None
    found = np.sqrt((kept.const_value.numpy().astype(np.float64) ** 2).sum(axis=0))
    np.testing.assert_allclose(np.sort(found), np.sort(norms)[-len(found) :], rtol=1e-6)
    assert len(found) == 23 - round(23 * 0.3)


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn-scale", "activation"])
@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_all_criteria_and_scopes_cut(criterion: str, scope: str, rng: np.random.Generator) -> None:
    model = NETS["residual"](rng)
    options = Structured(0.4, criterion, scope, samples=8)  # type: ignore[arg-type]
    small = apply(model, options.plan(model, samples((8, 3, 11, 13), rng)))
    assert cost.of(small).macs < 0.8 * cost.of(model).macs
    assert outputs(small, {"x": np.ones((2, 3, 11, 13), np.float32)})[0].shape == (2, 5)


@pytest.mark.parametrize("count", [1, 7, 23, 38])
def test_globally_the_least_goes_of_what_is_left(count: int, rng: np.random.Generator) -> None:
    """As if units went one by one, and the means of their groups were taken anew after each."""
    groups = tuple(g for name in ("mlp", "residual") for g in find(NETS[name](rng)).groups)
    values = [rng.lognormal(3.0 * i, 0.2 + 0.3 * i, len(g.units)) for i, g in enumerate(groups)]
    left = [sorted(v) for v in values]
    for _ in range(count):
        least = min(range(len(left)), key=lambda i: left[i][0] / np.mean(left[i]))
        del left[least][0]
    every = sum(len(v) for v in values)
    chosen = choose(groups, values, Structured(None, "l1", "global"), (count + 0.5) / every)
    assert [len(v) - len(c) for v, c in zip(values, chosen, strict=True)] == [len(v) for v in left]


def test_multiples(rng: np.random.Generator) -> None:
    model = NETS["squeeze_excite"](rng)
    plan = Structured(0.5, multiple=4, repair="none").plan(model, Statistics())
    kept = [after for _, after in plan.notes["units before and after"].values()]
    assert all(k % 4 == 0 or k in (7, 11, 13) for k in kept), kept
    assert 8 in kept


def test_what_kept_entries_tell_is_repaired_exactly(rng: np.random.Generator) -> None:
    """Cut neurons that are sums of kept ones cost nothing after the repair."""
    n = Net(rng, ("batch", 11))
    first = rng.standard_normal((11, 17)).astype(np.float32)
    first[:, 13:] = first[:, :4] * 0.01 + first[:, 4:8] * 0.02  # small, so these are cut, and told by the others
    hidden = n.op("Gemm", n.x, n.b.weight("w", first), n.b.weight("b", np.zeros(17, np.float32)))
    model = n.end(n.dense(hidden, 5))
    given = samples((300, 11), rng)
    wanted = outputs(model, {"x": np.eye(11, dtype=np.float32)})[0]
    apart = {}
    for repair in ("none", "least-squares"):
        plan = Structured(4 / 17, repair=repair).plan(model, given)  # type: ignore[arg-type]
        apart[repair] = float(
            np.abs(outputs(apply(model, plan), {"x": np.eye(11, dtype=np.float32)})[0] - wanted).max()
        )
    assert apart["least-squares"] < 0.01 * apart["none"]


def test_regression_against_numpy(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((500, 7)) @ rng.standard_normal((7, 7)) + 3
    moments = _repair.Moments(0, np.zeros(7), np.zeros((7, 7)))
    for part in np.array_split(rows, 3):
        moments.add(part)
    cut = np.array([0, 1, 0, 0, 1, 0, 0], bool)
    guess, offset = _repair.regress(moments, cut, intercept=True)
    design = np.concatenate([rows[:, ~cut], np.ones((500, 1))], axis=1)
    best = np.linalg.lstsq(design, rows[:, cut], rcond=None)[0]
    found = rows[:, ~cut] @ guess.T + offset
    assert np.square(found - rows[:, cut]).mean() < 1.05 * np.square(design @ best - rows[:, cut]).mean() + 1e-3


def test_offsets_that_a_normalisation_takes_away_again_are_not_stored(rng: np.random.Generator) -> None:
    """A convolution without a bias gets none: the measured mean of the normalisation behind it holds the offset."""
    model, given = NETS["plain"](rng), samples((64, 3, 11, 13), rng)
    assert given.samples is not None
    model = apply(model, Plan("own statistics", tuple(_statistics.edits(model, given.samples))))
    plan = Structured(0.4).plan(model, given)
    small = apply(model, plan)
    assert [len(n.inputs) for n in small.graph if n.op_type == "Conv"] == [2, 2]
    assert cost.of(small).macs < cost.of(model).macs
    x = {"x": rng.standard_normal((32, 3, 11, 13)).astype(np.float32)}
    apart = {}
    for name, edits in {"repaired": plan, "not": Structured(0.4, repair="none").plan(model, given)}.items():
        apart[name] = np.abs(outputs(apply(model, edits), x)[0] - outputs(model, x)[0]).mean()
    assert apart["repaired"] < apart["not"]


def test_options_are_checked() -> None:
    for bad in ({"amount": 1.0}, {"amount": 0.0}, {"criterion": "best"}, {"multiple": 0}):
        with pytest.raises(BadRecipe):
            Structured(**bad)  # type: ignore[arg-type]


def test_nothing_to_cut_is_told(rng: np.random.Generator) -> None:
    n = Net(rng, ("batch", 11))
    plan = Structured(0.5).plan(n.end(n.dense(n.x, 5)), samples((8, 11), rng))
    assert not plan.edits
    assert "input" in plan.skips[0].why


def test_real_resnet8(shared_models: Path) -> None:
    """Repair gains much of what one-shot pruning loses, and the cut network is smaller in every way."""
    folder = shared_models / "ic-resnet8-cifar10"
    model = recast.load(folder / "pretrainedResnet.h5")
    passes.run(model, PASSES, passes.PassOptions())
    data = np.load(folder / "ic01_200.npz")
    images = data["x"].astype(np.float32)
    name = model.graph.inputs[0].name or ""

    def agreement(small: ir.Model) -> float:
        top = [outputs(m, {name: images[100:]})[0].argmax(axis=1) for m in (model, small)]
        return float((top[0] == top[1]).mean())

    given = Statistics(samples=Samples({name: images[:100]}))
    found = {r: apply(model, Structured(0.15, repair=r).plan(model, given)) for r in ("none", "least-squares")}  # type: ignore[arg-type]
    assert agreement(found["least-squares"]) > agreement(found["none"])
    assert agreement(found["least-squares"]) > 0.6
    assert cost.of(found["none"]).macs < 0.8 * cost.of(model).macs
