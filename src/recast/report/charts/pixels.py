"""Small images inside a page: PNG bytes (ISO/IEC 15948) made here and embedded as data."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

from recast.report.charts import svg

_CELL, _GAP, _HEAD = 128, 10, 34
# anchors of a perceptually even dark-to-light scale (viridis)
_SHADES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def png(rows: Sequence[Sequence[Sequence[int]]]) -> str:
    """A data address of an RGB picture; values 0–255."""
    height, width = len(rows), len(rows[0])
    raw = b"".join(b"\0" + bytes(v for pixel in row for v in pixel) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def shaded(values: Sequence[Sequence[int]]) -> list[list[tuple[int, int, int]]]:
    """Numbers 0–255 as colours."""
    return [[_shade(v / 255) for v in row] for row in values]


def _shade(at: float) -> tuple[int, int, int]:
    place = min(max(at, 0.0), 1.0) * (len(_SHADES) - 1)
    index = min(int(place), len(_SHADES) - 2)
    part = place - index
    r, g, b = (round(a + (c - a) * part) for a, c in zip(_SHADES[index], _SHADES[index + 1], strict=True))
    return r, g, b


def sheet(columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], title: str) -> str:
    """Pictures in rows under column heads; ``notes`` stand at the rows' ends."""
    width = len(columns) * (_CELL + _GAP) + 130
    parts = [svg.label(0, 14, title, font_weight="600")]
    for index, name in enumerate(columns):
        at = index * (_CELL + _GAP)
        parts.append(svg.label(at, _HEAD, svg.shortened(name, _CELL, 11), font_size=11, fill=svg.FAINT))
    for number, row in enumerate(rows):
        up = _HEAD + 8 + number * (_CELL + _GAP)
        for index, address in enumerate(row):
            place = {"x": index * (_CELL + _GAP), "y": up, "width": _CELL, "height": _CELL}
            style = "image-rendering:pixelated"
            parts.append(svg.element("image", href=address, **place, style=style, preserveAspectRatio="xMidYMid meet"))
        end = len(columns) * (_CELL + _GAP)
        for place_, words in enumerate(notes[number].split("\n")):
            parts.append(svg.label(end, up + 16 + 16 * place_, words, font_size=11, fill=svg.FAINT))
    return svg.drawing(width, _HEAD + 8 + len(rows) * (_CELL + _GAP), parts, title)
