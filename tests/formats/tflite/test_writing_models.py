"""Real models of other makers, read and written again: the same integers, no more operators, no larger file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_graphs import Judge

from recast import passes
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.tflite import FORMAT

OPTIONS = passes.PassOptions(layout="channels_last", rnn_batch_major=True, keep_functions=FORMAT.keep_functions)
MODELS = {
    "resnet8-int8": "ic-resnet8-cifar10/pretrainedResnet_quant.tflite",
    "resnet8-float": "ic-resnet8-cifar10/pretrainedResnet.tflite",
    "dscnn-int8": "kws-dscnn/kws_ref_model.tflite",
    "autoencoder-int8": "ad-autoencoder/ad01_int8.tflite",
    "mobilenet-int8": "vww-mobilenet/vww_96_int8.tflite",
    "mobilenet-uint8": "mobilenetv1-025-128-imagenet/mobilenet_v1_0.25_128_quant.tflite",
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name: str, shared_models: Path, litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    source, path = shared_models / MODELS[name], tmp_path / "again.tflite"
    model = FORMAT.read(source, ReadOptions())
    value = model.graph.inputs[0]
    passes.run(model, FORMAT.passes, OPTIONS)
    FORMAT.write(model, path, WriteOptions())
    assert path.stat().st_size <= source.stat().st_size
    shape = [d if isinstance(d, int) else 1 for d in value.shape or ()]
    kind = value.dtype.numpy() if value.dtype is not None else np.float32
    for delegate in (True, False):
        if np.issubdtype(kind, np.integer):
            feed = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)
        else:
            feed = rng.normal(size=shape).astype(kind)
        before, wanted = run_any(litert, source, feed, delegate)
        after, found = run_any(litert, path, feed, delegate)
        assert len(after) <= len(before)
        assert "TRANSPOSE" not in after
        np.testing.assert_array_equal(found, wanted)


def run_any(litert: Judge, path: Path, feed: np.ndarray, delegate: bool) -> tuple[list[str], np.ndarray]:
    """The only output for the only input, whatever they are called."""
    operators, outputs = litert.run(path, {"": feed}, delegate)
    return operators, next(iter(outputs.values()))
