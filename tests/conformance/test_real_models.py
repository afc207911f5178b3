"""Every real model goes to every format of this release and is verified against its own runtime.

A cell that cannot be is declared in ``catalogue.py`` with its reason, and must be refused with that reason.
Labelled sets give the same score before and after, within one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recast
from recast import formats, prove
from recast.formats._format import ReadOptions
from recast.pipeline import source_format
from recast.recipe import Recipe
from recast.verification.memory import Memory

from .catalogue import REAL, REFUSED, TARGETS, WEIGHTS

BATCH = 50
LIMIT = 100  # labelled samples per cell here; benchmarks/bench_models.py takes them all
WINDOWS = 14  # of each clip of the autoencoder


@cache
def task(name: str, models: Path) -> Any:
    import labelled

    return labelled.TASKS[name](models)


@cache
def loaded(name: str, models: Path) -> Any:
    """The source's graph (not to be changed)."""
    return recast.load(REAL[name].source(models), REAL[name].reading(models))


def scale_of(value: Any, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of an integer graph input or output."""
    node = next(u.node for u in value.uses()) if side == "input" else value.producer()
    assert node.op_type == ("DequantizeLinear" if side == "input" else "QuantizeLinear")
    scale, zero = (v.const_value.numpy() for v in node.inputs[1:3])
    return scale, zero.astype(np.float32)


def as_taken(x: np.ndarray, wanted: Any, graph: Any) -> np.ndarray:
    """Float samples as the model takes them: quantised to its input's own scale if that is an integer."""
    if wanted.dtype in ("int8", "uint8"):
        scale, zero = scale_of(graph.graph.inputs[0], "input")
        info = np.iinfo(wanted.dtype)
        x = np.clip(np.round(x / scale) + zero, info.min, info.max)
    return x.astype(wanted.dtype)


def outputs_of(runner: Any, x: np.ndarray, graph: Any) -> np.ndarray:
    """The first output for all samples as real numbers; samples go in batches that the model takes."""
    spec = runner.inputs[0]
    taken = as_taken(x, spec, graph)
    fixed = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 0
    size = fixed or BATCH
    rows = []
    for start in range(0, len(taken), size):
        piece = taken[start : start + size]
        short = max(0, fixed - len(piece))
        piece = np.concatenate([piece, np.repeat(piece[-1:], short, axis=0)]) if short else piece
        found = runner.run({spec.name: np.ascontiguousarray(piece)})[runner.outputs[0].name]
        rows.append(found[: len(found) - short])
    outputs = np.concatenate(rows)
    if outputs.dtype.kind in "iu":
        scale, zero = scale_of(graph.graph.outputs[0], "output")
        return (outputs.astype(np.float32) - zero) * scale
    return outputs.astype(np.float32)


@cache
def score_before(name: str, models: Path) -> float:
    real = REAL[name]
    labelled = task(real.task, models)
    x, labels = subset(labelled)
    model = loaded(name, models)
    reading = real.reading(models)
    options = ReadOptions(reading.inputs, reading.weights, reading.trust)
    where = real.source(models)
    runner = prove.source_runner(prove.Source(source_format(where), Path(where), options, model))
    assert runner is not None
    try:
        return float(labelled.score(outputs_of(runner, x, model), x, labels))
    finally:
        runner.close()


def subset(labelled: Any) -> tuple[np.ndarray, np.ndarray]:
    """Evenly chosen samples; of the autoencoder's clips (196 windows each) some windows of every one."""
    windows = len(labelled.inputs) // labelled.samples
    if windows > 1:
        clips = labelled.inputs.reshape(labelled.samples, windows, -1)
        return clips[:, :: windows // WINDOWS].reshape(-1, labelled.inputs.shape[1]), labelled.labels
    step = max(1, len(labelled.labels) // LIMIT)
    return labelled.inputs[::step][:LIMIT], labelled.labels[::step][:LIMIT]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", REAL)
def test_real_model(
    name: str,
    target: str,
    shared_models: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    memory: Callable[[str], Memory],
) -> None:
    real = REAL[name]
    recipe = Recipe(real.reading(shared_models), checking=real.checking(tmp_path_factory.mktemp("data")))
    out = tmp_path / f"model.{target}"
    if target in real.impossible:
        with pytest.raises(recast.RecastError, match=real.impossible[target]):
            recast.convert(real.source(shared_models), out, recipe)
        assert list(tmp_path.iterdir()) == []
        return
    result = recast.convert(real.source(shared_models), out, recipe, memory(name))
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    if not real.task:
        return
    before = score_before(name, shared_models)
    labelled = task(real.task, shared_models)
    x, labels = subset(labelled)
    runner = formats.for_writing(out).open(result.files[0])
    try:
        after = labelled.score(outputs_of(runner, x, loaded(name, shared_models)), x, labels)
    finally:
        runner.close()
    assert np.isfinite(before)
    assert abs(after - before) * len(labels) <= 1.0001


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
