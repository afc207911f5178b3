"""Constants of a TFLite file: where their bytes come from, and which of them share a buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.flat_write import Blob
from recast.formats.tflite.writing import Refused

_SMALL = 16384  # bytes up to which equal contents are found by comparing bytes

TYPES: dict[ir.DataType, str] = {
    ir.DataType.FLOAT: "FLOAT32",
    ir.DataType.FLOAT16: "FLOAT16",
    ir.DataType.BFLOAT16: "BFLOAT16",
    ir.DataType.DOUBLE: "FLOAT64",
    ir.DataType.INT8: "INT8",
    ir.DataType.UINT8: "UINT8",
    ir.DataType.INT16: "INT16",
    ir.DataType.UINT16: "UINT16",
    ir.DataType.INT32: "INT32",
    ir.DataType.UINT32: "UINT32",
    ir.DataType.INT64: "INT64",
    ir.DataType.UINT64: "UINT64",
    ir.DataType.BOOL: "BOOL",
    ir.DataType.INT4: "INT4",
    ir.DataType.COMPLEX64: "COMPLEX64",
}
PACKED = {"INT4": 2}  # types of which several elements share a byte

_TYPE_OF_NUMPY = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "float64": "FLOAT64",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
}


def tensor_type(dtype: ir.DataType | None) -> str:
    """The TensorType's name of an element type.

    Raises:
        Refused: TFLite has none.
    """
    if dtype is None or dtype not in TYPES:
        raise Refused(f"element type {dtype.name if dtype else 'unknown'} does not exist in TFLite")
    return TYPES[dtype]


@dataclass(frozen=True)
class Quant:
    """Quantisation of a tensor: ``real = scale * (integer - zero)``, per tensor or along ``axis``."""

    scale: tuple[float, ...]
    zero: tuple[int, ...]
    axis: int = 0

    @property
    def per_tensor(self) -> bool:
        """Whether one scale holds for all elements."""
        return len(self.scale) == 1

    def along(self, axis: int) -> Quant:
        """The same scales along another axis (after a change of layout); one scale stays at axis 0, as LiteRT wants."""
        return Quant(self.scale, self.zero, 0 if self.per_tensor else axis)


@dataclass(frozen=True)
class Weight:
    """A constant that is read, and brought to TFLite's layout, only while the file is written.

    Args:
        tensor: where it comes from.
        type: its TensorType.
        shape: the shape in the file.
        quant: its quantisation, if it is an integer weight.
        change: identifies what ``apply`` does, so that equal constants share a buffer.
        apply: from the source's array to the file's.
    """

    tensor: ir.TensorProtocol
    type: str
    shape: tuple[int, ...]
    quant: Quant | None = None
    change: tuple[Any, ...] = ()
    apply: Callable[[np.ndarray], np.ndarray] = field(default=lambda a: a, compare=False)

    def array(self) -> np.ndarray:
        """The file's array."""
        return self.apply(self.tensor.numpy()).reshape(self.shape)

    def then(
        self, change: tuple[Any, ...], shape: tuple[int, ...], apply: Callable[[np.ndarray], np.ndarray]
    ) -> Weight:
        """This weight with one more step."""
        before, old = self.apply, self.shape
        return Weight(
            self.tensor, self.type, shape, self.quant, (*self.change, *change), lambda a: apply(before(a).reshape(old))
        )

    def transpose(self, perm: tuple[int, ...]) -> Weight:
        """Permuted; a per-channel axis follows."""
        shape = tuple(self.shape[p] for p in perm)
        moved = self.then(("T", *perm), shape, lambda a: a.transpose(perm))
        return moved.with_quant(self.quant and self.quant.along(perm.index(self.quant.axis)))

    def reshape(self, shape: tuple[int, ...], axis: int = 0) -> Weight:
        """Reshaped; ``axis`` is where the per-channel axis goes."""
        moved = self.then(("R", *shape), shape, lambda a: a.reshape(shape))
        return moved.with_quant(self.quant and self.quant.along(axis))

    def rows(self, start: int, count: int) -> Weight:
        """Some rows; per-channel scales of the rows are cut too."""
        quant = self.quant
        if quant is not None and not quant.per_tensor and quant.axis == 0:
            cut = slice(start, start + count)
            quant = Quant(quant.scale[cut], quant.zero[cut], 0)
        shape = (count, *self.shape[1:])
        return self.then(("rows", start, count), shape, lambda a: a[start : start + count]).with_quant(quant)

    def with_quant(self, quant: Quant | None) -> Weight:
        """With other quantisation parameters."""
        return Weight(self.tensor, self.type, self.shape, quant, self.change, self.apply)


class Buffers:
    """The buffers of the file; number 0 is the empty one. Equal constants get the same number."""

    def __init__(self) -> None:
        self.blobs: list[Blob | None] = [None]
        self._by_bytes: dict[bytes, int] = {}
        self._by_source: dict[tuple[Any, ...], int] = {}

    def add_bytes(self, data: bytes) -> int:
        """A small constant, by content."""
        if data not in self._by_bytes:
            self._by_bytes[data] = self._append(Blob(len(data), lambda: data))
        return self._by_bytes[data]

    def add(self, weight: Weight) -> int:
        """A weight: small ones by content, large ones by where they come from."""
        count = int(np.prod(weight.shape, dtype=np.int64))
        per_byte = PACKED.get(weight.type, 1)
        size = -(-count // per_byte) if per_byte > 1 else count * _item_size(weight.type)
        if size <= _SMALL:
            return self.add_bytes(_raw(weight).tobytes())
        key = (id(weight.tensor), weight.type, weight.change)
        if key not in self._by_source:
            self._by_source[key] = self._append(Blob(size, lambda: _raw(weight)))
        return self._by_source[key]

    def _append(self, blob: Blob) -> int:
        self.blobs.append(blob)
        return len(self.blobs) - 1


def _item_size(type_name: str) -> int:
    sizes = {"FLOAT64": 8, "INT64": 8, "UINT64": 8, "COMPLEX64": 8, "FLOAT32": 4, "INT32": 4, "UINT32": 4}
    return sizes.get(type_name, 2 if "16" in type_name else 1)


def _raw(weight: Weight) -> np.ndarray:
    array = np.ascontiguousarray(weight.array())
    if weight.type in PACKED:
        flat = array.reshape(-1).astype(np.int8).view(np.uint8) & 15
        if flat.size % 2:
            flat = np.append(flat, np.uint8(0))
        array = flat[0::2] | (flat[1::2] << 4)
    return array.reshape(-1).view(np.uint8)


def weight_of(array: np.ndarray, quant: Quant | None = None) -> Weight:
    """A weight of an array made here."""
    tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape))
    return Weight(tensor, _TYPE_OF_NUMPY[array.dtype.name], tuple(array.shape), quant)
