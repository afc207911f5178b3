"""Graph → PyTorch source: one file per operator family; handlers register with ``@writes`` and are found by folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.torch.writing._emitter import Emitter
    from recast.formats.torch.writing._ints import Ints

# A handler gives the expression of the node's value(s), or host integers, or None where it emitted everything itself.
Handler = Callable[["Emitter", "ir.Node"], "str | Ints | None"]

_handlers: dict[str, Handler] = {}


class Refuse(Exception):
    """Raised by a handler: this node cannot be expressed, and why."""


def writes(*op_types: str) -> Callable[[Handler], Handler]:
    """Register a handler for operators of the standard domain."""

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in _handlers:
                raise ValueError(f"two handlers write {op_type}")
            _handlers[op_type] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All handlers by operator."""
    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg and not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(_handlers)
