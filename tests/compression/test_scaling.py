"""Equalisation, activation-aware scaling, mixed precision: exact before rounding, better after it, in the budget."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from recast import passes
from recast.compression._method import Method, Plan, Statistics
from recast.compression.apply import apply
from recast.compression.edits import PackWeight, StoreAs
from recast.compression.quantize._joints import Weights, by_inputs, joints
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._rounding import Grid, expanded, nearest
from recast.compression.quantize.awq import Awq, best, moments
from recast.compression.quantize.equalise import Equalise, scales
from recast.compression.quantize.int8 import Int8
from recast.compression.quantize.mixed import Mixed, Table, allotted
from recast.compression.quantize.weights import Int4
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.verification.local import GraphRunner


def _weight(b: Builder, rng: np.random.Generator, name: str, *shape: int) -> ir.Value:
    scale = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
    return b.weight(name, (rng.standard_normal(shape) * scale).astype(np.float32))


def _image_net(rng: np.random.Generator) -> ir.Model:
    """Convolution, depthwise, pointwise with ranges that differ a lot between channels; ReLU and ReLU6."""
    b = Builder("image")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 3, 13, 11))
    spread = np.exp(rng.uniform(-3, 3, 7)).astype(np.float32)
    first = (rng.standard_normal((7, 3, 3, 3)) * spread[:, None, None, None] / 5).astype(np.float32)
    bias = b.weight("a.b", (rng.standard_normal(7) * spread).astype(np.float32))
    h = b.op("Relu", [b.op("Conv", [x, b.weight("a", first), bias], {"pads": [1, 1, 1, 1]})])
    d = b.op("Conv", [h, _weight(b, rng, "d", 7, 1, 3, 3), _weight(b, rng, "d.b", 7)], {"group": 7})
    p = b.op("MaxPool", [b.op("Relu", [d])], {"kernel_shape": [2, 2]})
    second = (rng.standard_normal((5, 7, 1, 1)) / spread[None, :, None, None]).astype(np.float32)
    y = b.op("Conv", [p, b.weight("p", second), _weight(b, rng, "p.b", 5)])
    zero, six = b.weight("0", np.array(0, np.float32)), b.weight("6", np.array(6, np.float32))
    y = b.op("Conv", [b.op("Clip", [y, zero, six]), _weight(b, rng, "q", 3, 5, 2, 2)])
    b.output(y, "y")
    return b.model()


def _text_net(rng: np.random.Generator, width: int = 64) -> ir.Model:
    """Normalisation above two layers, a gated product, a residual."""
    b = Builder("text")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 11, width))
    n = b.op("LayerNormalization", [x, b.weight("n", rng.uniform(0.5, 2, width).astype(np.float32))], {"axis": -1})
    gate = b.op("MatMul", [n, _weight(b, rng, "gate", width, 96)])
    up = b.op("Add", [b.op("MatMul", [n, _weight(b, rng, "up", width, 96)]), _weight(b, rng, "up.b", 96)])
    hidden = b.op("Mul", [b.op("Sigmoid", [gate]), up])
    y = b.op("Add", [x, b.op("MatMul", [hidden, _weight(b, rng, "down", 96, width)])])
    b.output(y, "y")
    return b.model()


def _images(rng: np.random.Generator, count: int) -> Samples:
    return Samples({"x": rng.standard_normal((count, 3, 13, 11)).astype(np.float32)})


def _texts(rng: np.random.Generator, count: int) -> Samples:
    """A few channels are much larger than the others, as in language models."""
    x = rng.standard_normal((count, 11, 64))
    x[..., [3, 17, 40]] *= 25
    return Samples({"x": x.astype(np.float32)})


def _plan(model: ir.Model, method: Method, samples: Samples, target: str = "onnx") -> Plan:
    needs = method.needs(model)
    with Graph(model) as graph:
        seen = graph.observe(samples, needs.values)
    return method.plan(model, Statistics(seen, samples, target))


def _planned(model: ir.Model, method: Method, samples: Samples, target: str = "onnx") -> ir.Model:
    model = model.clone()
    passes.run(model, method.passes, passes.PassOptions())
    return apply(model, _plan(model, method, samples, target))


def _outputs(model: ir.Model, samples: Samples) -> np.ndarray:
    return GraphRunner(model, optimise=False).run(dict(samples.feeds))["y"].astype(np.float64)


def _distance(first: ir.Model, second: ir.Model, samples: Samples) -> float:
    a, b = (_outputs(m, samples) for m in (first, second))
    return float(np.sqrt(np.mean(np.square(a - b))) / a.std())


def test_places_that_are_free(rng: np.random.Generator) -> None:
    found, left = joints(_image_net(rng))
    names = [(j.channels, [n for n, _ in j.above], [la.weight for la in j.below]) for j in found]
    assert names == [(7, ["a", "a.b"], ["d"]), (7, ["d", "d.b"], ["p"])]
    assert len(left) == 2  # the input, and what ReLU6 bounds
    found, left = joints(_text_net(rng))
    names = [(j.channels, [n for n, _ in j.above], [la.weight for la in j.below]) for j in found]
    assert names == [(64, ["n"], ["gate", "up"]), (96, ["up", "up.b"], ["down"])]


@pytest.mark.parametrize("kind", ["image", "text"])
def test_any_scaling_is_exact(rng: np.random.Generator, kind: str) -> None:
    model = _image_net(rng) if kind == "image" else _text_net(rng)
    samples = _images(rng, 5) if kind == "image" else _texts(rng, 5)
    weights = Weights(model)
    for joint in joints(model)[0]:
        weights.scale(joint, np.exp(rng.uniform(-1, 1, joint.channels)))
    made = apply(model, Plan("scaled", weights.edits("")))
    np.testing.assert_allclose(_outputs(made, samples), _outputs(model, samples), rtol=1e-4, atol=1e-5)


def test_equalised_ranges_are_those_of_the_equation(rng: np.random.Generator) -> None:
    model = _image_net(rng)
    joint, weights = joints(model)[0][0], Weights(model)
    first, second = weights["a"].copy(), weights["d"].copy()
    r1, r2 = (np.abs(w.reshape(7, -1)).max(axis=1) for w in (first, second))
    s = scales(weights, joint)
    np.testing.assert_allclose(s, np.sqrt(r1 * r2) / r2, rtol=1e-12)
    weights.scale(joint, s)
    below = by_inputs(weights["d"], joint.below[0])
    np.testing.assert_allclose(np.abs(weights["a"].reshape(7, -1)).max(axis=1), np.abs(below).max(axis=1), rtol=1e-12)


def test_dead_channels_are_left_alone(rng: np.random.Generator) -> None:
    """Training drives useless channels to 1e-20; scaled up they would be all that counts."""
    model = _image_net(rng)
    value = model.graph.initializers["a"]
    array = value.const_value.numpy().copy()  # type: ignore[union-attr]
    array[2] *= 1e-20
    value.const_value = ir.Tensor(array, name="a")
    plan = _plan(model, Equalise(), _images(rng, 4))
    assert max(plan.notes["largest scales"].values()) <= 256
    joint = joints(model)[0][0]
    assert scales(Weights(model), joint)[2] == 1


def test_equalising_helps_where_channels_share_a_scale(rng: np.random.Generator) -> None:
    model, samples, test = _image_net(rng), _images(rng, 64), _images(rng, 64)
    method = Int8(ranges="minmax", rounding="nearest", samples=64)
    equal = _planned(model, Equalise(), samples)
    assert _distance(model, equal, test) < 1e-5
    assert _distance(model, _planned(equal, method, samples), test) < 0.6 * _distance(
        model, _planned(model, method, samples), test
    )


def test_awq_finds_the_best_of_its_grid(rng: np.random.Generator) -> None:
    """Against the error over the samples themselves, in float64."""
    model, samples = _text_net(rng), _texts(rng, 16)
    joint = joints(model)[0][0]
    seen = moments(model, joint.value, samples)
    with Graph(model) as graph:
        x = graph.run(samples, [joint.value])[joint.value].reshape(-1, 64).astype(np.float64)
    np.testing.assert_allclose(seen[0], np.abs(x).mean(axis=0), rtol=1e-6)
    goal = Grid.symmetric(4), 32
    errors = []
    for step in range(20):
        s = seen[0] ** (step / 20)
        s /= np.sqrt(s.max() * s.min())
        total = 0.0
        for layer in joint.below:
            w = model.graph.initializers[layer.weight].const_value.numpy().astype(np.float64)  # type: ignore[union-attr]
            q, scale = nearest((w * s[:, None]).T, *goal)
            total += float(np.square((x / s) @ (q * expanded(scale, 64, 32)).T - x @ w).mean())
        errors.append(total)
    alpha, _ = best(model, joint, seen, goal)
    assert alpha == int(np.argmin(errors)) / 20
    assert min(errors) < 0.8 * errors[0]


def test_awq_helps_and_needs_real_samples(rng: np.random.Generator) -> None:
    model, samples, test = _text_net(rng), _texts(rng, 32), _texts(rng, 32)
    scaled = _planned(model, Awq(), samples)
    assert _distance(model, scaled, test) < 1e-5
    rough = Int4(rounding="nearest")
    a, b = (_distance(model, _planned(m, rough, samples), test) for m in (scaled, model))
    assert a < b
    with pytest.raises(BadRecipe, match="real samples"):
        _plan(model, Awq(), Samples(samples.feeds, real=False))
    with pytest.raises(BadRecipe, match="no dense layer"):
        _plan(_image_net(rng), Awq(), _images(rng, 4))


def _bits(plan: Plan) -> dict[str, int]:
    told: dict[str, int] = plan.notes["bits"]
    return told


def test_the_cheapest_steps_are_taken() -> None:
    """As the best of all choices, tried one by one."""
    found = [Layer(f"n{i}", "", "MatMul", "x", "y", f"w{i}", "", 1) for i in range(3)]
    table = Table(found, dict.fromkeys(found, 1000), dict.fromkeys(found, 0))
    told = [{16: 0.0, 8: 0.1, 4: 9.0}, {16: 0.0, 8: 0.01, 4: 0.2}, {16: 0.0, 8: 0.001, 4: 0.02}]
    bits = allotted(table, dict(zip(found, told, strict=True)), ("bytes", 3500.0))
    every = itertools.product((16, 8, 4), repeat=3)
    fits = [c for c in every if sum(table.size(la, b) for la, b in zip(found, c, strict=True)) <= 3500]
    best = min(fits, key=lambda c: sum(errors[b] for errors, b in zip(told, c, strict=True)))
    assert tuple(bits.values()) == best == (16, 8, 4)


def test_mixed_precision_keeps_its_budget(rng: np.random.Generator) -> None:
    model, samples, test = _text_net(rng), _texts(rng, 32), _texts(rng, 32)
    floats = 4 * sum(model.graph.initializers[n].const_value.size for n in ("gate", "up", "down"))  # type: ignore[union-attr]
    errors, sizes = [], []
    for share in (40, 24, 16):
        plan = _plan(model, Mixed(f"size<{share}%", rounding="nearest"), samples)
        assert plan.notes["bytes"] <= share / 100 * floats
        errors.append(_distance(model, apply(model, plan), test))
        sizes.append(sum(_bits(plan).values()))
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(BadRecipe, match="still take"):
        _plan(model, Mixed("size<5%"), samples)
    with pytest.raises(BadRecipe, match="budget"):
        Mixed("size<half").needs(model)


def test_mixed_precision_spares_the_sensitive_layer(rng: np.random.Generator) -> None:
    model, samples, test = _text_net(rng), _texts(rng, 32), _texts(rng, 32)
    plan = _plan(model, Mixed("error<2%"), samples)
    errors, bits = plan.notes["errors"], _bits(plan)
    worst = max(errors, key=lambda n: errors[n]["4"])
    assert bits[worst] == max(bits.values())
    assert _distance(model, apply(model, plan), test) < 0.03
    lowered = {e.weight for e in plan.edits if isinstance(e, PackWeight)}
    halves = {e.weight for e in plan.edits if isinstance(e, StoreAs)}
    assert lowered | halves == {"gate", "up", "down"}
    assert len(halves) == list(bits.values()).count(16)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_pruned_model_does_not_collapse(rng: np.random.Generator, bits: int) -> None:
    model = _image_net(rng) if bits == 8 else _text_net(rng)
    made_of = _images if bits == 8 else _texts
    samples, test = made_of(rng, 64), made_of(rng, 64)
    zeros = {}
    for layer in layers(model):
        value = model.graph.initializers[layer.weight]
        array = value.const_value.numpy().copy()  # type: ignore[union-attr]
        zeros[layer.weight] = np.abs(array) < np.quantile(np.abs(array), 0.6)
        array[zeros[layer.weight]] = 0
        value.const_value = ir.Tensor(array, name=layer.weight)
    made = _planned(model, Int8(samples=64) if bits == 8 else Int4(samples=64), samples)
    assert _distance(model, made, test) < (0.1 if bits == 8 else 0.3)
    for name, zero in zeros.items():
        integers = made.graph.initializers[f"{name}/integers"].const_value
        assert integers is not None
        assert not integers.numpy()[zero].any()  # pruned weights stay pruned
