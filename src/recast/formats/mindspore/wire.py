"""Protobuf's wire format for MindIR: zero-copy bounded decoding, streamed encoding.

Messages are plain dicts. Field numbers are those of ``mind_ir.proto`` (Apache-2.0, mindspore/core/proto);
fields that carry nothing Recast uses (gradients, parallel layouts, notes) are skipped unread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from recast._util.bounded import MAX_DEPTH, MAX_NODES
from recast.errors import BadModel, TooLarge

Message = dict[str, Any]

# message → field number → (name, kind, repeated); a kind with a capital letter is a message
SCHEMA: dict[str, dict[int, tuple[str, str, bool]]] = {
    "Model": {
        1: ("ir_version", "string", False),
        2: ("producer_name", "string", False),
        3: ("producer_version", "string", False),
        5: ("model_version", "string", False),
        7: ("graph", "Graph", False),
        8: ("functions", "Graph", True),
        9: ("preprocessor", "skip", False),
        10: ("little_endian", "bool", False),
        12: ("primitives", "Primitive", True),
        13: ("mind_ir_version", "int", False),
    },
    "Graph": {
        1: ("node", "Node", True),
        2: ("name", "string", False),
        3: ("parameter", "Tensor", True),
        5: ("input", "ValueInfo", True),
        6: ("output", "ValueInfo", True),
        10: ("map_parameter", "skip", True),
    },
    "Node": {
        1: ("input", "string", True),
        2: ("output", "string", True),
        3: ("name", "string", False),
        4: ("op_type", "string", False),
        5: ("attribute", "Attribute", True),
        7: ("domain", "string", False),
    },
    "Primitive": {
        1: ("name", "string", False),
        2: ("op_type", "string", False),
        3: ("attribute", "Attribute", True),
        4: ("instance_name", "string", False),
        5: ("prim_type", "int", False),
    },
    "ValueInfo": {
        1: ("name", "string", False),
        2: ("tensor", "Tensor", True),
        5: ("attr_info", "Attribute", False),
    },
    "Attribute": {
        1: ("name", "string", False),
        2: ("f", "float", False),
        3: ("i", "int", False),
        4: ("d", "double", False),
        5: ("s", "bytes", False),
        6: ("t", "Tensor", False),
        8: ("floats", "float", True),
        9: ("doubles", "double", True),
        10: ("ints", "int", True),
        11: ("strings", "bytes", True),
        12: ("tensors", "Tensor", True),
        16: ("type", "int", False),
        17: ("values", "Attribute", True),
        19: ("functor", "skip", False),
        20: ("graph_holder", "skip", False),
    },
    "Tensor": {
        1: ("dims", "int", True),
        2: ("data_type", "int", False),
        3: ("float_data", "float", True),
        4: ("int32_data", "int", True),
        6: ("int64_data", "int", True),
        7: ("name", "string", False),
        9: ("raw_data", "bytes", False),
        10: ("double_data", "double", True),
        12: ("external_data", "ExternalData", False),
        13: ("ref_key", "string", False),
        16: ("compression_type", "int", False),
    },
    "ExternalData": {
        1: ("location", "string", False),
        2: ("offset", "int", False),
        3: ("length", "int", False),
    },
    "Checkpoint": {1: ("value", "CheckpointValue", True)},
    "CheckpointValue": {1: ("tag", "string", False), 2: ("tensor", "CheckpointTensor", False)},
    "CheckpointTensor": {
        1: ("dims", "int", True),
        2: ("tensor_type", "string", False),
        3: ("tensor_content", "bytes", False),
    },
}
_BY_NAME = {kind: {name: (n, k, r) for n, (name, k, r) in fields.items()} for kind, fields in SCHEMA.items()}
_WIRE_TYPE = {"int": 0, "bool": 0, "double": 1, "float": 5}
_FIX = "the file is damaged: copy or export it again"


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
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


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """(field number, wire type, number, bytes) of each field of one message."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at, end)
        number, wire_type, value, size = tag >> 3, tag & 7, 0, 0
        if wire_type == 0:
            value, at = _varint(view, at, end)
        elif wire_type == 2:
            size, at = _varint(view, at, end)
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
    if kind in ("float", "double"):
        width, code = (4, "f") if kind == "float" else (8, "d")
        if wire_type == 0 or len(data) % width:
            raise BadModel(f"a {kind} is stored in a wrong way", "", _FIX)
        return list(struct.unpack(f"<{len(data) // width}{code}", data))
    if wire_type == 0:
        return [bool(value) if kind == "bool" else _signed(value)]
    if wire_type != 2:
        raise BadModel("a whole number is stored in a wrong way", "", _FIX)
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at, len(data))
        found.append(_signed(value))
    return found


class _Budget:
    def __init__(self, messages: int) -> None:
        self.left = messages

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooLarge(f"the file holds more than {16 * MAX_NODES} messages", "", "split the model")


def decode(kind: str, view: memoryview) -> Message:
    """Decode a message; ``bytes`` fields are views into the file.

    Raises:
        BadModel: the bytes are no such message.
        TooLarge: a length runs over the end, or there are too many parts.
    """
    return _decode(kind, view, 0, _Budget(16 * MAX_NODES))


def _decode(kind: str, view: memoryview, depth: int, budget: _Budget) -> Message:
    if depth > MAX_DEPTH:
        raise TooLarge(f"messages are nested deeper than {MAX_DEPTH}", kind, _FIX)
    budget.take()
    schema, message = SCHEMA[kind], Message()
    for number, wire_type, value, data in _fields(view):
        known = schema.get(number)
        if known is None:
            continue
        name, field_kind, repeated = known
        if field_kind in _WIRE_TYPE:
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
            item = _decode(field_kind, data, depth + 1, budget)
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


@dataclass(frozen=True)
class Stream:
    """Bytes that are loaded only when they are written."""

    nbytes: int
    load: Callable[[], memoryview]


Piece = bytes | Stream


def _number(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(kind: str, message: Message) -> list[Piece]:
    """Encode a message as pieces, to be written one after the other."""
    return _encode(kind, message)[0]


def _encode(kind: str, message: Message) -> tuple[list[Piece], int]:
    schema, pieces, total = _BY_NAME[kind], list[Piece](), 0
    for name, held in message.items():
        number, field_kind, repeated = schema[name]
        for value in held if repeated else (held,):
            parts, size = _encode_field(number, field_kind, value)
            total += size
            pieces.extend(parts)
    return pieces, total


def _encode_field(number: int, kind: str, value: Any) -> tuple[list[Piece], int]:
    if kind in _WIRE_TYPE:
        head = _number(number << 3 | _WIRE_TYPE[kind])
        body = struct.pack("<f" if kind == "float" else "<d", value) if kind in ("float", "double") else _number(value)
        return [head + body], len(head) + len(body)
    parts: list[Piece]
    if kind == "string":
        parts = [value.encode()]
        size = len(value.encode())
    elif kind == "bytes":
        parts, size = [value], value.nbytes if isinstance(value, Stream) else len(value)
    else:
        parts, size = _encode(kind, value)
    head = _number(number << 3 | 2) + _number(size)
    if kind != "Graph" and all(isinstance(p, bytes) for p in parts):  # keeps the number of pieces small
        return [head + b"".join(p for p in parts if isinstance(p, bytes))], len(head) + size
    return [head, *parts], len(head) + size
