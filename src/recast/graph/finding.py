"""What a reader, pass or writer tells the user. No heavy import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import onnx_ir as ir

_KEY = "recast.findings"


@dataclass(frozen=True)
class Finding:
    """Something a reader, pass or writer did that the user must know: never silent (code, where, why)."""

    what: str
    where: str = ""
    level: Literal["info", "warning"] = "info"


def attach(model: ir.Model, findings: Iterable[Finding]) -> None:
    """Let a reader's findings travel with its model (in ``model.meta``, which is never written to a file)."""
    model.meta[_KEY] = tuple(findings)


def attached(model: ir.Model) -> tuple[Finding, ...]:
    """What the reader found."""
    found: tuple[Finding, ...] = model.meta.get(_KEY, ())
    return found
