"""Element types, attribute types and enumerations of MindIR."""

from __future__ import annotations

import onnx_ir as ir

T = ir.DataType

# TensorProto.DataType; 17 is a second number of float64 that some exporters use
DATA_TYPES: dict[int, ir.DataType] = {
    1: T.FLOAT,
    2: T.UINT8,
    3: T.INT8,
    4: T.UINT16,
    5: T.INT16,
    6: T.INT32,
    7: T.INT64,
    9: T.BOOL,
    10: T.FLOAT16,
    11: T.DOUBLE,
    12: T.UINT32,
    13: T.UINT64,
    16: T.BFLOAT16,
    17: T.DOUBLE,
}
DATA_TYPE_OF: dict[ir.DataType, int] = {t: n for n, t in DATA_TYPES.items() if n != 17}

# MindSpore's own type numbers (``mindspore.common.dtype``), as Cast, Argmax … take them
TYPE_IDS: dict[int, ir.DataType] = {
    30: T.BOOL,
    32: T.INT8,
    33: T.INT16,
    34: T.INT32,
    35: T.INT64,
    37: T.UINT8,
    38: T.UINT16,
    39: T.UINT32,
    40: T.UINT64,
    42: T.FLOAT16,
    43: T.FLOAT,
    44: T.DOUBLE,
    45: T.BFLOAT16,
}
TYPE_ID_OF: dict[ir.DataType, int] = {t: n for n, t in TYPE_IDS.items()}

CHECKPOINT_TYPES: dict[str, ir.DataType] = {
    "Float32": T.FLOAT,
    "Float16": T.FLOAT16,
    "Float64": T.DOUBLE,
    "BFloat16": T.BFLOAT16,
    "Int8": T.INT8,
    "Int16": T.INT16,
    "Int32": T.INT32,
    "Int64": T.INT64,
    "UInt8": T.UINT8,
    "UInt16": T.UINT16,
    "UInt32": T.UINT32,
    "UInt64": T.UINT64,
    "Bool": T.BOOL,
}


class AttributeType:
    """AttributeProto.AttributeType, as far as it is written or read."""

    FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, UINT32, UINT64 = range(1, 14)
    TENSOR, TENSORS, TUPLE, LIST, DICT, UMONAD, IOMONAD, NONE = 17, 19, 20, 21, 22, 23, 24, 25
    TYPE_NULL = 36
    WHOLE = frozenset((UINT8, INT8, UINT16, INT16, INT32, INT64, UINT32, UINT64))


# enumerations that newer primitives take as numbers
PAD, SAME, VALID = 0, 1, 2
NCHW, NCDHW = 0, 14
PRIMITIVE, PRIMITIVE_FUNCTION = 1, 2
