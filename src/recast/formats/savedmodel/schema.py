"""TensorFlow's messages as far as they are read: field numbers of its ``.proto`` files (Apache-2.0).

Values of attributes, and functions, stay bytes until somebody asks for them.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from recast._util.wire import Schema

SCHEMA: Schema = {
    "SavedModel": {1: ("version", "int", False), 2: ("meta_graphs", "MetaGraph", True)},
    "MetaGraph": {
        1: ("info", "MetaInfo", False),
        2: ("graph", "Graph", False),
        3: ("saver", "Saver", False),
        5: ("signatures", "SignatureEntry", True),
    },
    "MetaInfo": {4: ("tags", "string", True), 5: ("version", "string", False)},
    "Saver": {3: ("restore_op", "string", False)},
    "SignatureEntry": {1: ("key", "string", False), 2: ("value", "Signature", False)},
    "Signature": {1: ("inputs", "InfoEntry", True), 2: ("outputs", "InfoEntry", True)},
    "InfoEntry": {1: ("key", "string", False), 2: ("value", "Info", False)},
    "Info": {
        1: ("name", "string", False),
        2: ("dtype", "int", False),
        3: ("shape", "Shape", False),
        4: ("sparse", "skip", False),
        5: ("composite", "skip", False),
    },
    "Graph": {1: ("nodes", "Node", True), 2: ("library", "Library", False), 4: ("versions", "Versions", False)},
    "Versions": {1: ("producer", "int", False)},
    "Library": {1: ("functions", "bytes", True)},
    "Node": {
        1: ("name", "string", False),
        2: ("op", "string", False),
        3: ("inputs", "string", True),
        5: ("attributes", "AttributeEntry", True),
    },
    "AttributeEntry": {1: ("key", "string", False), 2: ("value", "bytes", False)},
    "Function": {
        1: ("signature", "Op", False),
        3: ("nodes", "Node", True),
        4: ("results", "TextEntry", True),
        6: ("control", "TextEntry", True),
    },
    "FunctionHead": {1: ("signature", "FunctionName", False)},
    "FunctionName": {1: ("name", "string", False)},
    "TextEntry": {1: ("key", "string", False), 2: ("value", "string", False)},
    "Op": {1: ("name", "string", False), 2: ("inputs", "Argument", True), 3: ("outputs", "Argument", True)},
    "Argument": {
        1: ("name", "string", False),
        3: ("type", "int", False),
        5: ("number_attr", "string", False),
        6: ("type_list_attr", "string", False),
    },
    "Attribute": {
        1: ("list", "List", False),
        2: ("s", "bytes", False),
        3: ("i", "int", False),
        4: ("f", "float", False),
        5: ("b", "bool", False),
        6: ("type", "int", False),
        7: ("shape", "Shape", False),
        8: ("tensor", "Tensor", False),
        10: ("func", "Name", False),
    },
    "List": {
        2: ("s", "bytes", True),
        3: ("i", "int", True),
        4: ("f", "float", True),
        5: ("b", "bool", True),
        6: ("type", "int", True),
        7: ("shape", "Shape", True),
        9: ("func", "Name", True),
    },
    "Name": {1: ("name", "string", False)},
    "Shape": {2: ("dims", "Dim", True), 3: ("unknown", "bool", False)},
    "Dim": {1: ("size", "int", False)},
    "Tensor": {
        1: ("dtype", "int", False),
        2: ("shape", "Shape", False),
        4: ("content", "bytes", False),
        5: ("float_val", "float", True),
        6: ("double_val", "double", True),
        7: ("int_val", "int", True),
        8: ("string_val", "bytes", True),
        10: ("int64_val", "int", True),
        11: ("bool_val", "int", True),
        13: ("half_val", "int", True),
        16: ("uint32_val", "int", True),
        17: ("uint64_val", "int", True),
    },
    "BundleHeader": {1: ("num_shards", "int", False), 2: ("endianness", "int", False)},
    "BundleEntry": {
        1: ("dtype", "int", False),
        2: ("shape", "Shape", False),
        3: ("shard", "int", False),
        4: ("offset", "int", False),
        5: ("size", "int", False),
        6: ("crc32c", "fixed32", False),
        7: ("slices", "skip", True),
    },
}

STRING, RESOURCE, VARIANT = 7, 20, 21
_COUNT_OF_REFS = 100  # reference types are 100 + type
NUMPY: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype(bool),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}
_NAMES = {7: "string", 8: "complex64", 18: "complex128", 20: "resource", 21: "variant"}
VALUES = {
    1: "float_val",
    2: "double_val",
    3: "int_val",
    4: "int_val",
    5: "int_val",
    6: "int_val",
    9: "int64_val",
    10: "bool_val",
    14: "half_val",
    17: "int_val",
    19: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}


def plain(dtype: int) -> int:
    """A type's number without TensorFlow 1's mark of references."""
    return dtype - _COUNT_OF_REFS if dtype > _COUNT_OF_REFS else dtype


def type_name(dtype: int) -> str:
    """A readable name of a type number."""
    dtype = plain(dtype)
    return NUMPY[dtype].name if dtype in NUMPY else _NAMES.get(dtype, f"number {dtype}")
