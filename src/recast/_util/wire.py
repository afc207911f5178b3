"""Protobuf's wire format: zero-copy, bounded decoding of messages that a format describes as a table of fields.

Messages are plain dicts; fields that the table does not name are skipped unread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from recast._util.bounded import MAX_DEPTH, MAX_NODES
from recast.errors import BadModel, TooLarge

Message = dict[str, Any]
# message → field number → (name, kind, repeated); a kind with a capital letter is a message
Schema = Mapping[str, Mapping[int, tuple[str, str, bool]]]

WIRE_TYPE = {"int": 0, "bool": 0, "double": 1, "float": 5, "fixed32": 5}
_CODES = {"float": (4, "f"), "double": (8, "d"), "fixed32": (4, "I")}
_FIX = "the file is damaged: copy or export it again"


def varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of variable length, and where it ends.

    Raises:
        BadModel: it does not end before ``end``.
    """
    result = shift = 0
    while at < end:
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            break
    raise BadModel("a number in the file has no end", f"byte {at}", _FIX)


def signed(number: int) -> int:
    """A 64-bit number as two's complement."""
    return number - (1 << 64) if number >> 63 else number


def fields(view: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """(field number, wire type, number, bytes) of each field of one message.

    Raises:
        BadModel: the bytes are no message.
        TooLarge: a length runs over the end.
    """
    at, end = 0, len(view)
    while at < end:
        tag, at = varint(view, at, end)
        number, wire_type, value, size = tag >> 3, tag & 7, 0, 0
        if wire_type == 0:
            value, at = varint(view, at, end)
        elif wire_type == 2:
            size, at = varint(view, at, end)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise BadModel(f"wire type {wire_type} is not known", f"field {number}", _FIX)
        if size > end - at:
            raise TooLarge(f"a field declares {size} bytes, {end - at} are left", f"field {number}", _FIX)
        yield number, wire_type, value, view[at : at + size]
        at += size


def _scalars(kind: str, wire_type: int, value: int, data: memoryview) -> list[Any]:
    """The numbers of one field: one, or many where they are packed."""
    if kind in _CODES:
        width, code = _CODES[kind]
        if wire_type == 0 or len(data) % width:
            raise BadModel(f"a {kind} is stored in a wrong way", "", _FIX)
        return list(struct.unpack(f"<{len(data) // width}{code}", data))
    if wire_type == 0:
        return [bool(value) if kind == "bool" else signed(value)]
    if wire_type != 2:
        raise BadModel("a whole number is stored in a wrong way", "", _FIX)
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at, len(data))
        found.append(signed(value))
    return found


class Budget:
    """How many messages may still be decoded."""

    def __init__(self, messages: int = 16 * MAX_NODES) -> None:
        self.left = self.limit = messages

    def take(self) -> None:
        """Count one message.

        Raises:
            TooLarge: there are too many.
        """
        self.left -= 1
        if self.left < 0:
            raise TooLarge(f"the file holds more than {self.limit} messages", "", "split the model")


def decode(schema: Schema, kind: str, view: memoryview, budget: Budget | None = None) -> Message:
    """Decode a message; ``bytes`` fields are views into the file.

    Raises:
        BadModel: the bytes are no such message.
        TooLarge: a length runs over the end, or there are too many parts.
    """
    return _decode(schema, kind, view, 0, budget or Budget())


def _decode(schema: Schema, kind: str, view: memoryview, depth: int, budget: Budget) -> Message:
    if depth > MAX_DEPTH:
        raise TooLarge(f"messages are nested deeper than {MAX_DEPTH}", kind, _FIX)
    budget.take()
    known_fields, message = schema[kind], Message()
    for number, wire_type, value, data in fields(view):
        known = known_fields.get(number)
        if known is None:
            continue
        name, field_kind, repeated = known
        if field_kind in WIRE_TYPE:
            found = _scalars(field_kind, wire_type, value, data)
            if repeated:
                message.setdefault(name, []).extend(found)
            elif found:
                message[name] = found[-1]
            continue
        if wire_type != 2:
            raise BadModel(f"field {name} of {kind} is stored in a wrong way", "", _FIX)
        item: Any = data
        if field_kind == "string":
            item = _text(data, name)
        elif field_kind == "skip":
            item = True
        elif field_kind != "bytes":
            item = _decode(schema, field_kind, data, depth + 1, budget)
        if repeated:
            message.setdefault(name, []).append(item)
        else:
            message[name] = item
    return message


def _text(data: memoryview, name: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise BadModel(f"the text in field {name} is not UTF-8", "", _FIX) from error
