"""Synthesised inputs give every normalisation the statistics that it remembers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast._util.child import TensorSpec
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.measure import synthetic
from recast.measure.calibrate import Graph
from recast.measure.data import Samples, generated

torch = pytest.importorskip("torch")


def _net(rng: np.random.Generator, batch: str | int = "batch") -> tuple[ir.Model, list[str]]:
    """Two convolutions, each normalised by what real inputs (pixels of 0 to 255) gave it; what the layers see."""
    real = rng.uniform(0, 255, (64, 3, 1, 1)) + rng.standard_normal((64, 3, 13, 11)) * 40
    b = Builder("net")
    h = b.input("x", ir.DataType.FLOAT, (batch, 3, 13, 11))
    held, seen = torch.from_numpy(real.astype(np.float32)), []
    for number, (inner, outer) in enumerate([(3, 7), (7, 5)]):
        kernel = (rng.standard_normal((outer, inner, 3, 3)) / 9).astype(np.float32)
        held = torch.nn.functional.conv2d(held, torch.from_numpy(kernel), padding=1)
        mean, var = held.mean((0, 2, 3)), held.var((0, 2, 3), unbiased=False)
        given = [np.ones(outer), rng.standard_normal(outer), mean.numpy(), var.numpy()]
        weights = [b.weight(f"{number}.{i}", a.astype(np.float32)) for i, a in enumerate(given)]
        conv = b.op("Conv", [h, b.weight(f"{number}.w", kernel)], {"pads": [1, 1, 1, 1]})
        seen.append(conv.name or "")
        h = b.op("Relu", [b.op("BatchNormalization", [conv, *weights], {"epsilon": 1e-3})])
        beta = torch.from_numpy(given[1].astype(np.float32))
        held = torch.relu(torch.nn.functional.batch_norm(held, mean, var, None, beta, eps=1e-3))
    b.output(b.op("GlobalAveragePool", [h]), "y")
    return b.model(), seen


def _misfit(model: ir.Model, seen: list[str], samples: Samples) -> float:
    """Mean relative error of means and deviations over channels and layers, in float64."""
    total = []
    with Graph(model) as graph:
        for number, array in enumerate(graph.run(samples, seen).values()):
            mean, var = (model.graph.initializers[f"{number}.{i}"].const_value.numpy() for i in (2, 3))  # type: ignore[union-attr]
            x = array.astype(np.float64)
            spread = np.sqrt(var)
            total += [np.abs(x.mean((0, 2, 3)) - mean) / spread, np.abs(x.std((0, 2, 3)) / spread - 1)]
    return float(np.mean(np.concatenate(total)))


def test_statistics_fit_far_better_than_those_of_noise(rng: np.random.Generator) -> None:
    model, seen = _net(rng)
    inputs = synthetic.made(model, 32, 5)
    noise = generated([TensorSpec("x", "float32", ("batch", 3, 13, 11))], 32, 5)
    fit, rough = _misfit(model, seen, inputs), _misfit(model, seen, noise)
    assert not inputs.real
    assert fit < 0.1
    assert rough > 5 * fit
    assert np.array_equal(inputs.feeds["x"], synthetic.made(model, 32, 5).feeds["x"])


def test_models_without_statistics_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadRecipe, match="batch is fixed"):
        synthetic.made(_net(rng, 4)[0])
    b = Builder("bare")
    b.output(b.op("Relu", [b.input("x", ir.DataType.FLOAT, ("batch", 3))]), "y")
    with pytest.raises(BadRecipe, match="no BatchNormalization"):
        synthetic.made(b.model())
