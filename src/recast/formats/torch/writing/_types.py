"""Element types: ONNX ↔ PyTorch ↔ safetensors ↔ storage classes of the ``.pt`` format."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

_D = ir.DataType


@dataclass(frozen=True)
class TorchType:
    """How PyTorch's files and source name an element type."""

    torch: str
    safetensors: str
    storage: str  # class name in data.pkl; empty: only untyped storages hold it
    size: int


TYPES: dict[ir.DataType, TorchType] = {
    _D.FLOAT: TorchType("float32", "F32", "FloatStorage", 4),
    _D.DOUBLE: TorchType("float64", "F64", "DoubleStorage", 8),
    _D.FLOAT16: TorchType("float16", "F16", "HalfStorage", 2),
    _D.BFLOAT16: TorchType("bfloat16", "BF16", "BFloat16Storage", 2),
    _D.INT64: TorchType("int64", "I64", "LongStorage", 8),
    _D.INT32: TorchType("int32", "I32", "IntStorage", 4),
    _D.INT16: TorchType("int16", "I16", "ShortStorage", 2),
    _D.INT8: TorchType("int8", "I8", "CharStorage", 1),
    _D.UINT8: TorchType("uint8", "U8", "ByteStorage", 1),
    _D.UINT16: TorchType("uint16", "U16", "", 2),
    _D.UINT32: TorchType("uint32", "U32", "", 4),
    _D.UINT64: TorchType("uint64", "U64", "", 8),
    _D.BOOL: TorchType("bool", "BOOL", "BoolStorage", 1),
    _D.FLOAT8E4M3FN: TorchType("float8_e4m3fn", "F8_E4M3", "", 1),
    _D.FLOAT8E5M2: TorchType("float8_e5m2", "F8_E5M2", "", 1),
    _D.COMPLEX64: TorchType("complex64", "C64", "ComplexFloatStorage", 8),
    # four-bit integers live one per byte
    _D.INT4: TorchType("int8", "I8", "CharStorage", 1),
    _D.UINT4: TorchType("uint8", "U8", "ByteStorage", 1),
    _D.INT2: TorchType("int8", "I8", "CharStorage", 1),
    _D.UINT2: TorchType("uint8", "U8", "ByteStorage", 1),
}
FLOATS = frozenset({_D.FLOAT, _D.DOUBLE, _D.FLOAT16, _D.BFLOAT16})
SIGNED = frozenset({_D.INT64, _D.INT32, _D.INT16, _D.INT8})
WIDE_UNSIGNED = frozenset({_D.UINT16, _D.UINT32, _D.UINT64})
INTEGERS = SIGNED | WIDE_UNSIGNED | {_D.UINT8}
BITS = {_D.UINT16: "torch.int16", _D.UINT32: "torch.int32", _D.UINT64: "torch.int64"}  # of the same width
