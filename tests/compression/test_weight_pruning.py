"""Single weights: exact shares, patterns, the calibrated methods against a float64 oracle, real models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast.compressing import Settings, compress
from recast.compression._method import Method, Plan, Statistics
from recast.compression.apply import apply
from recast.compression.edits import SetWeight
from recast.compression.prune import _masks, _targets
from recast.compression.prune._sparsegpt import damped, sparsegpt
from recast.compression.prune.calibrated import SparseGPT, Wanda
from recast.compression.prune.magnitude import Magnitude, NofM
from recast.compression.recipe import Prune
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.graph.view import const
from recast.measure.data import Samples
from recast.verification.local import GraphRunner


def _net(rng: np.random.Generator) -> ir.Model:
    """Convolutions (plain, depthwise), a recurrent layer, dense layers, an embedding table beside it."""
    b = Builder("net")

    def w(name: str, *shape: int) -> ir.Value:
        return b.weight(name, (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32))

    x = b.input("x", ir.DataType.FLOAT, ("batch", 4, 11, 7))
    h = b.op("Relu", [b.op("Conv", [x, w("a", 16, 4, 3, 3), w("a.b", 16)], {"pads": [1, 1, 1, 1]})])
    h = b.op("Relu", [b.op("Conv", [h, w("d", 16, 1, 3, 3), w("d.b", 16)], {"group": 16})])
    h = b.op("Conv", [h, w("p", 12, 16, 1, 1), w("p.b", 12)])
    h = b.op("Flatten", [b.op("GlobalAveragePool", [h])])
    h = b.op("Gemm", [h, w("g", 20, 12), w("g.b", 20)], {"transB": 1})
    b.output(b.op("MatMul", [h, w("m", 20, 5)]), "y")
    return b.model()


def _samples(rng: np.random.Generator, count: int = 64) -> Samples:
    mixed = rng.standard_normal((4, 4))  # correlated channels
    x = np.einsum("cd,ndhw->nchw", mixed, rng.standard_normal((count, 4, 11, 7)))
    return Samples({"x": x.astype(np.float32)})


def _arrays(plan: Plan) -> dict[str, np.ndarray]:
    return {e.weight: e.array for e in plan.edits if isinstance(e, SetWeight)}


def _zeros(array: np.ndarray) -> int:
    return array.size - int(np.count_nonzero(array))


def test_only_contracted_weights_are_pruned(rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, (7, "batch", 5))
    r, u, bias = (b.weight(n, rng.random(s).astype(np.float32)) for n, s in _RNN.items())
    y = b.node("GRU", [x, r, u, bias], {"hidden_size": 3}, 2)[1]
    i = b.input("i", ir.DataType.INT64, ("batch",))
    e = b.op("Gather", [b.weight("table", rng.random((13, 3)).astype(np.float32)), i])
    scale = b.weight("scale", rng.random((1, 3)).astype(np.float32))
    b.output(b.op("Mul", [b.op("Add", [b.op("Squeeze", [y, b.const([0])]), e]), scale]), "y")
    found, skips = _targets.find(b.model())
    assert {t.weight: t.inputs for t in found} == {"w": 2, "r": 2, "table": 1}
    assert not skips


_RNN = {"w": (1, 9, 5), "r": (1, 9, 3), "b": (1, 18)}


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.93])
def test_amounts_are_exact(rng: np.random.Generator, amount: float) -> None:
    model = _net(rng)
    made = _arrays(Magnitude(amount).plan(model, Statistics()))
    assert set(made) == {"a", "d", "p", "g", "m"}
    for name, array in made.items():
        before = const(model.graph.initializers[name])
        assert before is not None
        gone = array != before
        assert gone.sum() == round(amount * array.size)
        assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    everything = _arrays(Magnitude(amount, scope="global").plan(model, Statistics()))
    total = sum((const(model.graph.initializers[n]) != 0).sum() for n in "adpgm")  # type: ignore[union-attr, misc]
    assert sum(_zeros(a) for a in everything.values()) == round(amount * total)


def test_ties_are_pruned_exactly() -> None:
    assert _masks.smallest(np.ones((3, 5)), 7).sum() == 7
    assert _masks.smallest(np.zeros(4), 0).sum() == 0


def test_threshold_is_strict(rng: np.random.Generator) -> None:
    model = _net(rng)
    made = _arrays(Magnitude(threshold=0.1).plan(model, Statistics()))
    for name in "adpgm":
        before = const(model.graph.initializers[name])
        assert before is not None
        assert np.array_equal(made.get(name, before) == 0, np.abs(before) < 0.1)


def test_blocks_by_l1_and_l2_differ(rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 4))
    # L1: 1.0 against 1.2; L2: 1.0 against 0.85
    w = np.array([[1.0, 0.0, 0.6, 0.6]], np.float32)
    b.output(b.op("Gemm", [x, b.weight("w", w)], {"transB": 1}), "y")
    model = b.model()
    first, second = (Magnitude(0.5, norm=n, block=2).plan(model, Statistics()) for n in ("l1", "l2"))
    assert np.array_equal(_arrays(first)["w"], w * [0, 0, 1, 1])
    assert np.array_equal(_arrays(second)["w"], w * [1, 1, 0, 0])


@pytest.mark.parametrize(
    "method",
    [NofM(), Wanda(pattern="2:4", samples=32), SparseGPT(pattern="2:4", samples=32)],
    ids=lambda m: type(m).__name__,
)
def test_two_of_four_along_the_inputs(rng: np.random.Generator, method: Method) -> None:
    model = _net(rng)
    plan = method.plan(model, Statistics(samples=_samples(rng)))
    made = {n: a for n, a in _arrays(plan).items() if a.ndim > 1}
    assert set(made) == {"a", "p", "g", "m"}
    assert any("no multiple of 4" in s.why for s in plan.skips)  # depthwise
    for name, axis in (("a", 1), ("p", 1), ("g", 1), ("m", 0)):
        moved = np.moveaxis(made[name], axis, -1)
        groups = moved.reshape(*moved.shape[:-1], -1, 4)
        assert ((groups == 0).sum(axis=-1) == 2).all()


def test_wanda_ranks_by_weight_times_input_norm(rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 6))
    w = rng.standard_normal((5, 6)).astype(np.float32)
    b.output(b.op("Gemm", [x, b.weight("w", w)], {"transB": 1}), "y")
    data = (rng.standard_normal((97, 6)) * [1, 9, 1, 0.1, 3, 1]).astype(np.float32)
    made = _arrays(Wanda(0.5).plan(b.model(), Statistics(samples=Samples({"x": data}))))["w"]
    scores = np.abs(w) * np.linalg.norm(data.astype(np.float64), axis=0)
    wanted = np.argsort(np.argsort(scores, axis=1), axis=1) >= 3
    assert np.array_equal(made != 0, wanted)
    assert np.array_equal(made[wanted], w[wanted])  # what stays is not changed


def test_sparsegpt_against_the_exact_solution(rng: np.random.Generator) -> None:
    """One row, one weight to go: the optimal brain surgeon's choice and update, solved directly."""
    x = rng.standard_normal((301, 5)) @ rng.standard_normal((5, 5))
    h, w = x.T @ x / len(x), rng.standard_normal((1, 5))
    d = damped(h)
    made = sparsegpt(w, h, 0.2)
    (gone,) = np.flatnonzero(made[0] == 0)
    # columns left of the pruned one are settled; those right of it are the least-squares answer
    right = np.arange(5) > gone
    wanted = w[0].copy()
    if right.any():
        wanted[right] += np.linalg.solve(d[np.ix_(right, right)], d[right, gone] * w[0, gone])
    wanted[gone] = 0
    np.testing.assert_allclose(made[0], wanted, rtol=1e-10, atol=1e-12)


def test_sparsegpt_loses_less_than_wanda_and_magnitude(rng: np.random.Generator) -> None:
    """On correlated inputs, in float64."""
    x = rng.standard_normal((2003, 61)) @ rng.standard_normal((61, 61))
    w = rng.standard_normal((17, 61))
    h = x.T @ x / len(x)

    def lost(v: np.ndarray) -> float:
        return float(np.square(x @ (v - w).T).mean())

    magnitude = np.where(_masks.smallest(np.abs(w), w.size // 2), 0, w)
    wanda = np.where(np.stack([_masks.smallest(r, 30) for r in np.abs(w) * np.sqrt(np.diag(h))]), 0, w)
    made = sparsegpt(w, h, 0.5, block=16)
    assert abs(_zeros(made) - w.size // 2) <= 4  # one rounding a block
    assert lost(made) < 0.75 * lost(wanda)
    assert lost(made) < 0.75 * lost(magnitude)


def test_calibrated_pruning_of_a_whole_net(rng: np.random.Generator) -> None:
    model, samples, test = _net(rng), _samples(rng, 128), _samples(rng, 256)

    def lost(method: Method) -> float:
        made = apply(model, method.plan(model, Statistics(samples=samples)))
        a, b = (GraphRunner(m).run(dict(test.feeds))["y"] for m in (model, made))
        return float(np.sqrt(np.square(a - b).mean()) / a.std())

    magnitude, wanda, surgeon = (lost(m) for m in (Magnitude(0.5), Wanda(0.5), SparseGPT(0.5)))
    assert surgeon < wanda
    assert surgeon < 0.6 * magnitude


def test_wrong_wishes_are_refused() -> None:
    for wrong in (
        lambda: Magnitude(),
        lambda: Magnitude(0.5, threshold=1e-3),
        lambda: Magnitude(1.0),
        lambda: Magnitude(threshold=float("nan")),
        lambda: Magnitude(0.5, scope="all"),  # type: ignore[arg-type]
        lambda: NofM("4:2"),
        lambda: Wanda(0.5, pattern="2:4"),
        lambda: SparseGPT(),
    ):
        with pytest.raises(BadRecipe):
            wrong()


def test_quantised_weights_are_skipped(rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 4))
    q = b.weight("q", rng.integers(-9, 9, (4, 3)).astype(np.int8))
    b.output(b.op("MatMul", [x, b.op("DequantizeLinear", [q, b.const(0.5)])]), "y")
    plan = Magnitude(0.5).plan(b.model(), Statistics())
    assert not plan.edits
    assert "quantised" in plan.skips[0].why
    assert "nothing was pruned" in plan.findings[-1].what


def test_resnet8_onnx_is_smaller_and_sparsegpt_keeps_it(shared_models: Path, tmp_path: Path) -> None:
    folder = shared_models / "ic-resnet8-cifar10"
    settings = Settings(data=folder / "ic01_200.npz")
    steps = Prune(0.5, kind="sparsegpt", options={"samples": 64, "skip": ("conv2d",)})
    result = compress(folder / "pretrainedResnet.h5", tmp_path / "m.onnx", steps, settings)
    assert result.comparison is not None
    old, new = result.comparison.size_bytes
    assert new < 0.62 * old
    assert result.comparison.accuracy is not None
    assert result.comparison.accuracy[1] > 0.6  # magnitude alone: 0.58, with the first layer 0.15
