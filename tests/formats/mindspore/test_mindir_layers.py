"""Networks of MindSpore's own layers, exported by MindSpore: read as they are, and converted with proof."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mindir_judge import reference

import recast
from recast.formats import by_name
from recast.formats._format import ReadOptions
from recast.formats.mindspore.read import Call, Reader
from recast.formats.mindspore.reading.elementwise import promoted
from recast.graph.build import Builder

NAMES = """inverted unet speech cells rnn encoder crossed pools1d pools3d borders transposed1d transposed3d norms
 batchnorm3d odd shuffled flat bidense joins reduced arithmetic products places sequences resized""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks, exported by MindSpore in a process of its own."""
    if importlib.util.find_spec("mindspore") is None:
        pytest.skip("MindSpore is not installed")
    folder = tmp_path_factory.mktemp("layers")
    program = [sys.executable, str(Path(__file__).with_name("mindir_networks.py")), str(folder), "layers"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_exported_layers(name: str, exported: Path) -> None:
    """What ONNX Runtime makes of the graph is what MindSpore gave before the export."""
    model = by_name("mindspore").read(exported / f"{name}.mindir", ReadOptions())
    with np.load(exported / f"{name}.npz") as file:
        held = dict(file)
    wanted = [held[f"y{i}"] for i in range(sum(key.startswith("y") for key in held))]
    got = reference(model, {v.name or "": held[f"x{i}"] for i, v in enumerate(model.graph.inputs)})
    assert len(got) == len(wanted)
    for i, (one, other) in enumerate(zip(got.values(), wanted, strict=True)):
        scale = max(1.0, float(np.abs(other).max()))
        assert (one.dtype, one.shape) == (other.dtype, other.shape), i
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * scale, err_msg=f"output {i}")


@pytest.mark.parametrize(("name", "suffix"), [("unet", ".onnx"), ("inverted", ".tflite"), ("encoder", ".keras")])
def test_exported_layers_convert_with_proof(name: str, suffix: str, exported: Path, tmp_path: Path) -> None:
    report = recast.convert(exported / f"{name}.mindir", tmp_path / f"{name}{suffix}")
    assert report.verdict == "verified"


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(0.5, "FLOAT"), (2, "INT32"), (np.asarray(0.5, np.float32), "FLOAT"), (np.asarray(7), "INT64")],
)
def test_a_number_beside_whole_numbers_keeps_its_value(number: float | np.ndarray, dtype: str) -> None:
    """Whole numbers times 0.5 are fractions; 0.5 is never cut to 0."""
    builder = Builder()
    x = builder.input("x", ir.DataType.INT32, (3,))
    reader = Reader({"graph": {}}, Path("net.mindir"), ReadOptions())
    reader.builder = builder
    first, second = promoted(Call(reader, "Mul", [x, number], {}))
    assert first.dtype == second.dtype == ir.DataType[dtype]
    assert second.const_value is not None
    assert second.const_value.numpy() == number
