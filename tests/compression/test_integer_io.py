"""Integers in and out: the file takes and gives them, says what they stand for, and computes the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.compression._method import Plan
from recast.compression.apply import apply
from recast.compression.edits import RoundValue
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.measure.subject import Subject
from recast.verification.local import GraphRunner


def network(rng: np.random.Generator) -> ir.Model:
    """Channels last outside; two outputs: scores, and one that stays float (no integer kernel computes Exp)."""
    b = Builder("net")
    x = b.input("image", ir.DataType.FLOAT, ("batch", 13, 11, 3))
    kernel = rng.standard_normal((7, 3, 3, 3)).astype(np.float32) / 5
    y = b.op("Conv", [b.op("Transpose", [x], {"perm": [0, 3, 1, 2]}), b.weight("k", kernel)])
    y = b.op("Flatten", [b.op("GlobalAveragePool", [b.op("Relu", [y])])])
    y = b.op("Gemm", [y, b.weight("w", rng.standard_normal((7, 5)).astype(np.float32) / 3)])
    b.output(b.op("Softmax", [y], {"axis": -1}), "scores")
    b.output(b.op("Exp", [b.op("Neg", [y])]), "energy")
    return b.model()


def images(rng: np.random.Generator, count: int) -> np.ndarray:
    found = rng.standard_normal((count, 13, 11, 3)) * rng.uniform(0.3, 3, (count, 1, 1, 1))
    return (found + rng.standard_normal((count, 1, 1, 3)) * 2).astype(np.float32)


def command(*told: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "recast", *told], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("suffix", "dtype"), [(".tflite", "int8"), (".onnx", "uint8")])
def test_by_the_command_line(suffix: str, dtype: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Beside the same recipe with real numbers in and out: the same answers, but for ties of the rounding."""
    source, data = tmp_path / "net.onnx", tmp_path / "data.npz"
    recast.save(network(rng), source)
    x = images(rng, 128)
    np.savez(data, image=x)
    found = []
    for name, flags in (("plain", []), ("integers", ["--integer-io"])):
        target = tmp_path / f"{name}{suffix}"
        told = [
            "--quantize",
            "int8",
            "--data",
            str(data),
            "--budget",
            "slower<99",
            "--allow-worse",
        ]  # too small to shrink
        done = command("compress", str(source), str(target), *told, *flags)
        assert done.returncode == 0, done.stderr
        assert ("skip energy: stays float: not rounded" in done.stdout) == bool(flags)
        subject = Subject(name, target)
        with subject.running() as runner:
            types = [(s.name, s.dtype) for s in (*runner.inputs, *runner.outputs)]
            found.append(subject.predict(runner, {"image": x}))
    assert types == [("image", dtype), ("scores", dtype), ("energy", "float32")]
    assert set(subject.codes) == {"image", "scores"}
    for plain, integers in zip(*found, strict=True):
        assert (plain != integers).mean() < 0.05
        assert np.abs(plain - integers).max() < 0.01 * np.ptp(plain)
    if suffix == ".tflite":
        from recast._util.child import RemoteRunner

        with RemoteRunner("recast.formats.tflite.run", target) as remote:
            kinds = remote.call("statistics")[0]["operators"]
        assert "QUANTIZE" not in kinds
        assert kinds["DEQUANTIZE"] == 1  # before Exp


def test_a_format_without_scales_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    recast.save(network(rng), tmp_path / "net.onnx")
    recipe = recast.Quantize("int8", {"io": "integer"})
    with pytest.raises(BadRecipe, match="integer inputs for keras"):
        recast.compress(tmp_path / "net.onnx", tmp_path / "net.keras", recipe, recast.Settings())


def test_other_kinds_have_no_integers_to_hand_over() -> None:
    done = command("compress", "a.onnx", "b.onnx", "--quantize", "int4", "--integer-io")
    assert done.returncode != 0
    assert "[E301] --integer-io without integer arithmetic" in done.stderr


def test_what_is_input_and_output_keeps_its_name_and_type() -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 3))
    b.output(b.op("Relu", [x]), "y")
    model = b.model()
    model.graph.outputs.append(model.graph.inputs[0])
    made = apply(model, Plan("int8", (RoundValue("x", 0.5, 3),)))
    assert [v.name for v in made.graph.outputs] == ["y", "x"]
    feeds = {"x": np.array([[1.2, -7.3, 0.3]], np.float32)}
    found = GraphRunner(made, optimise=False).run(feeds)
    assert np.array_equal(found["x"], feeds["x"])
    assert np.array_equal(found["y"], np.array([[1.0, 0.0, 0.5]], np.float32))
