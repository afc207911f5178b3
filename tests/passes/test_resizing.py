"""Resizing by sizes that are only known at run time, written in plain operators: ONNX Runtime says the same of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from recast import formats
from recast.formats._format import WriteOptions
from recast.graph.build import Builder
from recast.passes import PassOptions, run

F = ir.DataType.FLOAT
SIZES = ((1, 3, 7, 5), (2, 3, 13, 4), (3, 3, 1, 11))
NEAREST = [
    ("nearest", how, rule, scales)
    for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    for rule in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for scales in ((2.0, 3.0), (1.5, 0.75))
    if how != "align_corners" or scales == (2.0, 3.0)  # runtimes disagree about other scales
]
LINEAR = [
    ("linear", how, "floor", scales)
    for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    for scales in ((2.0, 3.0), (1.5, 0.75))
    if how != "align_corners" or scales == (2.0, 3.0)
]


def resized(case: tuple[str, str, str, tuple[float, float]] | None) -> ir.Model:
    """A Resize by constant scales, or (None) linearly to the size of a second input."""
    b = Builder("resized")
    x = b.input("x", F, ("batch", 3, "height", "width"))
    if case is None:
        other = b.input("other", F, ("batch", 3, "rows", "columns"))
        sizes = b.op("Concat", [b.op("Shape", [x], {"end": 2}), b.op("Shape", [other], {"start": 2})], {"axis": 0})
        y = b.op("Resize", [x, None, None, sizes], {"mode": "linear", "coordinate_transformation_mode": "half_pixel"})
    else:
        mode, how, rule, scales = case
        given = b.const(np.array([1, 1, *scales], np.float32))
        attributes = {"mode": mode, "coordinate_transformation_mode": how, "nearest_mode": rule}
        y = b.op("Resize", [x, None, given], attributes)
    b.output(y, "y")
    return b.model()


def session(model: ir.Model, path: Path) -> onnxruntime.InferenceSession:
    formats.by_name("onnx").write(model, path, WriteOptions())
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", [*NEAREST, *LINEAR, None], ids=str)
def test_the_same_at_every_size(case: tuple[str, str, str, tuple[float, float]] | None, tmp_path: Path) -> None:
    model = resized(case)
    run(model, ["decompose"], PassOptions(native=lambda node: node.op_type != "Resize"))
    assert all(node.op_type != "Resize" for node in model.graph)
    before, after = session(resized(case), tmp_path / "before.onnx"), session(model, tmp_path / "after.onnx")
    rng = np.random.default_rng(3)
    for shape in SIZES:
        feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
        if case is None:
            feeds["other"] = np.zeros((shape[0], 3, 11, 8), np.float32)
        (wanted,), (found,) = before.run(None, feeds), after.run(None, feeds)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
