"""Batch, height, width and steps stay dynamic in every format that has dynamic dimensions, at sizes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import formats
from recast.errors import UnsupportedOp
from recast.formats._format import WriteOptions

from . import round_trip_nets

SIZES = {"batch": (1, 3, 2, 5), "height": (19, 8, 31, 13), "width": (17, 29, 9, 22), "steps": (1, 7, 13, 4)}
IMPOSSIBLE = {  # what the target cannot hold is refused
    ("any_length", ".pt2"): "specialized it to be a constant",  # torch.export unrolls recurrent layers
    ("any_length", ".mindir"): "needs a known number of steps",  # MindSpore has no recurrent kernel for CPUs
}
TARGETS = (".onnx", ".tflite", ".keras", ".h5", ".py", ".pt2", ".mindir", ".xml")


@pytest.fixture(scope="module", params=["anywhere", "any_length"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a network with several dynamic dimensions."""
    path = tmp_path_factory.mktemp(request.param) / "net.onnx"
    formats.by_name("onnx").write(getattr(round_trip_nets, request.param)(), path, WriteOptions())
    return path


def feed(value: ir.Value, turn: int) -> np.ndarray:
    """Random numbers; every dynamic dimension has its own size in each turn."""
    assert value.shape is not None
    shape = [d if isinstance(d, int) else SIZES[str(d.value)][turn] for d in value.shape]
    return np.random.default_rng(turn).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("suffix", TARGETS)
def test_dynamic_dimensions(suffix: str, network: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    reason = IMPOSSIBLE.get((recast.load(network).graph.name or "", suffix))
    if reason is not None:
        with pytest.raises(UnsupportedOp, match=reason):
            recast.convert(network, out)
        return
    done = recast.convert(network, out)
    assert done.verdict == "verified", done.report and "\n".join(done.report.summary())
    (value,) = recast.load(network).graph.inputs
    source, target = formats.of_file(network).open(network), formats.of_file(out).open(out)
    with source, target:
        for turn in range(4):
            array = feed(value, turn)
            wanted, found = source.run({"x": array}), target.run({"x": array})
            assert len(wanted) == len(found) == 2
            for mine, expected in zip(found.values(), wanted.values(), strict=True):
                np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)
