"""The judge of dynamic-range files: integer weights as the real numbers they stand for, nothing else changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recast.formats._format import ReadOptions
from recast.formats.tflite import FORMAT
from recast.formats.tflite.read_file import load
from recast.formats.tflite.real_weights import mixed, replaceable, with_real_weights
from recast.verification.local import GraphRunner

DYNAMIC = "kws-dscnn/kws_ref_model_float32.tflite"


def test_weights_become_real(shared_models: Path, tmp_path: Path) -> None:
    source, path = shared_models / DYNAMIC, tmp_path / "real.tflite"
    before = load(source)
    weights = mixed(before)
    data = memoryview(source.read_bytes())
    assert {t.dtype for t in weights.values()} == {"int8"}
    assert replaceable(data, weights)
    path.write_bytes(with_real_weights(data, weights))
    after = load(path)
    for old, new in zip(before.subgraphs[0].tensors, after.subgraphs[0].tensors, strict=True):
        assert (old.name, old.shape) == (new.name, new.shape)
        if (0, old.index) in weights and old.data is not None and old.quantisation is not None:
            assert new.dtype == "float32"
            assert new.data is not None
            assert old.quantisation.scale.size == 1
            assert not old.quantisation.zero_point.any()
            np.testing.assert_array_equal(new.data, old.data * np.float32(old.quantisation.scale[0]))
        elif old.data is not None:
            assert new.data is not None
            np.testing.assert_array_equal(new.data, old.data)


def test_source_runs_exactly(shared_models: Path, rng: np.random.Generator) -> None:
    source = shared_models / DYNAMIC
    graph = GraphRunner(FORMAT.read(source, ReadOptions()))
    x = rng.normal(size=(1, 49, 10, 1)).astype(np.float32)
    wanted = next(iter(graph.run({graph.inputs[0].name: x}).values()))
    with FORMAT.open_source(source, ReadOptions()) as exact, FORMAT.open(source) as rounded:
        np.testing.assert_allclose(next(iter(exact.run({exact.inputs[0].name: x}).values())), wanted, atol=1e-6)
        apart = np.abs(next(iter(rounded.run({rounded.inputs[0].name: x}).values())) - wanted)
    assert apart.max() > 1e-5  # else this file proves nothing


@pytest.mark.parametrize("name", ["ic-resnet8-cifar10/pretrainedResnet.tflite", "kws-dscnn/kws_ref_model.tflite"])
def test_other_files_stay(name: str, shared_models: Path) -> None:
    assert mixed(load(shared_models / name)) == {}
