"""8-bit TFLite → ONNX with QuantizeLinear/DequantizeLinear → TFLite: the same integers, the same outputs.

Compared in the files themselves: every constant, scale and zero point that operators use. An integer kernel may be
stored with other axes only if the operator stores it so.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import recast
from recast import formats
from recast.formats.tflite.read_file import Subgraph, Tensor, load
from recast.recipe import Checking, Recipe

from .catalogue import REAL

INTEGER = [n for n, real in REAL.items() if n.endswith(("int8", "uint8")) and "tflite" not in real.impossible]
UNCHECKED = Recipe(checking=Checking(verify=False))
FEEDS = 4


@pytest.fixture(scope="module", params=INTEGER)
def files(request: pytest.FixtureRequest, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The original and the file that came back through ONNX."""
    folder = tmp_path_factory.mktemp(request.param)
    source = shared_models / REAL[request.param].path
    recast.convert(source, folder / "middle.onnx", UNCHECKED)
    recast.convert(folder / "middle.onnx", folder / "again.tflite", UNCHECKED)
    return [source, folder / "again.tflite"]


def quantised(graph: Subgraph) -> list[Tensor]:
    """Tensors that operators read or write as integers standing for real numbers, in the order of their use."""
    used = [i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0]
    return [graph.tensors[i] for i in dict.fromkeys(used) if graph.tensors[i].is_quantised]


def numbers(tensor: Tensor) -> tuple[object, ...]:
    """Type, integers, scales, zero points and their axis."""
    quant = tensor.quantisation
    assert quant is not None
    data = tensor.data
    axis = quant.axis if quant.scale.size > 1 else -1
    kept = None if data is None else (data.squeeze().shape, data.tobytes())
    return tensor.dtype, kept, quant.scale.astype(np.float32).tobytes(), quant.zero_point.tobytes(), axis


def test_same_integers(files: list[Path]) -> None:
    before, after = (load(f).subgraphs[0] for f in files)
    wanted, found = (quantised(g) for g in (before, after))
    assert any(t.dtype == "int32" for t in wanted)  # biases
    constants = [Counter(numbers(t) for t in side if t.data is not None) for side in (wanted, found)]
    assert constants[0] == constants[1]
    computed = [Counter(numbers(t) for t in side if t.data is None) for side in (wanted, found)]
    assert computed[1] <= computed[0]  # RESHAPE and the like may disappear, no other scale may appear


def test_same_operators(files: list[Path]) -> None:
    before, after = (Counter(op.kind for op in load(f).subgraphs[0].operators) for f in files)
    arithmetic = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "AVERAGE_POOL_2D", "SOFTMAX"}
    assert {k: n for k, n in after.items() if k in arithmetic} == {k: n for k, n in before.items() if k in arithmetic}
    assert sum(after.values()) <= sum(before.values())
    assert after["TRANSPOSE"] == 0


def test_same_outputs(files: list[Path], rng: np.random.Generator) -> None:
    tflite = formats.by_name("tflite")
    with tflite.open(files[0]) as first:
        spec = first.inputs[0]
        shape = [d if isinstance(d, int) else 1 for d in spec.shape]
        info = np.iinfo(spec.dtype)
        feeds = [rng.integers(info.min, info.max, shape, endpoint=True).astype(spec.dtype) for _ in range(FEEDS)]
        wanted = [next(iter(first.run({spec.name: x}).values())) for x in feeds]
    assert len({w.tobytes() for w in wanted}) > 1
    with tflite.open(files[1]) as second:
        assert second.inputs[0].dtype == spec.dtype
        found = [next(iter(second.run({second.inputs[0].name: x}).values())) for x in feeds]
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)
