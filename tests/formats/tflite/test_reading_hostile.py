"""Damaged files: each is refused with a clear error or read as a valid model; nothing hangs or eats memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from recast.errors import BadModel, RecastError, TooLarge
from recast.formats.tflite.read import read

MUTANTS = 130
FILES = ("ad-autoencoder/ad01_int8.tflite", "kws-dscnn/kws_ref_model.tflite", "mnist-mixed/trained_lstm.tflite")


def _mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits (mostly where the tables are, not the weights), overwrite a word, or cut the end."""
    changed = bytearray(data)
    structure = np.r_[0 : min(600, len(data)), max(0, len(data) - 12_000) : len(data)]
    kind = rng.integers(4)
    if kind == 0:
        return data[: int(rng.integers(0, len(data)))]
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.choice(structure)) if kind < 3 else int(rng.integers(len(data) - 4))
        if kind == 1 and place < len(data) - 4:
            changed[place : place + 4] = rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]).astype("<u4").tobytes()
        else:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _refusal(file: Path) -> RecastError | None:
    """Why a file is refused; None if it is read, and then the model must be valid."""
    try:
        model = read(file)
    except RecastError as error:
        return error
    onnx.checker.check_model(ir.to_proto(model))
    return None


@pytest.mark.parametrize("name", FILES)
def test_mutants(name: str, shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    data = (shared_models / name).read_bytes()
    file = tmp_path / "mutant.tflite"
    outcomes = {"read": 0, "refused": 0}
    slowest, start = 0.0, time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTANTS):
        file.unlink(missing_ok=True)  # the last one may still be mapped
        file.write_bytes(_mutant(data, rng))
        begin = time.process_time()
        refusal = _refusal(file)
        if refusal is None:
            outcomes["read"] += 1
        else:
            assert refusal.what
            assert refusal.where, refusal.what
            outcomes["refused"] += 1
        slowest = max(slowest, time.process_time() - begin)
    assert outcomes["refused"] > MUTANTS // 10, outcomes
    assert outcomes["read"] > 0, outcomes
    assert slowest < 5
    assert time.process_time() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", b""),
        ("short", b"\x00\x00\x00\x00TFL"),
        ("identifier-only", b"\x08\x00\x00\x00TFL3"),
        ("root-outside", b"\xff\xff\xff\x7fTFL3" + bytes(64)),
        ("other-format", b"\x89HDF\r\n\x1a\n" + bytes(64)),
    ],
)
def test_refused(name: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.tflite"
    file.write_bytes(data)
    with pytest.raises((BadModel, TooLarge)):
        read(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadModel):
        read(tmp_path / "none.tflite")
