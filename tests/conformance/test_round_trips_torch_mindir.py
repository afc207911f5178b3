"""A → B → A: what comes back from PyTorch and MindSpore computes what went there, under the same names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.demo import MODEL
from recast.graph.build import Builder
from recast.recipe import Checking, Reading, Recipe

THROUGH = (".py", ".pt2", ".mindir")


def residual(rng: np.random.Generator) -> ir.Model:
    """Convolutions with a skip connection; every size is a prime of its own."""
    b = Builder("residual")

    def weight(name: str, *shape: int) -> ir.Value:
        return b.weight(name, rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32))

    def positive(name: str, size: int) -> ir.Value:
        return b.weight(name, rng.uniform(0.5, 1.5, size).astype(np.float32))

    x = b.input("image", ir.DataType.FLOAT, ("batch", 3, 19, 23))
    with b.layer("stem/conv", "Conv2d"):
        stem = b.op("Conv", [x, weight("stem/w", 11, 3, 5, 3), weight("stem/b", 11)], {"strides": [2, 1]})
    with b.layer("block/norm", "BatchNorm2d"):
        facts = [positive("g", 11), positive("beta", 11), positive("mean", 11), positive("var", 11)]
        y = b.op("BatchNormalization", [stem, *facts], {"epsilon": 1e-3})
        y = b.op("Relu", [y])
    with b.layer("block/conv", "Conv2d"):
        y = b.op("Conv", [y, weight("block/w", 11, 1, 3, 3)], {"pads": [1, 1, 1, 1], "group": 11})
    with b.layer("block/add", "Add"):
        y = b.op("LeakyRelu", [b.op("Add", [y, stem])], {"alpha": 0.1})
    with b.layer("pool", "MaxPool2d"):
        y = b.op("MaxPool", [y], {"kernel_shape": [2, 3], "strides": [2, 3]})
    with b.layer("flat", "Flatten"):
        y = b.op("Reshape", [y, b.const([0, -1])])
    with b.layer("head", "Linear"):
        y = b.op("Gemm", [y, weight("head/w", int(y.shape[1]), 7), weight("head/b", 7)])  # type: ignore[index, arg-type]
    b.output(y, "scores")
    return b.model()


def sequence(rng: np.random.Generator) -> ir.Model:
    """An LSTM over time, then scaled dot-product attention between its steps."""
    b = Builder("sequence")
    time, features, units = 7, 5, 13

    def weight(name: str, *shape: int) -> ir.Value:
        return b.weight(name, rng.normal(0, 0.3, shape).astype(np.float32))

    x = b.input("words", ir.DataType.FLOAT, ("batch", time, features))
    with b.layer("lstm", "LSTM"):
        steps = b.op("Transpose", [x], {"perm": [1, 0, 2]})
        weights = [weight("lstm/w", 1, 4 * units, features), weight("lstm/r", 1, 4 * units, units)]
        states = b.node("LSTM", [steps, *weights, weight("lstm/b", 1, 8 * units)], {"hidden_size": units}, 3)[0]
        states = b.op("Transpose", [b.op("Squeeze", [states, b.const([1])])], {"perm": [1, 0, 2]})
    with b.layer("attention", "Attention"):
        query, key, value = (b.op("MatMul", [states, weight(f"attention/{n}", units, 11)]) for n in "qkv")
        marks = b.op("MatMul", [query, b.op("Transpose", [key], {"perm": [0, 2, 1]})])
        marks = b.op("Softmax", [b.op("Mul", [marks, b.const(11**-0.5)])], {"axis": -1})
        y = b.op("MatMul", [marks, value])
    with b.layer("mean", "Mean"):
        y = b.op("ReduceMean", [y, b.const([1])], {"keepdims": 0})
    b.output(y, "meaning")
    return b.model()


def seeded(make: Callable[[np.random.Generator], ir.Model], path: Path) -> Path:
    recast.save(make(np.random.default_rng(11)), path)
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "keras-digits": lambda _folder: MODEL,
    "onnx-residual": lambda folder: seeded(residual, folder / "residual.onnx"),
    "tflite-sequence": lambda folder: seeded(sequence, folder / "sequence.tflite"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("suffix", THROUGH)
@pytest.mark.parametrize("source", SOURCES)
def test_there_and_back(source: str, suffix: str, tmp_path: Path) -> None:
    first = SOURCES[source](tmp_path)
    between, last = tmp_path / f"between{suffix}", tmp_path / f"back{first.suffix}"
    assert recast.convert(first, between).verdict == "verified"
    back = recast.convert(between, last, Recipe(Reading(trust=True)))
    assert back.verdict == "verified", "\n".join(back.report.summary()) if back.report else ""
    report = recast.verify(first, last)
    assert report.passed, "\n".join(report.summary())
    before, after = recast.load(first).graph, recast.load(last).graph
    assert [(v.name, str(v.shape)) for v in before.inputs] == [(v.name, str(v.shape)) for v in after.inputs]
    assert [str(v.shape) for v in before.outputs] == [str(v.shape) for v in after.outputs]


@pytest.mark.parametrize("suffix", [".py", ".pt2"])
def test_code_needs_trust(suffix: str, tmp_path: Path) -> None:
    recast.convert(MODEL, tmp_path / f"net{suffix}", Recipe(checking=Checking(verify=False)))
    with pytest.raises(recast.RecastError, match="nothing was executed"):
        recast.convert(tmp_path / f"net{suffix}", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
