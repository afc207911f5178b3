"""Recognise a frozen graph by its first bytes."""

from __future__ import annotations

import re

from recast._util.wire import varint
from recast.errors import BadModel

_NAME = re.compile(rb"[A-Za-z0-9.^][A-Za-z0-9_.\\/>-]*")
_KIND = re.compile(rb"[A-Za-z_][A-Za-z0-9_>]*")


def is_graph(head: bytes) -> bool:
    """Whether this is how a GraphDef starts: a node with a name and then an operator.

    (An ONNX file starts with a number, a MindIR file with a version.)
    """
    view = memoryview(head)
    try:
        if head[:1] != b"\x0a":
            return False
        size, at = varint(view, 1, len(head))
        if size < 6 or head[at : at + 1] != b"\x0a":
            return False
        length, at = varint(view, at + 1, len(head))
        name, at = head[at : at + length], at + length
        if head[at : at + 1] != b"\x12" or _NAME.fullmatch(name) is None:
            return False
        length, at = varint(view, at + 1, len(head))
        return 0 < length <= len(head) - at and _KIND.fullmatch(head[at : at + length]) is not None
    except BadModel:
        return False
