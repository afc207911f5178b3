"""Damaged files: the reader gives a model or a RecastError, never anything else, and never asks for much memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mindir_judge import written

from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel, UnsupportedOp
from recast.formats import by_name
from recast.formats._format import ReadOptions
from recast.formats.mindspore import wire
from recast.graph.build import Builder

MUTANTS = 800


def small() -> ir.Model:
    rng = np.random.default_rng(5)
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 3, 7, 5))
    with b.layer("conv", "Conv"):
        x = b.op("Conv", [x, b.weight("conv/kernel", rng.normal(size=(2, 3, 3, 3)).astype(np.float32))])
    x = b.op("Reshape", [b.op("Relu", [x]), b.const([0, -1])])
    b.output(b.op("Gemm", [x, b.weight("fc/kernel", rng.normal(size=(30, 4)).astype(np.float32))]), "y")
    return b.model()


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    return written(small(), tmp_path / "good.mindir").read_bytes()


def read(path: Path) -> ir.Model:
    return by_name("mindspore").read(path, ReadOptions())


def test_mutants(good: bytes, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "mutant.mindir"
    outcomes = {"model": 0, "error": 0}
    tracemalloc.start()
    for i in range(MUTANTS):
        data = bytearray(good)
        if i % 5 == 0:
            del data[int(rng.integers(len(data))) :]
        elif i % 5 == 1:
            at = int(rng.integers(len(data)))
            del data[at : at + int(rng.integers(1, 9))]
        else:
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            read(path)
            outcomes["model"] += 1
        except RecastError:
            outcomes["error"] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    assert min(outcomes.values()) > MUTANTS // 20  # both happen: the mutations are neither harmless nor all fatal


def save(message: wire.Message, path: Path) -> Path:
    path.write_bytes(b"".join(p for p in wire.encode("Model", message) if isinstance(p, bytes)))
    return path


def as_bytes(held: object) -> object:
    """Views into a file as bytes, so that a decoded message can be encoded again."""
    if isinstance(held, dict):
        return {k: as_bytes(v) for k, v in held.items()}
    if isinstance(held, list):
        return [as_bytes(v) for v in held]
    return bytes(held) if isinstance(held, memoryview) else held


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("huge", TooLarge),
        ("negative", BadModel),
        ("outside", UnsafeModel),
        ("nograph", BadModel),
        ("cycle", BadModel),
        ("unknown", UnsupportedOp),
        ("recursion", UnsupportedOp),
    ],
)
def test_crafted(case: str, kind: type[RecastError], good: bytes, tmp_path: Path) -> None:
    message = as_bytes(wire.decode("Model", memoryview(good)))
    assert isinstance(message, dict)
    graph = message["graph"]
    weight = graph["parameter"][0]
    if case == "huge":
        weight["dims"] = [2**40, 2**20]
    elif case == "negative":
        weight["dims"] = [-1, 3]
    elif case == "outside":
        del weight["raw_data"]
        weight["external_data"] = {"location": "../../etc/passwd", "offset": 0, "length": 10}
    elif case == "nograph":
        del message["graph"]
    elif case == "cycle":
        node = next(n for n in graph["node"] if n["op_type"].startswith("REF::Conv2D"))
        node["input"][0] = node["output"][0]
    elif case == "unknown":
        for primitive in message["primitives"]:
            primitive["op_type"] = {"Conv2D": "Mystery", "ReLU": "Enigma"}.get(
                primitive["op_type"], primitive["op_type"]
            )
    else:
        call = {"input": ["a"], "output": ["b"], "name": "b", "op_type": "REF::loop"}
        message["functions"] = [{"name": "loop", "node": [call], "input": [{"name": "a"}], "output": [{"name": "b"}]}]
        node = next(n for n in graph["node"] if n["op_type"].startswith("REF::ReLU"))
        node["op_type"] = "REF::loop"
    with pytest.raises(kind) as caught:
        read(save(message, tmp_path / "crafted.mindir"))
    if case == "unknown":
        assert "Mystery" in str(caught.value)
        assert "2 primitives" in str(caught.value) or "Enigma" not in str(caught.value)


def test_depth(tmp_path: Path) -> None:
    """Attributes nested 5,000 deep are refused, not followed."""
    data = b""
    for _ in range(5000):
        data = wire._number(17 << 3 | 2) + wire._number(len(data)) + data
    attribute = wire._number(5 << 3 | 2) + wire._number(len(data)) + data
    node = wire._number(1 << 3 | 2) + wire._number(len(attribute)) + attribute
    path = tmp_path / "deep.mindir"
    path.write_bytes(wire._number(7 << 3 | 2) + wire._number(len(node)) + node)
    with pytest.raises(TooLarge):
        read(path)


def test_writing_refuses_everything_at_once(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.UINT8, (5,))
    for layer in ("one", "two"):
        with b.layer(layer, "Image"):
            b.output(b.op("ImageDecoder", [x]))
    with pytest.raises(UnsupportedOp) as caught:
        by_name("mindspore").write(b.model(), tmp_path / "net.mindir", None)  # type: ignore[arg-type]
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)
