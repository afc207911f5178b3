"""No Transpose is left inside the real convolutional networks: none with free inputs and outputs, two at most else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

import recast
from recast.formats.tflite.read_file import load as parse_tflite
from recast.recipe import IoLayout, Writing

from .catalogue import REAL

IMAGE = {"Conv", "MaxPool", "AveragePool"}
NOT_IMAGES = ("silero", "autoencoder", "mnist-lstm")
NETWORKS = [n for n in REAL if not n.startswith(NOT_IMAGES)]


@cache
def graph_of(name: str, models: Path) -> ir.Model:
    return recast.load(REAL[name].source(models), REAL[name].reading(models))


def images(values: list[ir.Value]) -> int:
    """How many of a graph's inputs or outputs have the axes of an image."""
    return sum(len(v.shape or ()) == 4 for v in values)


def heads(model: ir.Model) -> int:
    """Maps that a detector reads position by position: channels-first files must transpose each of them."""
    return sum(
        n.op_type == "Reshape" and len(n.inputs[0].shape or ()) == 4 and len(n.outputs[0].shape or ()) == 3  # type: ignore[union-attr]
        for n in model.graph
    )


def allowed(model: ir.Model, target: str, io: IoLayout) -> int:
    """None, but one for each image input and output that keeps its axes (the networks' heads apart)."""
    ends = images([*model.graph.inputs, *model.graph.outputs]) if io == "keep" else 0
    return ends + (heads(model) if target == "onnx" else 0)


def transposes(path: Path) -> list[str]:
    """Names of what is written as a Transpose in a file."""
    if path.suffix == ".onnx":
        return [n.name for n in onnx.load(path).graph.node if n.op_type == "Transpose"]
    return [str(op.index) for g in parse_tflite(path).subgraphs for op in g.operators if op.kind == "TRANSPOSE"]


@pytest.mark.parametrize("io", ["auto", "keep"])
@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("name", NETWORKS)
def test_transposes(name: str, target: str, io: IoLayout, shared_models: Path, tmp_path: Path) -> None:
    model = graph_of(name, shared_models)
    assert any(n.op_type in IMAGE for n in model.graph)
    out = tmp_path / f"model.{target}"
    recast.save(model.clone(), out, Writing(io_layout=io))
    found = transposes(out)
    assert len(found) <= allowed(model, target, io), found
