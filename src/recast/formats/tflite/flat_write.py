"""Write a flatbuffer front to back: tables first, then vectors of numbers (equal ones once: shapes, zero points of
channels), big byte vectors last, streamed and never copied.

Offsets in a flatbuffer point forward, so a parent is written before its children and patched. Vectors given as
`Blob` are only placed: their bytes are asked for while the file is written, one after another.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recast._util import pages
from recast.formats.tflite import schema

ALIGN = 16  # of every byte vector, so that kernels may map it
_OFFSET_LIMIT = 2**31 - 1  # LiteRT refuses larger flatbuffers; more data goes behind it
_RESERVE = 2**26  # room kept for the tables when deciding that

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True)
class Blob:
    """Bytes that are made only when they are written.

    Args:
        size: number of bytes.
        data: gives them; called once, right before writing.
    """

    size: int
    data: Callable[[], Any]


class Encoder:
    """Encodes tables given as mappings from field name to value.

    Values: numbers for scalars, ``str``/``bytes`` for strings, mappings for tables, ``(table name, mapping)`` for
    unions (their type field is set from it), sequences or arrays for vectors, ``Blob`` for streamed byte vectors.
    Fields that are absent, None or equal to their default are left out.
    """

    def __init__(self) -> None:
        self.head = bytearray()
        self.blobs: list[tuple[int, Blob]] = []  # where the offset is patched
        self._vtables: dict[bytes, int] = {}
        self._vectors: dict[tuple[int, int, bytes], list[int]] = {}  # equal ones are written once, at the end

    def root(self, table: str, values: Mapping[str, Any]) -> None:
        """Encode the root table behind the file identifier."""
        self.head += b"\0\0\0\0" + schema.IDENTIFIER
        self._patch(0, self._table(table, values))
        for (align, count, data), places in self._vectors.items():
            self._pad(align, 4)
            for at in places:
                self._patch(at, len(self.head))
            self.head += _U32.pack(count) + data

    def _pad(self, size: int, plus: int = 0) -> None:
        """Pad so that the position ``plus`` bytes on is a multiple of ``size``."""
        self.head += bytes(-(len(self.head) + plus) % size)

    def _patch(self, at: int, target: int) -> None:
        _U32.pack_into(self.head, at, target - at)

    def _table(self, table: str, values: Mapping[str, Any]) -> int:
        present = _present(table, values)
        present.sort(key=lambda item: -_width(item[0]))  # widest first: no holes
        wide = bool(present) and _width(present[0][0]) == 8
        slots: dict[int, int] = {}
        size = 4
        for field, _ in present:
            slots[field.slot] = size
            size += _width(field)
        count = max(slots, default=-1) + 1
        vtable = struct.pack(f"<HH{count}H", 4 + 2 * count, size, *(slots.get(i, 0) for i in range(count)))
        where = self._vtables.get(vtable)
        if where is None:
            self._pad(2)
            where = self._vtables[vtable] = len(self.head)
            self.head += vtable
        self._pad(8 if wide else 4, 4)
        start = len(self.head)
        self.head += bytes(size)
        _I32.pack_into(self.head, start, start - where)
        later = []
        for field, value in present:
            at = start + slots[field.slot]
            if field.kind == "scalar":
                schema.scalar(field.of).pack_into(self.head, at, value)
            else:
                later.append((at, field, value))
        for at, field, value in later:
            self._child(at, field, value)
        return start

    def _child(self, at: int, field: schema.Field, value: Any) -> None:
        if isinstance(value, Blob):
            self.blobs.append((at, value))
        elif field.kind == "table":
            self._patch(at, self._table(field.of, value))
        elif field.kind == "union":
            self._patch(at, self._table(*value))
        elif field.kind == "string":
            self._string(at, value)
        elif field.of in schema.SCALARS:
            self._scalars(at, field.of, value)
        else:
            self._vector(at, field.of, value)

    def _string(self, at: int, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self._pad(4)
        self._patch(at, len(self.head))
        self.head += _U32.pack(len(data)) + data + b"\0"

    def _scalars(self, at: int, kind: str, values: Any) -> None:
        code, width = schema.SCALARS[kind]
        if isinstance(values, np.ndarray):
            data = values.astype(np.dtype("<" + code), copy=False).tobytes()
        elif width == 1 and isinstance(values, (bytes, bytearray, memoryview)):
            data = bytes(values)
        else:
            data = struct.pack(f"<{len(values)}{code}", *values)
        align = ALIGN if kind == "u8" else max(4, width)
        self._vectors.setdefault((align, len(data) // width, data), []).append(at)

    def _vector(self, at: int, of: str, values: Sequence[Any]) -> None:
        self._pad(4)
        start = len(self.head)
        self._patch(at, start)
        self.head += _U32.pack(len(values)) + bytes(4 * len(values))
        for index, value in enumerate(values):
            place = start + 4 + 4 * index
            if of == "str":
                self._string(place, value)
            else:
                self._patch(place, self._table(of, value))


def _present(table: str, values: Mapping[str, Any]) -> list[tuple[schema.Field, Any]]:
    """The fields to write; a union's type field is derived from its value."""
    found: list[tuple[schema.Field, Any]] = []
    known = schema.fields(table)
    count = 0
    for index, field in enumerate(known):
        value = values.get(field.name)
        if value is None:
            continue
        count += 1
        if field.kind == "union":
            found.append((known[index - 1], schema.number(field.of, value[0])))
        if field.kind != "scalar" or value != field.default:
            found.append((field, value))
    if count < sum(v is not None for v in values.values()):
        raise KeyError(f"{table} has no field among {sorted(values)}")
    return found


def _width(field: schema.Field) -> int:
    return schema.SCALARS[field.of][1] if field.kind == "scalar" else 4


def write_model(path: Path, model: dict[str, Any]) -> None:
    """Write a ``Model`` mapping; each buffer is a ``Blob``, or None for the empty one.

    When the buffers would not fit a 2 GB flatbuffer they are stored behind it (``Buffer.offset``, ``Buffer.size``).
    """
    blobs: list[Blob | None] = model["buffers"]
    behind = sum(b.size for b in blobs if b is not None) > _OFFSET_LIMIT - _RESERVE
    encoder = Encoder()
    if behind:
        # 2 is a placeholder: 0 and 1 would mean that there is nothing outside
        buffers: list[dict[str, Any]] = [{} if b is None else {"offset": 2, "size": b.size} for b in blobs]
    else:
        buffers = [{} if b is None else {"data": b} for b in blobs]
    encoder.root("Model", {**model, "buffers": buffers})
    with open(path, "wb") as file:
        if behind:
            _write_behind(file, encoder, [b for b in blobs if b is not None])
        else:
            _write_inside(file, encoder)


def _write_inside(file: BinaryIO, encoder: Encoder) -> None:
    places = []
    end = len(encoder.head)
    for at, blob in encoder.blobs:
        start = end + -(end + 4) % ALIGN
        _U32.pack_into(encoder.head, at, start - at)
        places.append((start, blob))
        end = start + 4 + blob.size
    file.write(encoder.head)
    position = len(encoder.head)
    for start, blob in places:
        file.write(bytes(start - position) + _U32.pack(blob.size))
        file.write(blob.data())
        pages.used(blob.size)
        position = start + 4 + blob.size
    file.write(bytes(-position % 4))


def _write_behind(file: BinaryIO, encoder: Encoder, blobs: list[Blob]) -> None:
    position = len(encoder.head)
    file.write(encoder.head)
    starts = []
    for blob in blobs:
        start = position + -position % ALIGN
        file.write(bytes(start - position))
        file.write(blob.data())
        pages.used(blob.size)
        starts.append(start)
        position = start + blob.size
    for at, start in zip(_offset_places(encoder.head), starts, strict=True):
        file.seek(at)
        file.write(_U64.pack(start))


def _offset_places(head: bytearray) -> list[int]:
    """Where the ``offset`` fields of the non-empty buffers are, by walking the tables just written."""
    places = []
    root = _U32.unpack_from(head, 0)[0]
    vector = _follow(head, root, 4)
    for index in range(_U32.unpack_from(head, vector)[0]):
        entry = vector + 4 + 4 * index
        table = entry + _U32.unpack_from(head, entry)[0]
        at = _field(head, table, 1)
        if at:
            places.append(at)
    return places


def _field(head: bytearray, table: int, slot: int) -> int:
    vtable = table - _I32.unpack_from(head, table)[0]
    if 4 + 2 * slot >= _U16.unpack_from(head, vtable)[0]:
        return 0
    offset: int = _U16.unpack_from(head, vtable + 4 + 2 * slot)[0]
    return table + offset if offset else 0


def _follow(head: bytearray, table: int, slot: int) -> int:
    at = _field(head, table, slot)
    target: int = at + _U32.unpack_from(head, at)[0]
    return target
