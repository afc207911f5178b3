"""Low rank: exact energies, exact equivalence of every form at full rank, fewer weights and MACs or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast.compressing import Settings, compress
from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.edits import ReplaceNode
from recast.compression.factorize import _forms
from recast.compression.factorize.svd import Svd, _decompose
from recast.compression.gate import Limits
from recast.compression.quantize._layers import layers
from recast.compression.recipe import Factorize
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.graph.view import const
from recast.measure import cost
from recast.measure.data import Samples
from recast.measure.size import parameters
from recast.verification.local import GraphRunner

CONVS = {
    "pads": {"pads": [1, 0, 2, 1], "strides": [2, 1]},
    "same": {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
    "dilated": {"dilations": [2, 1], "pads": [1, 1, 1, 1]},
    "valid": {"auto_pad": "VALID"},
}


def _low(rng: np.random.Generator, rows: int, columns: int, decay: float = 0.6) -> np.ndarray:
    """A matrix whose singular values fall."""
    left, right = (np.linalg.qr(rng.standard_normal((n, min(rows, columns))))[0] for n in (rows, columns))
    return np.asarray((left * decay ** np.arange(left.shape[1])) @ right.T)


def _conv(rng: np.random.Generator, attributes: dict[str, object]) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 13, 17, 19))
    w = _low(rng, 23, 13 * 3 * 5).reshape(23, 13, 3, 5).astype(np.float32)
    b.output(b.op("Conv", [x, b.weight("w", w), b.weight("b", rng.random(23).astype(np.float32))], attributes), "y")
    return b.model()


def _dense(rng: np.random.Generator, op: str, trans: int) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 61))
    w = _low(rng, 61, 47).astype(np.float32)
    held = b.weight("w", np.ascontiguousarray(w.T) if trans else w)
    bias = [b.weight("b", rng.random(47).astype(np.float32))] if op == "Gemm" else []
    b.output(b.op(op, [x, held, *bias], {"transB": trans} if op == "Gemm" else {}), "y")
    return b.model()


def _run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(GraphRunner(model).run({"x": x})["y"])


@pytest.mark.parametrize("form", ["output", "input", "spatial"])
@pytest.mark.parametrize("attributes", CONVS.values(), ids=CONVS)
def test_forms_at_full_rank_are_the_convolution(
    rng: np.random.Generator, form: str, attributes: dict[str, object]
) -> None:
    model = _conv(rng, attributes)
    (layer,), node = layers(model), model.graph[0]
    weight = const(model.graph.initializers["w"])
    assert weight is not None
    choice = _decompose(layer, form, _forms.matrix(form, weight, layer), None)
    edit = _forms.replace(node, layer, weight, choice.factors(len(choice.values)))
    made = apply(model, Plan("svd", (edit,)))
    x = rng.standard_normal((3, 13, 17, 19)).astype(np.float32)
    np.testing.assert_allclose(_run(made, x), _run(model, x), rtol=2e-4, atol=2e-5)
    assert made.graph.outputs[0].shape == model.graph.outputs[0].shape


@pytest.mark.parametrize(("op", "trans"), [("Gemm", 0), ("Gemm", 1), ("MatMul", 0)])
@pytest.mark.parametrize("energy", [0.6, 0.9, 0.99])
def test_the_energy_is_a_bound(rng: np.random.Generator, op: str, trans: int, energy: float) -> None:
    model = _dense(rng, op, trans)
    plan = Svd(energy).plan(model, Statistics())
    (edit,) = plan.edits
    assert isinstance(edit, ReplaceNode)
    first, second = (a.astype(np.float64) for a in edit.constants.values())
    w = const(model.graph.initializers["w"])
    assert w is not None
    w = (w.T if trans else w).astype(np.float64)
    assert first.shape[1] == second.shape[0]
    rank = first.shape[1]
    lost = np.square(w - first @ second).sum() / np.square(w).sum()
    assert lost <= 1 - energy + 1e-9
    values = np.square(np.linalg.svd(w, compute_uv=False))
    assert values[: rank - 1].sum() < energy * values.sum()  # one less would not do
    assert lost == pytest.approx(values[rank:].sum() / values.sum(), abs=1e-6)  # Eckart and Young: the best there is
    made = apply(model, plan)
    x = rng.standard_normal((5, 61)).astype(np.float32)
    bias = 0 if op == "MatMul" else const(model.graph.initializers["b"])
    np.testing.assert_allclose(_run(made, x), x @ (first @ second).astype(np.float32) + bias, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("attributes", CONVS.values(), ids=CONVS)
def test_fewer_weights_and_fewer_macs(rng: np.random.Generator, attributes: dict[str, object]) -> None:
    model = _conv(rng, attributes)
    plan = Svd(0.9).plan(model, Statistics())
    made = apply(model, plan)
    assert parameters(made).total < parameters(model).total
    before, after = cost.of(model).macs, cost.of(made).macs
    assert after < before
    (row,) = plan.notes["form, rank, weights before and after"].values()
    assert parameters(made).total == row[3] + 23  # the bias


def test_macs_are_those_of_the_cost_table(rng: np.random.Generator) -> None:
    for form in ("output", "input", "spatial"):
        model = _conv(rng, CONVS["pads"])
        (layer,), node = layers(model), model.graph[0]
        weight = const(model.graph.initializers["w"])
        assert weight is not None
        choice = _decompose(layer, form, _forms.matrix(form, weight, layer), None)
        made = apply(model, Plan("svd", (_forms.replace(node, layer, weight, choice.factors(3)),)))
        assert cost.of(made).macs == _forms.macs(form, weight.shape, 3, _forms.sizes_of(node, weight))


def test_full_rank_matrices_stay(rng: np.random.Generator) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 31))
    w = np.linalg.qr(rng.standard_normal((31, 31)))[0].astype(np.float32)
    b.output(b.op("MatMul", [x, b.weight("w", w)]), "y")
    plan = Svd(0.95).plan(b.model(), Statistics())
    assert not plan.edits
    assert "fewer weights and MACs" in plan.skips[0].why


def test_the_size_budget_is_met(rng: np.random.Generator) -> None:
    model = _conv(rng, CONVS["pads"])
    total = parameters(model).total - 23
    made = apply(model, Svd(size=0.3).plan(model, Statistics()))
    assert 0.1 * total < parameters(made).total - 23 <= 0.3 * total
    with pytest.raises(BadRecipe):
        Svd(size=0.001).plan(model, Statistics())


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_whitening_lowers_the_output_error(rng: np.random.Generator, kind: str) -> None:
    b = Builder("net")
    if kind == "dense":
        x = b.input("x", ir.DataType.FLOAT, ("batch", 41))
        w = rng.standard_normal((41, 37)).astype(np.float32)
        b.output(b.op("MatMul", [x, b.weight("w", w)]), "y")
        data = rng.standard_normal((509, 41)) @ _low(rng, 41, 41, 0.8)
    else:
        x = b.input("x", ir.DataType.FLOAT, ("batch", 11, 7, 5))
        w = rng.standard_normal((37, 11, 3, 3)).astype(np.float32)
        b.output(b.op("Conv", [x, b.weight("w", w)], {"pads": [1, 1, 1, 1]}), "y")
        data = np.einsum("cd,ndhw->nchw", _low(rng, 11, 11, 0.5), rng.standard_normal((64, 11, 7, 5)))
    model = b.model()
    samples = Samples({"x": data.astype(np.float32)})
    lost = []
    for whiten in (False, True):
        plan = Svd(size=0.5, whiten=whiten).plan(model, Statistics(samples=samples))
        a, c = (_run(m, samples.feeds["x"]) for m in (model, apply(model, plan)))
        lost.append(float(np.square(a - c).mean() / np.square(a).mean()))
    assert lost[1] < 0.7 * lost[0]


@pytest.mark.parametrize("wrong", [{"energy": 0.0}, {"energy": 1.2}, {"size": 1.0}, {"size": -0.1}])
def test_wrong_wishes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadRecipe):
        Svd(**wrong)  # type: ignore[arg-type]


def test_the_autoencoder_to_tflite(shared_models: Path, tmp_path: Path) -> None:
    folder = shared_models / "ad-autoencoder"
    steps = Factorize("svd", {"size": 0.6})
    settings = Settings(limits=Limits(allow_worse=True))
    result = compress(folder / "ad01.h5", tmp_path / "m.tflite", steps, settings)
    assert result.report is not None
    assert result.report.passed
    assert result.comparison is not None
    assert result.comparison.size_bytes[1] < 0.7 * result.comparison.size_bytes[0]
