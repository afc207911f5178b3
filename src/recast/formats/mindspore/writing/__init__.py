"""Graph operator → MindIR primitives: each module registers handlers with ``writes``; found by folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from recast.formats.mindspore.write import Writer

Handler = Callable[["Writer", ir.Node], None]
_HANDLERS: dict[str, Handler] = {}


class Refusal(Exception):
    """This node cannot be expressed; the message says why. Collected into one ``UnsupportedOp``."""


def writes(*op_types: str) -> Callable[[Handler], Handler]:
    """Register a handler for graph operators. Two for one operator are a defect."""

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in _HANDLERS:
                raise ValueError(f"two handlers write {op_type}")
            _HANDLERS[op_type] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All handlers by graph operator."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _HANDLERS
