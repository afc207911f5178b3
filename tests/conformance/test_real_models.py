"""Every real model goes to every format of this release and is verified against its own runtime.

A cell that cannot be is declared in ``catalogue.py`` with its reason, and must be refused with that reason.
Labelled sets give the same score before and after, within one sample.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recast
from recast import formats, prove
from recast.recipe import Checking, Recipe

from .catalogue import REAL, REFUSED, TARGETS, WEIGHTS, Real

BATCH = 25
LIMIT = 100  # labelled samples per cell here; benchmarks/bench_models.py takes them all


@cache
def task(name: str, models: Path) -> Any:
    import labelled

    return labelled.TASKS[name](models)


def as_taken(x: np.ndarray, wanted: Any, graph: Any) -> np.ndarray:
    """Float samples as the model takes them: quantised to its input's own scale if that is an integer."""
    if wanted.dtype in ("int8", "uint8"):
        user = next(n for n in graph.graph if n.inputs and n.inputs[0] is graph.graph.inputs[0])
        scale, zero = (v.const_value.numpy() for v in user.inputs[1:3])
        info = np.iinfo(wanted.dtype)
        x = np.clip(np.round(x / scale) + zero, info.min, info.max)
    return x.astype(wanted.dtype)


def outputs_of(runner: Any, x: np.ndarray, graph: Any) -> np.ndarray:
    """The first output for all samples, in batches that the model takes."""
    spec = runner.inputs[0]
    taken = as_taken(x, spec, graph)
    size = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else BATCH
    pieces = [taken[i : i + size].reshape(-1, *taken.shape[1:]) for i in range(0, len(taken) - len(taken) % size, size)]
    results = [next(iter(runner.run({spec.name: p}).values())) for p in pieces]
    found = np.concatenate(results)
    return found.astype(np.float32)


@cache
def score_before(name: str, models: Path) -> tuple[np.ndarray, float]:
    real = REAL[name]
    labelled = task(real.task, models)
    x, labels = subset(labelled)
    reader = _format(real, models)
    model = recast.load(real.source(models), real.reading(models))
    source = prove.Source(reader, Path(real.source(models)), _options(real, models), model)
    with prove.source_runner(source) as runner:  # type: ignore[union-attr]
        found = outputs_of(runner, x, model)
    return found, labelled.score(found, x, labels)


def _format(real: Real, models: Path) -> Any:
    from recast.pipeline import source_format

    return source_format(real.source(models))


def _options(real: Real, models: Path) -> Any:
    from recast.formats._format import ReadOptions

    reading = real.reading(models)
    return ReadOptions(reading.inputs, reading.weights, reading.trust)


def subset(labelled: Any) -> tuple[np.ndarray, np.ndarray]:
    """Evenly chosen samples; the autoencoder's clips stay whole (196 windows each)."""
    windows = len(labelled.inputs) // labelled.samples
    if windows > 1:
        return labelled.inputs[: windows * 20], labelled.labels[:20]
    step = max(1, len(labelled.labels) // LIMIT)
    return labelled.inputs[::step][:LIMIT], labelled.labels[::step][:LIMIT]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", REAL)
def test_real_model(name: str, target: str, shared_models: Path, tmp_path: Path) -> None:
    real = REAL[name]
    recipe = Recipe(real.reading(shared_models), checking=Checking())
    out = tmp_path / f"model.{target}"
    if target in real.impossible:
        with pytest.raises(recast.RecastError, match=real.impossible[target]):
            recast.convert(real.source(shared_models), out, recipe)
        assert list(tmp_path.iterdir()) == []
        return
    result = recast.convert(real.source(shared_models), out, recipe)
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    if not real.task:
        return
    before, score = score_before(name, shared_models)
    labelled = task(real.task, shared_models)
    x, labels = subset(labelled)
    graph = recast.load(real.source(shared_models), real.reading(shared_models))
    with formats.for_writing(out).open(result.files[0]) as runner:
        after = outputs_of(runner, x, graph)
    assert abs(labelled.score(after, x, labels) - score) * len(labels) <= 1.0001


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, shared_models: Path, tmp_path: Path) -> None:
    path, reason = REFUSED[name]
    with pytest.raises(recast.RecastError, match=reason):
        recast.convert(shared_models / path, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", WEIGHTS)
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_weights(path: str, suffix: str, shared_models: Path, tmp_path: Path) -> None:
    result = recast.convert(shared_models / path, tmp_path / f"w{suffix}")
    assert result.verdict == "verified"
    with pytest.raises(recast.RecastError, match="without a graph"):
        recast.convert(shared_models / path, tmp_path / "w.onnx")
