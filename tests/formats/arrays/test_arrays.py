"""Containers of weights keep every bit; damaged ones are refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import safetensors.numpy

from recast import formats
from recast.errors import BadModel, BadRecipe, RecastError, TooLarge, UnsupportedType
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.arrays import FORMAT


def awkward() -> dict[str, np.ndarray]:
    nans = np.array([0x7FC00001, 0xFFC12345, 0x00000001, 0x80000000], np.uint32).view(np.float32)
    return {
        "nan.payload": nans,
        "scalar": np.array(3.5, np.float64),
        "empty": np.zeros((3, 0, 5), np.float32),
        "half": np.linspace(-7, 7, 11).astype(np.float16),
        "brain": np.linspace(-7, 7, 13).astype(ml_dtypes.bfloat16).reshape(13, 1),
        "bytes": np.arange(-128, 128, dtype=np.int8),
        "long": np.array([-(2**63), 2**63 - 1]),
        "flags": np.array([[True, False, True]]),
        "fortran": np.asfortranarray(np.arange(35, dtype=np.int32).reshape(5, 7)),
    }


def tensors(path: Path) -> dict[str, np.ndarray]:
    model = FORMAT.read(path, ReadOptions())
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_bit_equal_through_both(suffix: str, tmp_path: Path) -> None:
    first = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in awkward().items()}, first)
    second = tmp_path / f"b{suffix}"
    FORMAT.write(FORMAT.read(first, ReadOptions()), second, WriteOptions())
    back = tensors(second)
    assert back.keys() == awkward().keys()
    for name, array in awkward().items():
        assert (back[name].shape, back[name].dtype) == (array.shape, array.dtype), name
        assert back[name].tobytes() == array.tobytes(), name
    if suffix == ".safetensors":  # someone else's reader agrees
        theirs = safetensors.numpy.load_file(second)
        assert all(theirs[n].tobytes() == np.ascontiguousarray(a).tobytes() for n, a in awkward().items())


def test_numpys_own_files(tmp_path: Path) -> None:
    arrays = {k: v for k, v in awkward().items() if k != "brain"}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    back = tensors(tmp_path / "a.npz")
    assert all(back[k].tobytes() == v.tobytes() for k, v in arrays.items())
    np.save(tmp_path / "one.npy", arrays["fortran"])
    assert np.array_equal(tensors(tmp_path / "one.npy")["one"], arrays["fortran"])
    np.save(tmp_path / "big.npy", np.arange(7, dtype=">f4"))
    assert np.array_equal(tensors(tmp_path / "big.npy")["big"], np.arange(7))


def test_npy_holds_one(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(2), "b": np.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(BadRecipe):
        FORMAT.write(FORMAT.read(tmp_path / "a.safetensors", ReadOptions()), tmp_path / "b.npy", WriteOptions())


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsupportedType):
        tensors(tmp_path / "a.npy")


def header(entries: dict[str, object], body: int) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, 8), TooLarge),
        (header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, 8), BadModel),
        (header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}, 8), BadModel),
        (header({"a": {"dtype": "Q9", "shape": [2], "data_offsets": [0, 8]}}, 8), UnsupportedType),
        (struct.pack("<Q", 1 << 39) + b"{}", TooLarge),
        (header({"a": 5}, 8), BadModel),
    ],
    ids=["oversized", "length-lie", "negative", "unknown-type", "header-lie", "no-entry"],
)
def test_hostile_safetensors(data: bytes, error: type[RecastError], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(error):
        tensors(path)


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    entry = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    text = f'{{"a":{entry},"a":{entry}}}'.encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(BadModel, match="twice"):
        tensors(tmp_path / "a.safetensors")


def test_mutants_never_crash(tmp_path: Path, rng: np.random.Generator) -> None:
    good = tmp_path / "good.safetensors"
    safetensors.numpy.save_file({"a": np.ones((3, 5), np.float32)}, good)
    stream = io.BytesIO()
    np.savez(stream, x=np.arange(11))
    for number, seed in enumerate([good.read_bytes(), stream.getvalue()] * 60):
        data = bytearray(seed)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"m{number}.{'npz' if number % 2 else 'safetensors'}"
        path.write_bytes(data[: int(rng.integers(8, len(data) + 1))])
        try:
            tensors(path)
        except RecastError:
            continue


def test_recognised_by_content(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "x.bin")
    assert formats.of_file(tmp_path / "x.bin").name == "arrays"
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("a.npy", b"")
    assert formats.of_file(tmp_path / "z.npz").name == "arrays"


def test_a_large_member_is_unpacked_when_it_is_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrays = {"large": rng.standard_normal((1013, 4603)).astype(np.float32).T, "small": np.arange(7)}
    np.savez(tmp_path / "w.npz", **arrays)
    held = {n: v.const_value for n, v in FORMAT.read(tmp_path / "w.npz", ReadOptions()).graph.initializers.items()}
    assert isinstance(held["large"], ir.LazyTensor)
    assert tuple(held["large"].shape) == (4603, 1013)
    for name, array in arrays.items():
        np.testing.assert_array_equal(held[name].numpy(), array)


def test_a_damaged_large_member_is_refused_when_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, large=np.ones((1013, 4603), np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (tensor,) = (v.const_value for v in FORMAT.read(path, ReadOptions()).graph.initializers.values())
    with pytest.raises(BadModel, match="CRC"):
        tensor.numpy()


def test_a_large_member_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, large=np.ones((1013, 4603), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1013, 4603)", b"(9013, 4603)"))
    with pytest.raises(TooLarge):
        FORMAT.read(path, ReadOptions())
