"""Palettes: near the exact optimum, the same numbers in ONNX Runtime, really smaller, refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast.compressing import Settings, compress
from recast.compression._method import Statistics
from recast.compression.apply import apply
from recast.compression.factorize.palette import Palette, cluster
from recast.compression.recipe import Factorize, Prune
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.recipe import Writing
from recast.verification.local import GraphRunner


def _optimum(values: np.ndarray, count: int) -> float:
    """The least sum of squares with so many centres, by dynamic programming over the sorted values (exact)."""
    v = np.sort(values)
    n = len(v)
    one, two = np.concatenate([[0], np.cumsum(v)]), np.concatenate([[0], np.cumsum(v * v)])

    def cost(i: int, j: int) -> float:
        return float(two[j] - two[i] - (one[j] - one[i]) ** 2 / (j - i))

    best = [0.0] + [np.inf] * n
    for _ in range(count):
        best = [0.0] + [min(best[i] + cost(i, j) for i in range(j)) for j in range(1, n + 1)]
    return best[n]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_near_the_exact_optimum(rng: np.random.Generator, count: int) -> None:
    values = rng.standard_normal(101) ** 3
    centres, index = cluster(values, count)
    assert len(centres) == count
    assert np.array_equal(index, np.abs(values[:, None] - centres).argmin(axis=1))
    lost = np.square(values - centres[index]).sum()
    assert _optimum(values, count) <= lost * (1 + 1e-12)
    assert lost < 1.5 * _optimum(values, count)


def test_few_values_and_zeros_are_exact(rng: np.random.Generator) -> None:
    few = rng.choice(np.array([-1.5, 0.25, 3.0]), 97)
    centres, index = cluster(few, 4)
    assert np.array_equal(centres[index], few)
    pruned = np.where(rng.random(997) < 0.6, 0, rng.standard_normal(997) + 0.05)
    centres, index = cluster(pruned, 8)
    assert (centres[index][pruned == 0] == 0).all()
    assert len(np.unique(cluster(np.full(31, 7.0), 16)[0])) == 1


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_the_graph_computes_with_the_palette(rng: np.random.Generator, bits: int) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 7, 11, 13))
    w = rng.standard_normal((23, 7, 3, 5)).astype(np.float32)
    h = b.op("Conv", [x, b.weight("w", w)], {"pads": [1, 2, 1, 2]})
    b.output(b.op("Conv", [h, b.weight("small", rng.random((1, 23, 1, 1)).astype(np.float32))]), "y")
    model = b.model()
    plan = Palette(bits).plan(model, Statistics(target="onnx"))
    (edit,) = plan.edits
    assert plan.skips[0].why.startswith("23 weights")
    real = edit.palette[edit.indices.astype(np.int64)]  # type: ignore[union-attr]
    assert len(np.unique(real)) <= 2**bits
    again = model.clone()
    again.graph.initializers["w"].const_value = ir.Tensor(real, name="w")
    data = {"x": rng.standard_normal((3, 7, 11, 13)).astype(np.float32)}
    made, wanted = (GraphRunner(m).run(data)["y"] for m in (apply(model, plan), again))
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)


def test_other_targets_are_refused(rng: np.random.Generator, tmp_path: Path, shared_models: Path) -> None:
    with pytest.raises(BadRecipe, match="cannot be stored"):
        compress(shared_models / "ad-autoencoder" / "ad01.h5", tmp_path / "m.tflite", Factorize("palette"))
    with pytest.raises(BadRecipe):
        Palette(9)


def test_resnet8(shared_models: Path, tmp_path: Path) -> None:
    folder = shared_models / "ic-resnet8-cifar10"
    settings = Settings(data=folder / "ic01_200.npz", writing=Writing(force=True))
    sizes = []
    for steps in (Factorize("palette", {"bits": 4}), Factorize("palette", {"bits": 6})):
        result = compress(folder / "pretrainedResnet.h5", tmp_path / "m.onnx", steps, settings)
        assert result.comparison is not None
        sizes.append(result.comparison.size_bytes)
        assert result.comparison.disagree is not None
    assert result.comparison.disagree <= 0.05
    assert sizes[0][1] < 0.21 * sizes[0][0]
    assert sizes[1][1] < 0.34 * sizes[1][0]


def test_pruned_then_a_palette_keeps_the_zeros(shared_models: Path, tmp_path: Path) -> None:
    steps = Prune(0.5) >> Factorize("palette")
    source = shared_models / "ic-resnet8-cifar10" / "pretrainedResnet.h5"
    plans = compress(source, tmp_path / "m.onnx", steps, Settings(dry_run=True)).plans
    for edit in plans[1].edits:
        real = edit.palette[edit.indices.astype(np.int64)]  # type: ignore[union-attr]
        assert (real == 0).mean() >= 0.49
