"""Shared by the tests of the PyTorch writer: build, write, run in PyTorch and in ONNX Runtime, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from recast.formats._format import WriteOptions
from recast.formats.torch.run import Session
from recast.formats.torch.trust import made_here
from recast.formats.torch.write import write
from recast.graph.build import Builder

Build = Callable[[Builder, np.random.Generator], None]


def model_of(build: Build, rng: np.random.Generator, name: str = "net") -> ir.Model:
    """The model that ``build`` makes."""
    builder = Builder(name)
    build(builder, rng)
    return builder.model()


def expected(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime says, without its optimiser."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString(), options)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def feeds_of(model: ir.Model, rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    """Random inputs; symbolic dimensions get ``batch``."""
    feeds = {}
    for value in model.graph.inputs:
        shape = [d if isinstance(d, int) else batch for d in value.shape or ()]
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype("f4")
        if dtype.kind == "f":
            feeds[value.name or ""] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            feeds[value.name or ""] = rng.random(shape) < 0.5
        else:
            feeds[value.name or ""] = rng.integers(1, 5, shape).astype(dtype)
    return feeds


def opened(model: ir.Model, folder: Path, suffix: str = ".py") -> Session:
    """Write the model and load it in PyTorch, in this process."""
    artifact = write(model, folder / f"net{suffix}", WriteOptions())
    return Session(str(artifact.files[0]), {"sha256": made_here()})


def compare(model: ir.Model, session: Session, feeds: Mapping[str, np.ndarray], tolerance: float = 2e-5) -> None:
    """Fail unless PyTorch and ONNX Runtime agree in shape, type and value."""
    got, want = session.run(feeds), expected(model, feeds)
    assert list(got) == list(want)
    for name, reference in want.items():
        result = got[name]
        assert result.dtype == reference.dtype, name
        assert result.shape == reference.shape, name
        if reference.dtype.kind == "f":
            np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(result, reference)


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random single-precision numbers of the size of weights."""
    return (rng.standard_normal(shape) * 0.3).astype(np.float32)


def weights(builder: Builder, rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[Any]:
    """One weight for each shape."""
    return [builder.weight(f"w{i}", floats(rng, *shape)) for i, shape in enumerate(shapes)]
