"""MindIR primitive → graph operators: each module registers handlers with ``reads``; found by folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.formats.mindspore.read import Call

Handler = Callable[["Call"], Any]
_HANDLERS: dict[str, Handler] = {}


class Refusal(Exception):
    """This node is not understood; the message says why. Collected into one ``UnsupportedOp``."""


def reads(*op_types: str) -> Callable[[Handler], Handler]:
    """Register a handler for primitives. Two for one primitive are a defect."""

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in _HANDLERS:
                raise ValueError(f"two handlers read {op_type}")
            _HANDLERS[op_type] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All handlers by primitive."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _HANDLERS
