"""What a section of a report is made of: paragraphs, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A paragraph. ``level``: ``info`` or ``warning``."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Table:
    """Rows under column heads; the first column names the row, the others hold figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture as SVG; left out of the text. ``caption`` says what is seen, ``wide``: over the whole page."""

    svg: str
    caption: str
    wide: bool = False


Block = Note | Table | Figure


@dataclass(frozen=True)
class Section:
    """A titled part of a report."""

    title: str
    blocks: Sequence[Block]
