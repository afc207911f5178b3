"""Real models: pruned and then quantised, and quantised ones that are recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recast
from recast.compression.recipe import Step
from recast.errors import BadRecipe

QUANTISED = {
    "int8": "ic-resnet8-cifar10/pretrainedResnet_quant.tflite",
    "uint8": "mobilenetv1-025-128-imagenet/mobilenet_v1_0.25_128_quant.tflite",
    "int8-weights-only": "kws-dscnn/kws_ref_model_float32.tflite",
}
PRUNED: dict[str, Step] = {
    "channels": recast.Prune(0.2, structured=True, options={"samples": 100}),
    "weights": recast.Prune(0.5, kind="sparsegpt", options={"samples": 64, "skip": ("conv2d",)}),
}
ANYHOW = recast.Limits(allow_worse=True)


@pytest.fixture(scope="module", params=PRUNED)
def pruned(request: pytest.FixtureRequest, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-8, pruned."""
    folder = shared_models / "ic-resnet8-cifar10"
    target = tmp_path_factory.mktemp("pruned") / f"{request.param}.onnx"
    settings = recast.Settings(data=folder / "ic01_200.npz", limits=ANYHOW)
    recast.compress(folder / "pretrainedResnet.h5", target, PRUNED[request.param], settings)
    return target


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_pruned_network_quantises_as_any_other(
    suffix: str, pruned: Path, shared_models: Path, tmp_path: Path
) -> None:
    """The int8 file answers as the pruned network does, and what was zero stays zero."""
    settings = recast.Settings(data=shared_models / "ic-resnet8-cifar10" / "ic01_200.npz", limits=ANYHOW)
    target = tmp_path / f"small{suffix}"
    result = recast.compress(pruned, target, recast.Quantize("int8", {"samples": 32}), settings)
    assert result.report is not None
    assert result.report.passed, result.reasons
    assert result.comparison is not None
    assert result.comparison.disagree is not None
    assert result.comparison.disagree <= 0.08
    before, after = result.comparison.accuracy or (0.0, 0.0)
    assert after >= before - 0.04
    if pruned.stem == "weights":
        held = [v.const_value.numpy() for v in recast.load(target).graph.initializers.values() if v.const_value]
        kernels = [a for a in held if a.dtype == np.int8 and a.ndim == 4]
        assert sum(int((a == 0).sum()) for a in kernels) >= 0.45 * sum(a.size for a in kernels) > 0


@pytest.mark.parametrize("kind", ["int8", "int8-dynamic", "int16", "int4", "mixed", "equalise", "awq"])
@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_file_is_recognised(name: str, kind: str, shared_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.tflite"
    with pytest.raises(BadRecipe, match="already quantised"):
        recast.compress(shared_models / QUANTISED[name], target, recast.Quantize(kind), recast.Settings(dry_run=True))
    assert not target.exists()


@pytest.mark.parametrize("name", QUANTISED)
def test_weights_of_a_quantised_file_are_not_pruned(name: str, shared_models: Path, tmp_path: Path) -> None:
    settings = recast.Settings(dry_run=True)
    result = recast.compress(shared_models / QUANTISED[name], tmp_path / "m.tflite", recast.Prune(0.5), settings)
    skipped = [s.where for s in result.plans[0].skips if "quantised" in s.why]
    assert len(skipped) >= 5
    edited = [getattr(e, "weight", "") for e in result.plans[0].edits]
    assert not any(weight.startswith(f"{layer}/") for weight in edited for layer in skipped)
    assert name == "int8-weights-only" or not edited  # DS-CNN's depthwise kernels and its last layer are float there
