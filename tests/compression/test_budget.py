"""The Taylor criterion against gradients by differences, and budgets of structured pruning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.cli.commands.compress import _prune
from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.groups import Groups, find
from recast.compression.prune import _budget, _taylor
from recast.compression.prune._importance import measure
from recast.compression.prune.structured import Structured, choose
from recast.demo import DATA, MODEL
from recast.errors import BadRecipe, BudgetMissed
from recast.measure import cost
from recast.measure.data import Samples

from .group_nets import NETS
from .test_groups import outputs


def statistics(shape: tuple[int, ...], rng: np.random.Generator, classes: int = 0) -> Statistics:
    labels = rng.integers(0, classes, shape[0]) if classes else None
    return Statistics(samples=Samples({"x": rng.standard_normal(shape).astype(np.float32)}, labels))


def scaled(model: ir.Model, groups: Groups, unit: int, factor: float) -> ir.Model:
    """What makes the unit times ``factor``: at normalisations their scale and bias, elsewhere weight and bias."""
    made = model.clone()
    for group in groups.groups:
        for places in _taylor.parts(group):
            for place in places:
                value = made.graph.initializers[place.weight.name or ""]
                assert value.const_value is not None
                array = value.const_value.numpy().copy()
                np.moveaxis(array, place.axis, 0)[place.units == unit] *= factor
                value.const_value = ir.tensor(array, name=value.name)
    return made


@pytest.mark.parametrize("name", ["mlp", "depthwise"])
def test_taylor_is_the_slope_of_the_loss(name: str, rng: np.random.Generator) -> None:
    """Scaling all that makes a unit changes the loss at the rate whose square is the importance."""
    pytest.importorskip("torch")
    model = NETS[name](rng)
    shape = (8, *[d if isinstance(d, int) else 8 for d in list(model.graph.inputs[0].shape or ())[1:]])
    given = statistics(shape, rng, classes=5)  # type: ignore[arg-type]
    groups = find(model)
    values = _taylor.measure(model, groups, given)
    assert given.samples is not None
    labels, x = given.samples.labels, given.samples.feeds["x"]
    assert labels is not None

    def loss(changed: ir.Model) -> float:
        scores = outputs(changed, {"x": x})[0].astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(8), labels]).mean())

    step, checked = 1e-2, 0
    for group, value in zip(groups.groups, values, strict=True):
        if len(_taylor.parts(group)) != 1:  # several makers: squares of each, no single slope
            continue
        for number in (0, len(group.units) - 1):
            unit = int(group.units[number])
            up, down = (loss(scaled(model, groups, unit, 1 + s)) for s in (step, -step))
            slope = (up - down) / (2 * step)
            assert value[number] == pytest.approx(slope**2, rel=0.05, abs=1e-7)
            checked += value[number] > 1e-6
    assert checked >= 2


def test_taylor_without_labels_sees_what_the_outputs_see(rng: np.random.Generator) -> None:
    """A neuron that nobody hears is worth nothing, whatever its norm."""
    pytest.importorskip("torch")
    model = NETS["mlp"](rng)
    groups = find(model)
    reader = next(p for p in groups.groups[0].places if p.read)
    assert reader.weight.const_value is not None
    array = reader.weight.const_value.numpy().copy()
    np.moveaxis(array, reader.axis, 0)[reader.units == groups.groups[0].units[5]] = 0
    reader.weight.const_value = ir.tensor(array, name=reader.weight.name)
    found = measure(model, groups, "taylor", statistics((32, 17), rng))[0]
    assert found[5] == 0
    assert np.sort(found)[1] > 0


@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_what_nothing_is_known_of_stays(scope: str, rng: np.random.Generator) -> None:
    groups = find(NETS["mlp"](rng)).groups
    values = [np.full(len(groups[0].units), np.inf), rng.uniform(1, 2, len(groups[1].units))]
    chosen = choose(groups, values, Structured(0.5, "taylor", scope), 0.5)  # type: ignore[arg-type]
    assert len(chosen[0]) == 0
    assert len(chosen[1]) > 0


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("criterion", ["l2", "taylor"])
@pytest.mark.parametrize("budget", ["macs<0.6", "parameters<45%", "macs<0.7, parameters<0.5"])
def test_a_budget_is_met_and_little_more_is_cut(
    budget: str, criterion: str, scope: str, rng: np.random.Generator
) -> None:
    model = NETS["residual"](rng)
    options = Structured(None, criterion, scope, repair="none", samples=8, budget=budget)  # type: ignore[arg-type]
    small = apply(model, options.plan(model, statistics((8, 3, 11, 13), rng, classes=5)))
    for limit in _budget.parse(budget):
        assert _budget.price(small, model, limit) <= limit.limit
    nearest = max(_budget.price(small, model, b) / b.limit for b in _budget.parse(budget))
    assert nearest > 0.6  # units are few here


def test_of_two_budgets_each_counts_as_much_as_it_has_to(rng: np.random.Generator) -> None:
    """Where early layers cost work and late ones parameters, no ranking that meets both loses less importance."""
    model = NETS["transposed"](rng)
    groups = find(model)
    options = Structured(None, "taylor", "global", repair="none", budget="macs<0.4, parameters<0.5")
    values = [rng.uniform(0.5, 1.5, len(g.units)) for g in groups.groups]
    budgets = _budget.parse(options.budget)

    def lost(mix: float) -> float:
        def cut(share: float) -> ir.Model:
            chosen = choose(groups.groups, values, options, share, mix)
            return apply(model, Plan("cut", tuple(groups.edits(int(u) for units in chosen for u in units))))

        chosen = choose(groups.groups, values, options, _budget.least(cut, model, budgets, None), mix)
        parts = zip(groups.groups, values, chosen, strict=True)
        return float(sum(v[np.isin(g.units, u)].sum() for g, v, u in parts))

    assert _budget.mixes(budgets[:1]) == (0.5,)
    every = {mix: lost(mix) for mix in _budget.mixes(budgets)}
    assert len(set(every.values())) > 1, "all rankings are alike: nothing would be seen"
    _, mix = options._least(model, groups, values, Statistics())
    assert every[mix] == min(every.values())


def test_a_budget_of_measured_latency(rng: np.random.Generator) -> None:
    model = NETS["residual"](rng)
    given = statistics((8, 3, 11, 13), rng)
    plan = Structured(None, repair="none", budget="latency<10s").plan(model, given)
    assert not plan.edits  # it is fast enough as it is
    with pytest.raises(BudgetMissed, match="latency"):
        Structured(None, repair="none", budget="latency<0.001us").plan(model, given)
    with pytest.raises(BadRecipe, match="samples"):
        Structured(None, repair="none", budget="latency<2ms").plan(model, Statistics())


def test_budget_texts() -> None:
    (macs, weights) = _budget.parse("macs < 60M, parameters<=25%")
    assert (macs.limit, macs.relative) == (60e6, False)
    assert (weights.limit, weights.relative) == (0.25, True)
    for bad in ("macs<0", "macs<1.5", "macs<2ms", "size<3KB", "latency<3K", "macs", ""):
        with pytest.raises(BadRecipe):
            _budget.parse(bad)
    with pytest.raises(BadRecipe, match="amount and a budget"):
        Structured(0.5, budget="macs<0.5")
    with pytest.raises(BadRecipe, match="scope"):
        Structured(0.5, scope="everywhere")  # type: ignore[arg-type]


def test_recipe_and_flag_take_a_budget(tmp_path: Path) -> None:
    assert _prune("macs<0.5", None, False, "").chosen() == ("structured", {"budget": "macs<0.5"})
    target = tmp_path / "small.onnx"
    steps = recast.Prune(budget="macs<0.5", options={"criterion": "l1"})
    result = recast.compress(MODEL, target, steps, recast.Settings(data=DATA, limits=recast.Limits(allow_worse=True)))
    assert result.comparison is not None
    before, after = (cost.of(recast.load(p)).macs for p in (MODEL, target))
    assert 0.3 * before < after <= 0.5 * before
