"""Encoders captured from PyTorch: verified in every target's own runtime, dynamic axes at three sizes or more.

``benchmarks/bench_transformers.py`` prints the whole grid.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import recast
from recast.recipe import Recipe
from recast.verification.memory import Memory

from .zoo import MODELS

ROOT = Path(__file__).parents[2]
CELLS = [("bert", "tflite"), ("bert", "onnx"), ("vit", "tflite"), ("vit", "onnx"), ("convnext", "onnx")]
TRANSPOSES = {"bert": 8, "vit": 9}  # four a layer, and one behind ViT's patches


@pytest.mark.parametrize(("name", "target"), CELLS, ids=[f"{n}-{t}" for n, t in CELLS])
def test_verified(
    name: str,
    target: str,
    tmp_path: Path,
    memory: Callable[[str], Memory],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(ROOT)  # the child finds the factory there
    model = MODELS[name]
    result = recast.convert(
        f"tests.conformance.zoo:{name}", tmp_path / f"{name}.{target}", Recipe(model.reading()), memory(name)
    )
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    if target == "onnx" and name in TRANSPOSES:
        kinds = [n.op_type for n in onnx.load(result.files[0]).graph.node]
        assert kinds.count("Transpose") <= TRANSPOSES[name]
    for name_of_input, axes in model.dynamic.items():
        for axis, dim in axes.items():
            ran = {feed.shapes[name_of_input][axis] for feed in result.report.feeds}
            assert len(ran) >= 3, f"{dim} was run at {ran} only"
