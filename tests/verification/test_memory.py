"""One source, several targets: its runtime and its float64 runs are asked once, and the verdicts stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

import recast
from recast.demo import MODEL
from recast.graph.finding import Finding, attach
from recast.recipe import Checking, Recipe
from recast.verification import judge
from recast.verification.memory import Memory, digest


def test_the_source_is_asked_once(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    counted = []
    real = judge.measure_noise
    monkeypatch.setattr(judge, "measure_noise", lambda *a, **k: (counted.append(1), real(*a, **k))[1])
    alone = [recast.convert(MODEL, tmp_path / f"alone.{t}").report for t in ("onnx", "tflite")]
    once = len(counted)
    counted.clear()
    with Memory() as memory:
        first = recast.convert(MODEL, tmp_path / "first.onnx", memory=memory)
        again = recast.convert(MODEL, tmp_path / "again.tflite", memory=memory)
        assert memory.runner is not None
    assert memory.runner is None
    assert len(counted) <= once
    for wanted, found in zip(alone, (first.report, again.report), strict=True):
        assert wanted is not None
        assert found is not None
        assert [f.differences for f in wanted.feeds] == [f.differences for f in found.feeds]


def test_other_feeds_are_run(tmp_path: Path) -> None:
    with Memory() as memory:
        recast.convert(MODEL, tmp_path / "a.onnx", memory=memory)
        known = len(memory.runner._known)  # type: ignore[union-attr]
        recast.convert(MODEL, tmp_path / "b.onnx", Recipe(checking=Checking(seed=5)), memory)
        assert len(memory.runner._known) > known  # type: ignore[union-attr]


def test_the_source_is_read_once(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    reads = []

    def read(source: Path) -> ir.Model:
        reads.append(source)
        model = load(source)
        attach(model, [Finding("told by the reader")])
        return model

    load = recast.load
    monkeypatch.setattr("recast.pipeline.load", lambda source, _reading: read(source))
    with Memory() as memory:
        made = [recast.convert(MODEL, tmp_path / f"a.{t}", memory=memory) for t in ("onnx", "tflite", "py")]
    assert len(reads) == 1
    assert all(m.verdict == "verified" and m.findings[0].what == "told by the reader" for m in made)


def test_a_digest_tells_arrays_apart() -> None:
    one = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    keys = {
        digest(one),
        digest(one, "0.5"),
        digest({"y": one["x"]}),
        digest({"x": one["x"].reshape(3, 2)}),
        digest({"x": one["x"].astype(np.float64)}),
        digest({"x": one["x"] + np.float32(1e-6)}),
    }
    assert len(keys) == 6
    assert digest(one) == digest({"x": one["x"].copy()})
