"""Look up the TFLite schema: numbers of enumerations, fields of tables, element types."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Literal

from recast.formats.tflite.schema_tables import ENUMS, TABLES

IDENTIFIER = b"TFL3"
VERSION = 3
PLACEHOLDER_CODE = 127  # deprecated_builtin_code of operators whose number does not fit a byte
CUSTOM_CODE = 32

# scalar kind → (struct code, bytes)
SCALARS: dict[str, tuple[str, int]] = {
    "bool": ("?", 1),
    "i8": ("b", 1),
    "u8": ("B", 1),
    "i16": ("h", 2),
    "u16": ("H", 2),
    "i32": ("i", 4),
    "u32": ("I", 4),
    "f32": ("f", 4),
    "i64": ("q", 8),
    "u64": ("Q", 8),
    "f64": ("d", 8),
}

# TensorType → NumPy dtype name (bfloat16, float8 and 4-bit ones are ml_dtypes names); the 4-bit and 2-bit
# types are packed low bits first. STRING, RESOURCE and VARIANT have none.
NUMPY_TYPES: dict[str, str] = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "INT32": "int32",
    "UINT8": "uint8",
    "INT64": "int64",
    "BOOL": "bool",
    "INT16": "int16",
    "COMPLEX64": "complex64",
    "INT8": "int8",
    "FLOAT64": "float64",
    "COMPLEX128": "complex128",
    "UINT64": "uint64",
    "UINT32": "uint32",
    "UINT16": "uint16",
    "INT4": "int4",
    "BFLOAT16": "bfloat16",
    "INT2": "int2",
    "UINT4": "uint4",
    "FLOAT8_E4M3FN": "float8_e4m3fn",
    "FLOAT8_E5M2": "float8_e5m2",
}

FieldKind = Literal["scalar", "string", "table", "union", "vector"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table.

    ``of`` is the scalar kind, the table's name, the union's name, or for a vector its element (a scalar kind, ``str``
    or a table's name). The field's entry in a vtable is at byte ``4 + 2 * slot``.
    """

    name: str
    slot: int
    kind: FieldKind
    of: str
    default: int | float | bool


@cache
def names(enum: str) -> tuple[str, ...]:
    """The names of an enumeration; the index is the number."""
    return tuple(ENUMS[enum].split())


@cache
def _numbers(enum: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(names(enum))}


def number(enum: str, name: str) -> int:
    """The number of a name, e.g. ``number("TensorType", "INT8") == 9``.

    Raises:
        KeyError: there is no such name.
    """
    return _numbers(enum)[name]


def name_of(enum: str, value: int) -> str | None:
    """The name of a number, or None where the schema (of this version) has none."""
    known = names(enum)
    return known[value] if 0 <= value < len(known) else None


@cache
def fields(table: str) -> tuple[Field, ...]:
    """The fields of a table in slot order; slots no longer used are left out."""
    parsed = enumerate(TABLES[table].split())
    return tuple(_field(slot, text) for slot, text in parsed if text != "-")


def _field(slot: int, text: str) -> Field:
    name, _, rest = text.partition(":")
    kind, _, default = rest.partition("=")
    if kind in SCALARS:
        if kind == "bool":
            return Field(name, slot, "scalar", kind, default == "1")
        return Field(name, slot, "scalar", kind, float(default or 0) if kind[0] == "f" else int(default or 0))
    if kind == "str":
        return Field(name, slot, "string", kind, 0)
    if kind[0] == "[":
        return Field(name, slot, "vector", kind[1:-1], 0)
    if kind[0] == "<":
        return Field(name, slot, "union", kind[1:-1], 0)
    return Field(name, slot, "table", kind, 0)


@cache
def scalar(kind: str) -> struct.Struct:
    """The little-endian codec of a scalar kind."""
    return struct.Struct("<" + SCALARS[kind][0])
