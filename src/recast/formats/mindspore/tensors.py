"""TensorProtos as arrays: views into the file, checked against it, nothing copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.bounded import check_size, element_count, inside, open_bytes
from recast.errors import BadModel, UnsupportedType
from recast.formats.mindspore import wire
from recast.formats.mindspore.types import DATA_TYPES

_FIX = "export the model again"
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data")


def element_type(tensor: wire.Message, where: str) -> ir.DataType:
    """The element type of a TensorProto.

    Raises:
        UnsupportedType: strings, complex numbers, packed small integers.
    """
    number = tensor.get("data_type", 0)
    if number not in DATA_TYPES:
        raise UnsupportedType(f"element type {number} of MindIR is not read", where, "convert the tensor first")
    return DATA_TYPES[number]


def array(tensor: wire.Message, folder: Path, little_endian: bool, where: str) -> np.ndarray:
    """The data of a TensorProto, with its shape.

    Raises:
        BadModel, TooLarge, UnsafeModel, UnsupportedType: it does not hold what it declares.
    """
    dtype, dims = element_type(tensor, where), tensor.get("dims", [])
    if tensor.get("compression_type", 0) not in (0,):
        raise UnsupportedType("compressed weights are not read", where, "export without compression")
    numpy_type, count = dtype.numpy(), element_count(dims, where)
    if len(dims) > 32:
        raise BadModel(f"{len(dims)} dimensions", where, _FIX)
    listed: Any = next((tensor[f] for f in _FIELDS if tensor.get(f)), None)
    if listed is not None and not tensor.get("raw_data"):
        if len(listed) != count:
            raise BadModel(f"{len(listed)} numbers for a shape of {count}", where, _FIX)
        try:
            return np.asarray(listed).astype(numpy_type).reshape(dims)
        except (OverflowError, ValueError) as error:
            raise BadModel(f"its numbers do not fit {dtype.name}", where, _FIX) from error
    data = (
        _external(tensor["external_data"], folder, where) if "external_data" in tensor else tensor.get("raw_data", b"")
    )
    needed = count * numpy_type.itemsize
    check_size(needed, len(data), where)
    if len(data) != needed:
        raise BadModel(f"{len(data)} bytes for a shape that needs {needed}", where, _FIX)
    if not little_endian and numpy_type.itemsize > 1:
        raise UnsupportedType("the file's numbers are big-endian", where, "export it on a little-endian machine")
    return np.frombuffer(data, numpy_type).reshape(dims)


def _external(link: wire.Message, folder: Path, where: str) -> memoryview:
    path = inside(folder, link.get("location", ""), where)
    data, offset, length = open_bytes(path), link.get("offset", 0), link.get("length", 0)
    if offset < 0 or length < 0:
        raise BadModel("a negative offset or length of external data", where, _FIX)
    check_size(offset + length, len(data), f"{where} in {path.name}")
    return data[offset : offset + length]
