"""What a reader, pass or writer tells the user. No heavy import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something a reader, pass or writer did that the user must know: never silent (code, where, why)."""

    what: str
    where: str = ""
    level: Literal["info", "warning"] = "info"
