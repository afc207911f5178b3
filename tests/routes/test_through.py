"""Real tools convert, and what they make is proved like ours; the certificate says which tool and version it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import recast
from recast import errors
from recast._util.child import pool
from recast.demo import MODEL
from recast.routes import interpreters, through
from recast.routes._route import by_name
from recast.routes.through import Via
from recast.routes.tool import Bounds

NETS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 7, (3, 2), padding=1)
        self.dense = torch.nn.Linear(7, 5)

    def forward(self, x):
        return self.dense(torch.relu(self.conv(x)).mean((2, 3))).softmax(1)

def net():
    torch.manual_seed(3)
    return Net().eval()
"""


@pytest.fixture(scope="module", autouse=True)
def judges() -> Iterator[None]:
    with pool():
        yield


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``nets.py``, its TorchScript ``net.pt``, and ``net.onnx``."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "nets.py").write_text(NETS)
    code = "import warnings; warnings.simplefilter('ignore'); import nets, torch\n"
    code += "torch.jit.script(nets.net()).save('net.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    reading = recast.Reading({"#0": ("n", 3, 11, 13)})
    recast.convert(f"{folder}/nets.py:net", folder / "net.onnx", recast.Recipe(reading))
    return folder


def need(name: str) -> None:
    if not interpreters.find(by_name(name)).ready:
        pytest.skip(f"{name} is not installed ({interpreters.how(by_name(name))})")


def certificate(result: recast.Conversion) -> dict[str, object]:
    found = next(f for f in result.files if ".recast.json" in f.name)
    data: dict[str, object] = json.loads(found.read_text())
    return data


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("tf2onnx", ".onnx"), ("keras-export", ".onnx"), ("keras-export", ".savedmodel"), ("tf-lite", ".tflite")],
)
def test_from_keras(name: str, suffix: str, tmp_path: Path) -> None:
    need(name)
    result = recast.convert(MODEL, tmp_path / f"digits{suffix}", via=name)
    assert result.verdict == "verified"
    told = certificate(result)
    assert told["verdict"] == "verified"
    route = told["route"]
    assert isinstance(route, dict)
    assert route["name"] == name
    assert route["version"] == interpreters.find(by_name(name)).version
    assert route["steps"] == ["keras", name, result.target_format]
    assert str(tmp_path) not in json.dumps(told), "no paths"
    assert result.report is not None
    assert len(result.report.feeds) >= 8


@pytest.mark.parametrize(("name", "suffix"), [("openvino", ".xml"), ("onnx2torch", ".pt2")])
def test_from_onnx(name: str, suffix: str, nets: Path, tmp_path: Path) -> None:
    need(name)
    result = recast.convert(nets / "net.onnx", tmp_path / f"net{suffix}", via=name)
    assert result.verdict == "verified"
    assert all(f.exists() for f in result.files)
    if name == "openvino":
        assert {f.suffix for f in result.files} == {".xml", ".bin", ".json"}


def test_from_torch_to_tflite(nets: Path, tmp_path: Path) -> None:
    need("litert-torch")
    reading = recast.Reading({"x": (1, 3, 11, 13)})
    result = recast.convert(f"{nets}/nets.py:net", tmp_path / "net.tflite", recast.Recipe(reading), via="litert-torch")
    assert result.verdict == "verified"


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_a_program_that_we_do_not_read(suffix: str, nets: Path, tmp_path: Path) -> None:
    """TorchScript runs in PyTorch as the reference; ``.onnx`` is read back from what OpenVINO made."""
    need("openvino")
    reading = recast.Reading({"x": (2, 3, 11, 13)}, trust=True)
    result = recast.convert(nets / "net.pt", tmp_path / f"net{suffix}", recast.Recipe(reading), via="openvino")
    assert result.verdict == "verified"
    assert result.report is not None
    assert result.report.source_runtime.startswith("torch ")
    assert any("does not read this source itself" in f.what for f in result.findings)


def test_a_program_is_not_run_without_trust(nets: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.UnsafeModel) as caught:
        recast.convert(nets / "net.pt", tmp_path / "net.xml", via="openvino")
    assert "--trust" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_a_refusal_names_the_route(nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.UnsafeModel) as caught:
        recast.convert(nets / "net.pt", tmp_path / "net.xml")
    assert "--via openvino --trust" in caught.value.fix
    monkeypatch.setattr(interpreters, "have", lambda _: False)
    with pytest.raises(errors.UnsafeModel) as caught:
        recast.convert(nets / "net.pt", tmp_path / "net.onnx")
    assert "not installed: recast routes --install openvino" in caught.value.fix


LAYERS = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return keras.ops.tanh(x * 2)

    def compute_output_shape(self, shape):
        return shape
"""
SAVE = """
import os, warnings
warnings.simplefilter("ignore")
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, layers
keras.utils.set_random_seed(5)
x = keras.Input((7, 5, 3), name="image")
y = keras.layers.Conv2D(11, 3, name="conv")(x)
y = keras.layers.Dense(2)(keras.layers.Flatten()(layers.Twice()(y)))
keras.Model(x, y).save("custom.keras")
"""


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("custom")
    (folder / "layers.py").write_text(LAYERS)
    subprocess.run([sys.executable, "-c", SAVE], cwd=folder, check=True, capture_output=True)
    return folder / "custom.keras"


def test_custom_layers(custom: Path, tmp_path: Path) -> None:
    """Our reader names the route; the route takes the layers' file, if it is trusted; the result is read further."""
    need("tf2onnx")
    code = str(custom.with_name("layers.py"))
    with pytest.raises(errors.UnsupportedOp) as refused:
        recast.convert(custom, tmp_path / "a.tflite")
    assert "--via tf-lite" in refused.value.fix
    assert "--import" in refused.value.fix
    via = Via("tf2onnx", imports=(code,))
    with pytest.raises(errors.UnsafeModel):
        recast.convert(custom, tmp_path / "a.tflite", via=via)
    with pytest.raises(errors.ToolFailed) as lost:
        recast.convert(custom, tmp_path / "a.tflite", via="tf2onnx")
    assert "Twice" in lost.value.what
    assert not list(tmp_path.iterdir())
    trusted = recast.Recipe(recast.Reading(trust=True))
    result = recast.convert(custom, tmp_path / "a.tflite", trusted, via=via)
    assert result.verdict == "verified"
    assert result.report is not None
    assert result.report.source_runtime.startswith("keras ")
    told = certificate(result)["route"]
    assert isinstance(told, dict)
    assert told["steps"] == ["keras", "tf2onnx", "onnx", "recast", "tflite"]
    assert told["imports"] == ["layers.py"]


def test_a_wrong_result_is_unverified(nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that loses an activation: exit 6 and ``NAME.unverified``, as if it were ours."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import onnx\n"
        "def convert(job):\n"
        "    model = onnx.load(job.source)\n"
        "    next(n for n in model.graph.node if n.op_type == 'Relu').op_type = 'Identity'\n"
        "    onnx.save(model, job.target)\n"
    )
    lossy = replace(by_name("openvino"), edges=(("onnx", "onnx"),), file=wrong)
    monkeypatch.setattr(through, "by_name", lambda _: lossy)
    result = recast.convert(nets / "net.onnx", tmp_path / "net2.onnx", via="openvino")
    assert result.verdict == "failed"
    assert not result.passed
    assert {f.name for f in tmp_path.iterdir()} == {
        "wrong.py", "net2.onnx.unverified", "net2.onnx.recast.json.unverified",
    }  # fmt: skip
    assert certificate(result)["verdict"] == "failed"


def test_a_tool_that_cannot_load_the_source(nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We read it: the fix says to write it anew for the tool."""
    broken = tmp_path / "broken.py"
    broken.write_text("def convert(job):\n    raise AttributeError('add_slot')\n")
    edges = (("onnx", "openvino"), ("tflite", "openvino"))
    monkeypatch.setattr(through, "by_name", lambda _: replace(by_name("openvino"), edges=edges, file=broken))
    with pytest.raises(errors.ToolFailed) as caught:
        recast.convert(nets / "net.onnx", tmp_path / "net.xml", via="openvino")
    assert "add_slot" in caught.value.what
    assert "recast convert SRC X.tflite" in caught.value.fix
    assert {f.name for f in tmp_path.iterdir()} == {"broken.py"}


@pytest.mark.parametrize(
    ("writing", "lost"),
    [
        (recast.Writing(opset=15), "--opset"),
        (recast.Writing(batch="3"), "--batch"),
        (recast.Writing(dtype="float16"), "--dtype"),
        (recast.Writing(io_layout="nchw"), "--io-layout"),
    ],
)
def test_options_that_a_tool_cannot_be_told(writing: recast.Writing, lost: str, tmp_path: Path) -> None:
    with pytest.raises(errors.BadRecipe) as caught:
        recast.convert(MODEL, tmp_path / "a.tflite", recast.Recipe(writing=writing), via="tf-lite")
    assert lost in caught.value.what


@pytest.mark.parametrize(
    ("via", "target", "kind"),
    [
        ("nonsense", "a.onnx", errors.BadRecipe),
        ("litert-torch", "a.onnx", errors.BadRecipe),
        ("onnx2torch", "a.py", errors.BadRecipe),
    ],
)
def test_requests_that_make_no_sense(via: str, target: str, kind: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(kind):
        recast.convert(MODEL, tmp_path / target, recast.Recipe(checking=recast.Checking(verify=False)), via=via)


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"precious")
    with pytest.raises(errors.OutputExists):
        recast.convert(MODEL, tmp_path / "a.onnx", via="tf2onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"precious"


def test_a_tool_that_takes_too_long_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(errors.RuntimeDied) as caught:
        recast.convert(MODEL, tmp_path / "a.onnx", via=Via("tf2onnx", bounds=Bounds(timeout_s=0.5)))
    assert "did not end in 0.5 s" in caught.value.what
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_not_handed_to_a_tool(tmp_path: Path) -> None:
    data = Path(MODEL).read_bytes()
    (tmp_path / "bad.keras").write_bytes(data[: len(data) // 2])
    with pytest.raises((errors.BadModel, errors.UnknownFormat)):
        recast.convert(tmp_path / "bad.keras", tmp_path / "a.onnx", via="tf2onnx")
