"""MindIR's messages: the table of their fields, and streamed encoding (decoding: ``_util/wire.py``).

Field numbers are those of ``mind_ir.proto`` (Apache-2.0, mindspore/core/proto);
fields that carry nothing Recast uses (gradients, parallel layouts, notes) are skipped unread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recast._util import wire
from recast._util.wire import WIRE_TYPE
from recast._util.wire import Message as Message

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


def decode(kind: str, view: memoryview) -> Message:
    """Decode a message; ``bytes`` fields are views into the file.

    Raises:
        BadModel: the bytes are no such message.
        TooLarge: a length runs over the end, or there are too many parts.
    """
    return wire.decode(SCHEMA, kind, view)


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
    if kind in WIRE_TYPE:
        head = _number(number << 3 | WIRE_TYPE[kind])
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
