"""``recast routes`` and ``recast convert --via`` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recast.demo import MODEL
from recast.routes._route import catalogue
from tests.cli.test_app import run
from tests.routes.test_tool import gone


def test_table_of_all() -> None:
    told = json.loads(run("routes", "--json").stdout)
    assert {row["name"] for row in told} == set(catalogue())
    assert all(row["version"] if row["installed"] else "recast routes --install" in row["install"] for row in told)
    done = run("routes")
    assert done.returncode == 0
    assert "tf2onnx" in done.stdout


def test_routes_of_a_pair() -> None:
    told = json.loads(run("routes", str(MODEL), ".onnx", "--json").stdout)
    assert [row["name"] for row in told if row["default"]] == ["recast"]
    by_option = {row["option"]: row for row in told}
    assert by_option["--via tf2onnx"]["steps"] == ["keras", "tf2onnx", "onnx"]
    assert by_option["--via tf-lite"]["kind"] == "intermediate"
    done = run("routes", ".onnx", "out.pt2")
    assert "onnx –recast→ torch" in done.stdout.replace("\n", " ")


def test_a_file_that_we_refuse_has_no_default(shared_models: Path) -> None:
    qkeras = shared_models / "awkward" / "qkeras_RN08_model_best.h5"
    told = json.loads(run("routes", str(qkeras), ".onnx", "--json").stdout)
    assert not any(row["default"] for row in told)
    assert "QConv2DBatchnorm" in next(row["refused"] for row in told if row["name"] == "recast")
    done = run("convert", str(qkeras), "nowhere.onnx")
    assert done.returncode == 3
    assert "--via tf2onnx" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["routes", ".xyz", ".onnx"], 3),
        (["routes", ".onnx"], 2),
        (["routes", "--install", "nonsense"], 2),
        (["convert", str(MODEL), "out.onnx", "--via", "nonsense"], 2),
        (["convert", str(MODEL), "out.onnx", "--python", "/bin/true"], 2),
        (["convert", str(MODEL), "out.onnx", "--via", "tf2onnx", "--python", "/bin/true"], 2),
        (["convert", str(MODEL), "out.onnx", "--via", "tf2onnx", "--batch", "3"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def lossy(tmp_path: Path) -> Path:
    """A Python in which OpenVINO is a tool that loses an activation (and Recast is not there)."""
    site = tmp_path / "site"
    (site / "openvino-1.0.dist-info").mkdir(parents=True)
    (site / "openvino-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: openvino\nVersion: 1.0\n")
    (site / "openvino.py").write_text(
        "import os, sys\n"
        "sys.path.remove(os.path.dirname(os.path.abspath(__file__)))\n"
        "import onnx\n"
        "del sys.modules['openvino']\n"
        "import openvino as real\n"
        "convert = real.convert_model\n"
        "def convert_model(path, input=None):\n"
        "    model = onnx.load(path)\n"
        "    next(n for n in model.graph.node if n.op_type == 'Relu').op_type = 'Neg'\n"
        "    onnx.save(model, path + '.wrong')\n"
        "    os.replace(path + '.wrong', path)\n"
        "    return convert(path)\n"
        "real.convert_model = convert_model\n"
    )
    python = tmp_path / "python"
    packages = os.pathsep.join(p for p in sys.path if p.endswith("site-packages"))
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site}:{packages} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the Python")
def test_a_wrong_result_is_exit_6(lossy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = run("convert", str(MODEL), str(out / "d.xml"), "--via", "openvino", "--python", str(lossy))
    assert done.returncode == 6, done.stdout + done.stderr
    assert "NOT VERIFIED" in done.stdout
    names = {f.name for f in out.iterdir()}
    assert names == {"d.xml.unverified", "d.bin.unverified", "d.xml.recast.json.unverified"}
    route = json.loads((out / "d.xml.recast.json.unverified").read_text())["route"]
    assert (route["name"], route["version"]) == ("openvino", "1.0")


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the Python")
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """Interrupted while the tool works: exit 130, no file, no process."""
    python, started = tmp_path / "python", tmp_path / "started"
    probe = '{"versions": {"tf2onnx": "1"}, "missing": [], "python": "3"}'
    python.write_text(
        f"#!/bin/sh\ncase \"$2\" in --probe) echo '{probe}';; *) echo $$ > {started}; exec sleep 60;; esac\n"
    )
    python.chmod(0o755)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "recast", "convert", str(MODEL), str(out / "a.onnx"), "--via", "tf2onnx"]
    process = subprocess.Popen([*command, "--python", str(python)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert not list(out.iterdir())
    assert gone(int(started.read_text()))
