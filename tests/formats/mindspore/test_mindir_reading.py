"""Files of MindSpore's own exporter, and our own, read back: ONNX Runtime on the graph is the second opinion."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mindir_catalogue import CASES, feeds_of, model_of
from mindir_judge import assert_same, reference, written

from recast.errors import RecastError
from recast.formats import by_name
from recast.formats._format import ReadOptions

NAMES = """net lstm bilstm gru attention activations pooling shapes depthwise conv1d conv3d transposed transposedpad
 batchnorm1d groupnorm dense3 dynamic""".split()  # noqa: SIM905 a long list of names


def read(path: Path) -> ir.Model:
    return by_name("mindspore").read(path, ReadOptions())


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks exported by MindSpore in a process of its own."""
    if importlib.util.find_spec("mindspore") is None:
        pytest.skip("MindSpore is not installed")
    folder = tmp_path_factory.mktemp("exported")
    program = [sys.executable, str(Path(__file__).with_name("mindir_networks.py")), str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_exported(name: str, exported: Path) -> None:
    model = read(exported / f"{name}.mindir")
    held = arrays(exported / f"{name}.npz")
    feeds = {v.name or "": held[f"x{i}"] for i, v in enumerate(model.graph.inputs)}
    wanted = [held[f"y{i}"] for i in range(len(model.graph.outputs))]
    got = list(reference(model, feeds).values())
    for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
        scale = max(1.0, float(np.abs(other).max()))
        assert one.dtype == other.dtype, i
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * scale, err_msg=f"output {i}")


def test_exported_structure(exported: Path) -> None:
    """Layers keep names and form: nothing is folded, biases join, plumbing is gone."""
    model = read(exported / "net.mindir")
    ops = [n.op_type for n in model.graph]
    assert ops.count("Conv") == 3
    assert ops.count("BatchNormalization") == 2
    assert all(len(n.inputs) == 3 for n in model.graph if n.op_type in ("Conv", "Gemm"))
    layers = {n.metadata_props["recast.layer"] for n in model.graph}
    assert {"stem", "blocks/0/conv", "blocks/1/bn", "fc"} <= layers
    assert {"stem/weight", "blocks/1/bn/gamma", "fc/bias"} <= set(model.graph.initializers)
    dynamic = read(exported / "dynamic.mindir")
    assert [str(v.shape[0]) for v in (*dynamic.graph.inputs, *dynamic.graph.outputs) if v.shape] == ["batch", "batch"]


def test_checkpoint(exported: Path) -> None:
    path = exported / "net.ckpt"
    assert by_name("mindspore").sniff(path, path.read_bytes()[:4096])
    weights, wanted = read(path).graph.initializers, arrays(exported / "checkpoint.npz")
    assert set(weights) == set(wanted)
    for name, array in wanted.items():
        held = weights[name].const_value
        assert held is not None
        np.testing.assert_array_equal(held.numpy(), array)
    damaged = path.with_name("damaged.ckpt")
    damaged.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RecastError):
        read(damaged)


@pytest.mark.parametrize("name", sorted(CASES))
def test_round_trip(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Graph → MindIR → graph computes the same, and writing that again gives the same signature."""
    model = model_of(name, rng)
    feeds = feeds_of(model, rng)
    wanted = reference(model, feeds)
    back = read(written(model, tmp_path / "net.mindir"))
    assert_same(reference(back, feeds), wanted)
    again = read(written(back, tmp_path / "again.mindir"))
    assert [v.name for v in again.graph.outputs] == [v.name for v in model.graph.outputs]


def test_mnist(shared_models: Path) -> None:
    """The trained network of 2022 (MindIR 0.1.1) keeps its accuracy: 97.5 % of the first 2,000 digits."""
    from PIL import Image

    folder = shared_models / "mnist-mixed"
    images = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    model = by_name("mindspore").read(folder / "mnist.mindir", ReadOptions(inputs={"x": ("batch", 1, 32, 32)}))
    big = [
        np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR), np.float32)
        for i in images.reshape(-1, 28, 28)[:2000]
    ]
    x = ((np.stack(big)[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32)
    scores = reference(model, {"x": x})["output"]
    assert float((scores.argmax(1) == labels[:2000]).mean()) >= 0.97
