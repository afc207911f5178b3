"""The command as a user runs it: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recast.cli.guard import printable
from recast.cli.options import parse_inputs
from recast.demo import MODEL
from recast.errors import BadRecipe


def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recast", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_convert_prints_what_it_did(tmp_path: Path) -> None:
    done = run("convert", str(MODEL), str(tmp_path / "d.onnx"), "--no-verify")
    assert done.returncode == 0, done.stderr
    assert "d.onnx" in done.stdout
    assert "not verified" in done.stdout


def test_convert_json_and_verify_json(tmp_path: Path) -> None:
    first, second = tmp_path / "d.onnx", tmp_path / "d.tflite"
    assert run("convert", str(MODEL), str(first), "--no-verify").returncode == 0
    done = run("convert", str(first), str(second), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "verified"
    assert (told["source_format"], told["target_format"]) == ("onnx", "tflite")
    assert set(told["seconds"]) == {"read", "passes", "write", "verify"}
    done = run("verify", str(first), str(second), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "verified"
    done = run("verify", str(first), str(second))
    assert "verified" in done.stdout


def test_verify_of_different_models_is_exit_6(tmp_path: Path) -> None:
    import onnx

    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    run("convert", str(MODEL), str(first), "--no-verify")
    model = onnx.load(first)
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
    softmax.op_type = "LogSoftmax"
    onnx.save(model, second)
    done = run("verify", str(first), str(second))
    assert done.returncode == 6, done.stdout + done.stderr
    assert "NOT VERIFIED" in done.stdout


def test_inspect_and_formats() -> None:
    done = run("inspect", str(MODEL))
    assert done.returncode == 0
    assert "conv1" in done.stdout
    assert json.loads(run("inspect", str(MODEL), "--json").stdout)["format"] == "keras"
    listed = json.loads(run("formats", "--json").stdout)
    assert {f["name"] for f in listed} >= {"onnx", "keras", "tflite", "torch", "mindspore", "arrays"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["convert", "/no/such/file.h5", "out.onnx"], 3),
        (["convert", str(MODEL), "/no/such/folder/out.onnx"], 5),
        (["convert", str(MODEL), "out.unknown"], 3),
        (["convert", str(MODEL), "out.onnx", "--batch", "many"], 2),
        (["convert", str(MODEL), "out.onnx", "--input", "image=1,-8,8,1"], 2),
        (["convert", "no.such.package:factory", "out.onnx", "--input", "1,3"], 2),
        (["convert"], 2),
        (["nonsense"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_errors_as_json() -> None:
    done = run("inspect", "/no/such/file.h5", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "E101"


def test_parse_inputs() -> None:
    assert parse_inputs(["x=1,3,h,224", "y=7"]) == {"x": (1, 3, "h", 224), "y": (7,)}
    assert parse_inputs(["1,3,32,32"]) == {"#0": (1, 3, 32, 32)}
    for bad in ("x=", "x=1,,2", "x=0", "x=1.5", "x=-1", "x=a b"):
        with pytest.raises(BadRecipe):
            parse_inputs([bad])


def test_no_control_characters_reach_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\nb") == "a\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}\nb"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shell_completion(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "--io-layout" in done.stdout


def test_bash_takes_the_completion(tmp_path: Path) -> None:
    """The shell itself is the judge: after ``recast con`` it offers ``convert``."""
    script = tmp_path / "recast.bash"
    script.write_text(run("completion", "bash").stdout)
    probe = f"source {script}; COMP_WORDS=(recast con); COMP_CWORD=1; _shtab_recast; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=False)
    assert "convert" in done.stdout.split(), done.stderr
