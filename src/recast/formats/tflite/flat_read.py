"""Read FlatBuffers without trusting them: every offset and length is checked against the file before it is used."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from recast.errors import BadModel, TooLarge
from recast.formats.tflite import schema

MAX_OBJECTS = 4_000_000  # tables and strings handed out for one file; offsets may point to one thing many times
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_FIX = "the file is truncated or damaged: copy or export it again"


class FlatFile:
    """One file of the TFLite schema.

    Args:
        data: the whole file; arrays are views into it.
        where: the file's name, for errors.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self.data, self.where, self.size = data, where, len(data)
        self._left = MAX_OBJECTS

    def spend(self, count: int) -> None:
        """Take ``count`` objects off the budget.

        Raises:
            TooLarge: the budget is used up.
        """
        self._left -= count
        if self._left < 0:
            raise TooLarge(f"more than {MAX_OBJECTS} objects are declared", self.where, _FIX)

    def damaged(self, what: str, position: int) -> BadModel:
        """The error for something wrong at a byte."""
        return BadModel(what, f"{self.where}, byte {position}", _FIX)

    def u32(self, position: int) -> int:
        """The unsigned number at a byte."""
        if not 0 <= position <= self.size - 4:
            raise self.damaged("an offset leads outside the file", position)
        return int(_U32.unpack_from(self.data, position)[0])

    def root(self, table: str) -> Table:
        """The table that the file's first offset leads to."""
        return Table(self, table, self.u32(0))

    def follow(self, position: int) -> int:
        """The byte that the relative offset at ``position`` leads to."""
        return position + self.u32(position)

    def span(self, position: int, width: int) -> tuple[int, int]:
        """First byte and length of the vector at ``position`` whose elements take ``width`` bytes."""
        length = self.u32(position)
        if length * width > self.size - position - 4:
            raise TooLarge(
                f"a vector of {length} elements is declared, {self.size - position - 4} bytes are left",
                f"{self.where}, byte {position}",
                _FIX,
            )
        return position + 4, length

    def raw(self, start: int, count: int, dtype: str = "u1") -> np.ndarray:
        """``count`` elements from byte ``start`` as a read-only view."""
        width = np.dtype(dtype).itemsize
        if start < 0 or count < 0 or start + count * width > self.size:
            raise TooLarge(f"{count * width} bytes are declared from byte {start}", self.where, _FIX)
        return np.frombuffer(self.data, dtype, count, start) if count else np.zeros(0, dtype)

    def text(self, position: int) -> str:
        """The string at ``position``; bytes that are not UTF-8 are replaced."""
        self.spend(1)
        start, length = self.span(position, 1)
        self.spend(length // 256)
        return bytes(self.data[start : start + length]).decode("utf-8", "replace")


class Table:
    """One table: fields by name, missing ones by their default.

    Raises:
        BadModel: the table or its vtable lies outside the file.
    """

    __slots__ = ("_ends", "_fields", "_vtable", "file", "name", "position")

    def __init__(self, file: FlatFile, name: str, position: int) -> None:
        file.spend(1)
        self.file, self.name, self.position = file, name, position
        vtable = position - _signed(file, position)
        if not 0 <= vtable <= file.size - 4:
            raise file.damaged(f"the vtable of a {name} lies outside the file", position)
        length = int(_U16.unpack_from(file.data, vtable)[0])
        width = int(_U16.unpack_from(file.data, vtable + 2)[0])
        if length < 4 or vtable + length > file.size or width < 4 or position + width > file.size:
            raise file.damaged(f"a {name} does not fit into the file", position)
        self._vtable, self._fields, self._ends = vtable, (length - 4) // 2, width

    def _find(self, slot: int, width: int) -> int:
        """The byte of a field's value, or 0 where the field is absent."""
        if slot >= self._fields:
            return 0
        offset = int(_U16.unpack_from(self.file.data, self._vtable + 4 + 2 * slot)[0])
        if not offset:
            return 0
        if offset < 4 or offset + width > self._ends:
            raise self.file.damaged(f"a field of {self.name} lies outside its table", self.position)
        return self.position + offset

    def place(self, name: str) -> int:
        """The byte where a field is stored, or 0 where it is absent."""
        field = _by_name(self.name)[name]
        return self._find(field.slot, schema.scalar(field.of).size if field.kind == "scalar" else 4)

    def get(self, name: str) -> Any:
        """A field's value.

        Returns:
            A number or truth value; ``""`` or a string; a ``Table`` or None; for vectors a NumPy view, or a list of
            strings or tables (empty where absent).
        """
        field = _by_name(self.name)[name]
        if field.kind == "scalar":
            codec = schema.scalar(field.of)
            at = self._find(field.slot, codec.size)
            return codec.unpack_from(self.file.data, at)[0] if at else field.default
        at = self._find(field.slot, 4)
        if field.kind == "string":
            return self.file.text(self.file.follow(at)) if at else ""
        if field.kind == "table":
            return Table(self.file, field.of, self.file.follow(at)) if at else None
        if field.kind == "union":
            kind = schema.name_of(field.of, self.get(f"{name}_type"))
            if not at or kind is None or kind == "NONE":
                return None
            return Table(self.file, kind, self.file.follow(at))
        return self._vector(field.of, self.file.follow(at) if at else 0)

    def _vector(self, of: str, position: int) -> Any:
        if of in schema.SCALARS:
            code, width = schema.SCALARS[of]
            dtype = "<" + code
            if not position:
                return np.zeros(0, dtype)
            start, length = self.file.span(position, width)
            return self.file.raw(start, length, dtype)
        if not position:
            return []
        start, length = self.file.span(position, 4)
        self.file.spend(length)
        places = (self.file.follow(start + 4 * i) for i in range(length))
        if of == "str":
            return [self.file.text(p) for p in places]
        return [Table(self.file, of, p) for p in places]


def _signed(file: FlatFile, position: int) -> int:
    file.u32(position)
    return int(_I32.unpack_from(file.data, position)[0])


_INDEX: dict[str, dict[str, schema.Field]] = {}


def _by_name(table: str) -> dict[str, schema.Field]:
    if table not in _INDEX:
        _INDEX[table] = {field.name: field for field in schema.fields(table)}
    return _INDEX[table]
