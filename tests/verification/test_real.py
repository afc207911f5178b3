"""The rule for quantised graphs on real networks: LiteRT's integer kernels pass, planted faults do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checker_faults import FAULTS

from recast.formats import by_name
from recast.formats._format import ReadOptions
from recast.verification.check import Side, verify
from recast.verification.local import GraphRunner

FILES = {
    "resnet8": "ic-resnet8-cifar10/pretrainedResnet_quant.tflite",
    "dscnn": "kws-dscnn/kws_ref_model.tflite",
    "autoencoder": "ad-autoencoder/ad01_int8.tflite",
}


@pytest.mark.parametrize("name", FILES)
def test_int8_network(name: str, shared_models: Path) -> None:
    path = shared_models / FILES[name]
    form = by_name("tflite")
    graph = form.read(path, ReadOptions())
    runner = form.open(path)
    try:
        report = verify(Side(path.name, runner, graph), Side("graph", GraphRunner(graph, optimise=False)))
        assert report.passed, report.summary()
        wrong = form.read(path, ReadOptions())
        assert FAULTS["zero-point-off-by-one"](wrong, np.random.default_rng(3)) is not None
        report = verify(Side(path.name, runner, graph), Side("faulty", GraphRunner(wrong, optimise=False)))
        assert not report.passed
    finally:
        runner.close()
