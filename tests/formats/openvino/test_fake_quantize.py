"""FakeQuantize: files of our int8 networks are read again, and what others build is read as OpenVINO computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recast
from recast.errors import UnsupportedOp
from recast.formats import by_name

from .test_openvino import network, reference

openvino = pytest.importorskip("openvino")

Ends = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def built(path: Path, ends: Ends, levels: int) -> Path:
    """A file with the one operator, as OpenVINO writes it."""
    import openvino.opset8 as ops

    x = ops.parameter([-1, 3, 5], np.float32, name="x")
    made = ops.fake_quantize(x, *(ops.constant(e.astype(np.float32)) for e in ends), levels)
    openvino.save_model(openvino.Model([made], [x]), path, compress_to_fp16=False)
    return path


def ends(low: list[float], high: list[float], new_low: list[float], new_high: list[float], *shape: int) -> Ends:
    a, b, c, d = (np.array(e).reshape(shape) for e in (low, high, new_low, new_high))
    return a, b, c, d


@pytest.mark.parametrize(
    ("given", "levels", "operators"),
    [
        (ends([-1.28], [1.27], [-1.28], [1.27]), 256, ["QuantizeLinear", "DequantizeLinear"]),
        (ends([0.0], [2.55], [0.0], [2.55]), 256, ["QuantizeLinear", "DequantizeLinear"]),
        (ends([-1.28], [1.275], [-1.28], [1.275]), 256, None),  # zero lies between two levels
        (ends([-1.27], [1.27], [-1.27], [1.27]), 255, None),
        (ends([-1.28], [1.27], [-1.28], [1.27]), 512, None),
        (ends([-1.28], [1.27], [-2.0], [3.0]), 256, None),
        (ends([0.0], [2.55], [0.0], [5.1]), 256, None),
        (ends([-1.28], [1.27], [0.0], [1.27]), 256, None),
        (ends([-1, -2, -0.5], [1, 0.5, 3], [-1, -2, 0], [2, 0.5, 1], 3, 1), 16, None),
    ],
    ids=["signed", "unsigned", "between", "narrow", "fine", "other range", "other end", "other start", "per channel"],
)
def test_it_is_read_as_it_computes(
    given: Ends, levels: int, operators: list[str] | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = built(tmp_path / "net.xml", given, levels)
    model = recast.load(path)
    if operators is not None:
        assert [n.op_type for n in model.graph] == operators
    else:
        assert "QuantizeLinear" not in [n.op_type for n in model.graph]
    x = rng.uniform(-4, 4, (7, 3, 5)).astype(np.float32)
    with by_name("openvino").open(path) as runner:  # type: ignore[attr-defined]
        wanted = next(iter(runner.run({runner.inputs[0].name: x}).values()))
    (found,) = reference(model, {runner.inputs[0].name: x})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert len(np.unique(wanted)) > 8


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, -1.0), (-np.inf, 1.0), (0.0, np.nan)])
def test_an_empty_or_infinite_range_is_refused(low: float, high: float, tmp_path: Path) -> None:
    path = built(tmp_path / "net.xml", ends([low], [high], [0.0], [1.0]), 256)
    with pytest.raises(UnsupportedOp, match="empty or infinite range"):
        recast.load(path)


def test_a_network_is_compressed_into_it(tmp_path: Path, rng: np.random.Generator) -> None:
    recast.save(network(rng), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", image=rng.normal(size=(64, 3, 11, 13)).astype(np.float32))
    settings = recast.Settings(data=tmp_path / "data.npz", limits=recast.Limits(slower=99.0, allow_worse=True))
    made = recast.compress(tmp_path / "net.onnx", tmp_path / "net.xml", recast.Quantize("int8"), settings)
    assert made.report is not None
    assert made.report.passed
    assert made.comparison is not None
    assert made.comparison.error is not None
    assert made.comparison.error < 0.1
    kinds = [n.op_type for n in recast.load(tmp_path / "net.xml").graph]
    assert kinds.count("QuantizeLinear") >= 5
