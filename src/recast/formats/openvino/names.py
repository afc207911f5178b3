"""Names and types of OpenVINO's tensors, for the reader and the judge alike."""

from __future__ import annotations

from collections.abc import Iterable

TYPES = {
    "f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "boolean": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip


def first_name(names: Iterable[str]) -> str:
    """A tensor has a set of names: the first in the alphabet, or ""."""
    return min(names, default="")


def distinct(names: list[str]) -> list[str]:
    """The same names, made distinct by numbers: two outputs may be one tensor."""
    made: list[str] = []
    for name in names:
        wanted, count = name, 0
        while wanted in made:
            count += 1
            wanted = f"{name}_{count}"
        made.append(wanted)
    return made
