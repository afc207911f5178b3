"""Read safetensors, ``.npy`` and ``.npz``: headers are checked, tensors stay memory-mapped where they can."""

from __future__ import annotations

import ast
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from recast._util.bounded import as_bad_model, check_size, element_count, open_bytes
from recast.errors import BadModel, TooLarge, UnsupportedType
from recast.formats.arrays import packed
from recast.graph import IR_VERSION, OPSET

_MAX_HEADER = 100 << 20  # safetensors' own limit
_MAX_NPY_HEADER = 1 << 20
_AT_ONCE = 16 << 20  # bytes of an archive's member up to which it is unpacked at once
_MAX_RATIO = 1032  # the most that deflate can reach
SAFETENSORS_TYPES: dict[str, ir.DataType] = {
    "F64": ir.DataType.DOUBLE, "F32": ir.DataType.FLOAT, "F16": ir.DataType.FLOAT16, "BF16": ir.DataType.BFLOAT16,
    "I64": ir.DataType.INT64, "I32": ir.DataType.INT32, "I16": ir.DataType.INT16, "I8": ir.DataType.INT8,
    "U64": ir.DataType.UINT64, "U32": ir.DataType.UINT32, "U16": ir.DataType.UINT16, "U8": ir.DataType.UINT8,
    "BOOL": ir.DataType.BOOL, "F8_E4M3": ir.DataType.FLOAT8E4M3FN, "F8_E5M2": ir.DataType.FLOAT8E5M2,
}  # fmt: skip


def read(path: Path) -> ir.Model:
    """Read named tensors into a graph without nodes.

    Raises:
        BadModel, TooLarge: the file is damaged or declares more than it holds.
        UnsupportedType: pickled objects or types that ONNX does not know.
    """
    try:
        data = open_bytes(path)
        magic = bytes(data[:6])
        if magic == b"\x93NUMPY":
            tensors = [_npy(data, path.stem, str(path))]
        elif magic.startswith(b"PK\x03\x04"):
            tensors = list(_npz(path, len(data)))
        else:
            tensors = _safetensors(data, path)
        return weights_model(tensors, path.stem)
    except Exception as error:
        raise as_bad_model(error, str(path)) from error


def weights_model(tensors: list[ir.TensorProtocol], name: str) -> ir.Model:
    """A model that holds tensors and nothing else."""
    values = [
        ir.Value(name=t.name, shape=ir.Shape(t.shape.numpy()), type=ir.TensorType(t.dtype), const_value=t)
        for t in tensors
    ]
    return ir.Model(
        ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": OPSET}, name=name), ir_version=IR_VERSION
    )


def _safetensors(data: memoryview, path: Path) -> list[ir.TensorProtocol]:
    where = str(path)
    header, start = _header(data, where)
    stored = {t.name or "": t for t in _stored(data, header, start, where)}
    return list(packed.unpack(stored, header.get("__metadata__"), where).values())


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], int]:
    """The table of tensors, and where their bytes begin."""
    if len(data) < 8:
        raise BadModel("too short for a safetensors file", where, "copy the file again")
    (length,) = struct.unpack("<Q", data[:8])
    check_size(length, len(data) - 8, f"{where}, header")
    if length > _MAX_HEADER:
        raise TooLarge(f"a header of {length} bytes", where, "safetensors allows 100 MB")
    header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_no_duplicates)
    return header, 8 + length


def _stored(data: memoryview, header: dict[str, Any], start: int, where: str) -> Iterator[ir.TensorProtocol]:
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = SAFETENSORS_TYPES.get(entry["dtype"])
        if dtype is None:
            raise UnsupportedType(f"element type {entry['dtype']}", f"{where}, tensor {name}", "convert it first")
        begin, end = (int(o) for o in entry["data_offsets"])
        shape = [int(d) for d in entry["shape"]]
        size = element_count(shape, f"{where}, tensor {name}") * round(dtype.itemsize)
        if begin < 0 or end - begin != size:
            raise BadModel(f"{end - begin} bytes for a tensor of {size}", f"{where}, tensor {name}", "copy it again")
        check_size(start + end, len(data), f"{where}, tensor {name}")
        array = np.frombuffer(data, _numpy(dtype), count=size // round(dtype.itemsize), offset=start + begin)
        yield ir.Tensor(array.reshape(shape), dtype=dtype, name=name)


def _numpy(dtype: ir.DataType) -> np.dtype:
    return dtype.numpy()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadModel("a name occurs twice in the header", fix="the file is damaged or made to mislead: refuse it")
    return result


def _npy(data: memoryview, name: str, where: str) -> ir.TensorProtocol:
    """An array in NumPy's own file format, without NumPy's loader."""
    dtype, shape, fortran_order, offset = _npy_header(data, where)
    count = element_count(shape, where)
    check_size(offset + count * dtype.itemsize, len(data), where)
    array = np.frombuffer(data, dtype, count, offset)
    native = array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)
    if not native.dtype.isnative:
        native = native.astype(native.dtype.newbyteorder("="))
    return ir.Tensor(native, name=name)


def _npy_header(data: memoryview, where: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Element type, shape, whether in Fortran's order, where the elements begin; the header is a Python literal."""
    major = data[6]
    size_format, offset = ("<H", 10) if major == 1 else ("<I", 12)
    (length,) = struct.unpack(size_format, data[8:offset])
    check_size(offset + length, len(data), f"{where}, header")
    header = ast.literal_eval(bytes(data[offset : offset + length]).decode("latin1" if major < 3 else "utf8"))
    dtype = np.dtype(header["descr"]) if isinstance(header["descr"], str) else np.dtype("O")
    dtype = {"V2": np.dtype(ml_dtypes.bfloat16)}.get(dtype.str.lstrip("|<"), dtype)
    if dtype.hasobject or dtype.kind not in "biufV" or (dtype.kind == "V" and dtype != ml_dtypes.bfloat16):
        raise UnsupportedType(f"arrays of {header['descr']}", where, "save numbers, not objects")
    return dtype, tuple(header["shape"]), bool(header["fortran_order"]), offset + length


def _npz(path: Path, file_size: int) -> Iterator[ir.TensorProtocol]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            check_size(info.file_size, max(file_size, 1) * _MAX_RATIO, f"{path}, member {info.filename}")
            name, where = info.filename.removesuffix(".npy"), f"{path}, member {info.filename}"
            with archive.open(info) as file:
                if info.file_size > _AT_ONCE:
                    yield _later(path, info, memoryview(file.read(_MAX_NPY_HEADER)), (name, where))
                else:
                    yield _npy(memoryview(file.read(info.file_size + 1)), name, where)  # one byte more would show a lie


def _later(path: Path, info: zipfile.ZipInfo, head: memoryview, called: tuple[str, str]) -> ir.TensorProtocol:
    """A large member, unpacked (and its checksum compared) whenever it is asked for."""
    name, where = called
    dtype, shape, _, offset = _npy_header(head, where)
    check_size(offset + element_count(shape, where) * dtype.itemsize, info.file_size, where)

    def load() -> ir.TensorProtocol:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(info) as file:
                return _npy(memoryview(file.read(info.file_size + 1)), name, where)
        except Exception as error:
            raise as_bad_model(error, where) from error

    return ir.LazyTensor(load, dtype=ir.DataType.from_numpy(dtype.newbyteorder("=")), shape=ir.Shape(shape), name=name)
