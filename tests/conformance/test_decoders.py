"""Decoders with their caches: verified in every target's own runtime with no, one and many steps behind them; and a
trained network writes the same story word by word wherever it runs.

``benchmarks/bench_transformers.py`` prints the whole grid, ``benchmarks/bench_stories.py`` the trained network's table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import recast
from recast import formats
from recast.recipe import Reading, Recipe
from recast.verification.memory import Memory

from .zoo import MODELS
from .zoo._stories import Stories

TARGETS = ["tflite", "keras", "mindir", "py"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Llama with its cache, captured and verified as ONNX."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("llama")
    model = MODELS["llama"]
    result = recast.convert(model.source("llama", folder), folder / "llama.onnx", Recipe(model.reading()))
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    return folder / "llama.onnx"


def test_names_are_those_that_runtimes_look_for(llama: Path) -> None:
    graph = onnx.load(llama).graph
    pairs = [(n, role) for n in range(2) for role in ("key", "value")]
    ids = ["input_ids", "attention_mask", "position_ids"]
    assert [v.name for v in graph.input] == [*ids, *(f"past_key_values.{n}.{role}" for n, role in pairs)]
    assert [v.name for v in graph.output] == ["logits", *(f"present.{n}.{role}" for n, role in pairs)]


@pytest.mark.parametrize("target", TARGETS)
def test_verified(target: str, llama: Path, tmp_path: Path, memory: Callable[[str], Memory]) -> None:
    result = recast.convert(llama, tmp_path / f"llama.{target}", Recipe(), memory("llama"))
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    ran = [(f.shapes["past_key_values.0.key"][2], f.shapes["input_ids"][1]) for f in result.report.feeds]
    assert {0, 1, 11} <= {past for past, _ in ran}
    assert {1, 5, 7, 13} <= {new for _, new in ran}
    assert len({f.shapes["input_ids"][0] for f in result.report.feeds}) >= 3


def test_tied_weights_stay_one(tmp_path: Path) -> None:
    """The table of words is the head too: once in the ONNX file and once beside the PyTorch source."""
    pytest.importorskip("transformers")
    model = MODELS["gpt2"]
    quiet = recast.recipe.Checking(verify=False)
    source = model.source("gpt2", tmp_path)
    recast.convert(source, tmp_path / "gpt2.onnx", Recipe(model.reading(), checking=quiet))
    held = onnx.load(tmp_path / "gpt2.onnx").graph.initializer
    assert [sorted(t.dims) for t in held].count([15, 101]) == 1
    result = recast.convert(tmp_path / "gpt2.onnx", tmp_path / "gpt2.py")
    assert result.verdict == "verified"
    weights = formats.by_name("arrays").read(tmp_path / "gpt2.safetensors", formats._format.ReadOptions())
    shapes = [sorted(v.shape.numpy()) for v in weights.graph.initializers.values() if v.shape is not None]
    assert shapes.count([15, 101]) == 1


def test_a_trained_network_tells_the_same_story(shared_models: Path, tmp_path: Path) -> None:
    """Greedy generation with the cache, step by step: the same words in PyTorch, ONNX Runtime and LiteRT."""
    pytest.importorskip("transformers")
    stories = Stories(shared_models / "stories260k-llama", tmp_path)
    reading = Reading(task="text-generation-with-past")
    result = recast.convert(stories.folder, tmp_path / "stories.onnx", Recipe(reading))
    assert result.verdict == "verified"
    assert recast.convert(tmp_path / "stories.onnx", tmp_path / "stories.tflite").verdict == "verified"
    told = {}
    for name in ("stories.onnx", "stories.tflite"):
        with formats.of_file(tmp_path / name).open(tmp_path / name) as runner:
            told[name] = stories.generate(runner, 40)
    wanted = stories.generated(40)
    assert len(set(wanted)) > 15, "a story, not one word"
    for words in told.values():
        np.testing.assert_array_equal(words, wanted)
    assert abs(stories.nll_of_source() - 1.266) < 1e-3
