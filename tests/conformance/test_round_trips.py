"""A → B → A for ONNX, Keras, HDF5 and TFLite: what comes back computes what went there, layers keep their names."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

import recast
from recast.demo import MODEL
from recast.graph.view import layer_of
from recast.recipe import Checking, Recipe

from . import round_trip_nets

SUFFIXES = (".onnx", ".keras", ".h5", ".tflite")
PAIRS = list(permutations(SUFFIXES, 2))
UNCHECKED = Recipe(checking=Checking(verify=False))


@pytest.fixture(scope="module", params=["digits", "image", "sequence"])
def originals(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network as a file of each format."""
    folder = tmp_path_factory.mktemp(request.param)
    files = {}
    for suffix in SUFFIXES:
        files[suffix] = folder / f"first{suffix}"
        model = recast.load(MODEL) if request.param == "digits" else getattr(round_trip_nets, request.param)()
        recast.save(model, files[suffix])
    return files


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(s[1:] for s in p) for p in PAIRS])
def test_there_and_back(first: str, second: str, originals: dict[str, Path], tmp_path: Path) -> None:
    between, back = tmp_path / f"between{second}", tmp_path / f"back{first}"
    recast.convert(originals[first], between, UNCHECKED)
    recast.convert(between, back, UNCHECKED)
    report = recast.verify(originals[first], back)
    assert report.passed, "\n".join(report.summary())
    before, after = recast.load(originals[first]).graph, recast.load(back).graph
    assert [(v.name, v.dtype, str(v.shape)) for v in before.inputs] == [
        (v.name, v.dtype, str(v.shape)) for v in after.inputs
    ]
    assert [(v.dtype, str(v.shape)) for v in before.outputs] == [(v.dtype, str(v.shape)) for v in after.outputs]


def named_layers(path: Path) -> set[str]:
    """The layers that hold weights."""
    graph = recast.load(path).graph
    return {layer_of(n) for n in graph if any(v is not None and v.is_initializer() for v in n.inputs[1:])}


@pytest.mark.parametrize("second", [".onnx", ".tflite"])
def test_layer_names(second: str, tmp_path: Path) -> None:
    wanted = {layer_of(n) for n in recast.load(MODEL).graph if n.op_type in ("Conv", "Gemm", "MatMul")}
    assert len(wanted) > 2
    between, back = tmp_path / f"between{second}", tmp_path / "back.keras"
    recast.convert(MODEL, between, UNCHECKED)
    recast.convert(between, back, UNCHECKED)
    assert wanted <= named_layers(between)
    assert wanted <= named_layers(back)
