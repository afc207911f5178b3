"""Damaged files: each is refused with a clear error or read as a valid model; nothing hangs or eats memory."""

from __future__ import annotations

import resource
import shutil
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from recast._util.wire import decode
from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel
from recast.formats.savedmodel import bundle, crc32c, sniff, variables
from recast.formats.savedmodel.graph_def import decoded, program
from recast.formats.savedmodel.read import read
from recast.formats.savedmodel.schema import SCHEMA
from recast.formats.savedmodel.source import Source

MUTANTS = 60
PB = "mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128_frozen.pb"
FOLDER = "kws-dscnn/kws_ref_model"


def _mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut the end, flip bits, overwrite a word, take a piece out, or repeat one."""
    changed = bytearray(data)
    kind, place = int(rng.integers(6)), int(rng.integers(len(data) - 16))
    if kind == 0:
        return data[:place]
    if kind == 1:
        changed[place : place + 4] = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF]).astype("<u4").tobytes()
    elif kind == 2:
        del changed[place : place + int(rng.integers(1, 64))]
    elif kind == 3:
        changed[place:place] = changed[place : place + int(rng.integers(1, 64))]
    else:
        for _ in range(int(rng.integers(1, 5))):
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _refusal(path: Path) -> RecastError | None:
    """Why a file is refused; None if it is read, and then the model must be valid."""
    try:
        model = read(path)
    except RecastError as error:
        return error
    onnx.checker.check_model(ir.to_proto(model))
    return None


def _examine(path: Path, file: Path, data: bytes, rng: np.random.Generator, least: int) -> None:
    outcomes = {"read": 0, "refused": 0}
    slowest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTANTS):
        file.unlink(missing_ok=True)  # the last one may still be mapped
        file.write_bytes(_mutant(data, rng))
        begin = time.process_time()
        refusal = _refusal(path)
        if refusal is None:
            outcomes["read"] += 1
        else:
            assert refusal.what
            assert refusal.where, refusal.what
            outcomes["refused"] += 1
        slowest = max(slowest, time.process_time() - begin)
    assert outcomes["refused"] >= least, outcomes
    assert slowest < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_frozen_mutants(shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    file = tmp_path / "mutant.pb"
    _examine(file, file, (shared_models / PB).read_bytes(), rng, MUTANTS // 10)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_saved_model_mutants(name: str, shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shared_models / FOLDER, folder)
    least = MUTANTS * 9 // 10 if name.endswith("index") else MUTANTS // 10
    _examine(folder, folder / name, (folder / name).read_bytes(), rng, least)


def test_a_flipped_weight_is_refused(shared_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shared_models / FOLDER, folder)
    file = folder / "variables" / "variables.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    place = bundle.load(folder / "variables").entries["layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    data[int(place.get("offset", 0)) + 5] ^= 4
    file.write_bytes(bytes(data))
    with pytest.raises(BadModel, match="checksum"):
        read(folder)


def test_data_outside_of_the_folder_is_refused(shared_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shared_models / FOLDER, folder)
    file = folder / "variables" / "variables.data-00000-of-00001"
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModel):
        read(folder)


def _field(number: int, data: bytes) -> bytes:
    size, out = len(data), bytearray([number << 3 | 2])
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size]) + data


def _node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    parts = _field(1, name.encode()) + _field(2, op.encode())
    parts += b"".join(_field(3, i.encode()) for i in inputs)
    return _field(1, parts + b"".join(_field(5, _field(1, k.encode()) + _field(2, v)) for k, v in attributes.items()))


def _constant(name: str, dims: list[int], values: bytes = b"") -> bytes:
    """A float constant: its shape, and numbers as ``float_val``."""
    shape = b"".join(_field(2, b"\x08" + _varint(d)) for d in dims)
    return _node(name, "Const", value=_field(8, b"\x08\x01" + _field(2, shape) + values), dtype=b"\x30\x01")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


INPUT = _node("x", "Placeholder", dtype=b"\x30\x01", shape=_field(7, _field(2, b"\x08\x05")))
HOSTILE = {
    "circle": INPUT + _node("a", "Add", "b", "x") + _node("b", "Add", "a", "x") + _node("y", "Neg", "b"),
    "itself": INPUT + _node("a", "Add", "a", "x") + _node("y", "Neg", "a"),
    "twice": INPUT + INPUT + _node("y", "Neg", "x"),
    "nothing": INPUT + _node("y", "Add", "x", "z"),
    "no-input": INPUT + _node("y", "Add", "x"),
    "no-output": INPUT + _node("y", "Neg", "x:7"),
    "huge-constant": INPUT + _constant("c", [1 << 20, 1 << 20]) + _node("y", "Add", "x", "c"),
    "repeated-constant": INPUT + _constant("c", [1 << 26], _field(5, bytes(4))) + _node("y", "Add", "x", "c"),
    "negative-constant": INPUT + _constant("c", [(1 << 64) - 5]) + _node("y", "Add", "x", "c"),
    "short-constant": INPUT + _constant("c", [5], _field(4, bytes(16))) + _node("y", "Add", "x", "c"),
    "wrong-attribute": INPUT + _node("y", "LeakyRelu", "x", alpha=_field(2, b"abc")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.pb"
    file.write_bytes(HOSTILE[name])
    assert sniff.is_graph(HOSTILE[name][:4096])
    begin = time.process_time()
    with pytest.raises((BadModel, TooLarge)) as caught:
        read(file)
    assert caught.value.where
    assert time.process_time() - begin < 5


def test_calls_that_grow_without_end(tmp_path: Path) -> None:
    """Each function calls the next one twice: 2⁴⁰ nodes."""
    functions = b""
    for level in range(30):
        argument = _field(2, _field(1, b"x") + b"\x18\x01")
        signature = _field(1, _field(1, f"f{level}".encode()) + argument + _field(3, _field(1, b"y") + b"\x18\x01"))
        call = f"f{level + 1}" if level < 29 else "Neg"
        inner = _node("a", call, "x")[2:], _node("b", call, "a:y:0")[2:]
        body = b"".join(_field(3, n) for n in inner)
        functions += _field(1, signature + body + _field(4, _field(1, b"y") + _field(2, b"b:y:0")))
    graph = INPUT + _node("y", "f0", "x") + _field(2, functions)
    file = tmp_path / "growing.pb"
    file.write_bytes(graph)
    begin = time.process_time()
    with pytest.raises(TooLarge):
        read(file)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", bytes(64), b"\x0a\x05ONNX!"]
)
def test_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "other.pb"
    file.write_bytes(data)
    assert not sniff.is_graph(data)
    with pytest.raises(RecastError):
        read(file)


def test_restore_functions_that_call_each_other() -> None:
    """Ten functions that each call the next one twenty times: 20¹⁰ calls."""
    functions = b""
    for level in range(10):
        signature = _field(1, _field(1, f"f{level}".encode()) + _field(2, _field(1, b"x") + b"\x18\x01"))
        calls = b"".join(_field(3, _node(f"n{i}", f"f{level + 1}", "x")[2:]) for i in range(20))
        functions += _field(1, signature + calls)
    data = memoryview(INPUT + _node("restore", "f0", "x") + _field(2, functions))
    source = Source("m", program(decoded("Graph", data, "m"), "m"), [], [], restore_op="restore")
    begin = time.process_time()
    assert variables._restored(source) == {}
    assert time.process_time() - begin < 5


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BadModel):
        read(tmp_path / "none.pb")
    with pytest.raises(BadModel):
        read(tmp_path)


def test_checksum_of_long_data(rng: np.random.Generator) -> None:
    """The parallel form agrees with the plain one; the RFC's own example."""
    assert crc32c.crc32c(memoryview(b"123456789")) == 0xE3069283
    data = memoryview(rng.integers(0, 256, 100_003, np.uint8).tobytes())
    assert crc32c.crc32c(data) == crc32c._one_lane(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def test_attributes_are_decoded_when_they_are_asked_for() -> None:
    node = decode(SCHEMA, "Node", memoryview(_node("y", "Neg", "x", T=b"\x30\x01")[2:]))
    assert bytes(node["attributes"][0]["value"]) == b"\x30\x01"
