"""OpenVINO's operators → graph: one file per family; ``@reads("Convolution")`` registers a handler, found by folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recast.formats.openvino.call import Call

Handler = Callable[["Call"], None]
_HANDLERS: dict[str, Handler] = {"Const": lambda c: None}


def reads(*kinds: str) -> Callable[[Handler], Handler]:
    """Register a function as the reader of operators of these kinds.

    Raises:
        ValueError: a kind has a reader already.
    """

    def register(handler: Handler) -> Handler:
        for kind in kinds:
            if kind in _HANDLERS:
                raise ValueError(f"{kind} is read twice")
            _HANDLERS[kind] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All readers by operator kind."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _HANDLERS
