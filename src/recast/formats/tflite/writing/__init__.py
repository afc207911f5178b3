"""Graph operators → TFLite builtins. Each module registers handlers for one family; they are found by folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from recast.graph import CHANNELS_LAST_DOMAIN

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.tflite.writing.emitter import Emitter

IMAGE = CHANNELS_LAST_DOMAIN  # image operators after the layout pass

Handler = Callable[["Emitter", "ir.Node"], None]
Test = Callable[["ir.Node"], bool]
_handlers: dict[tuple[str, str], Handler] = {}
_tests: dict[str, Test] = {}  # by operator: which nodes its handler takes, where it does not take all


class Refused(Exception):
    """One operator that TFLite cannot express, with the reason; collected into one error by the driver."""


class Missing(Refused):
    """What it reads was refused before."""


def writes(*op_types: str, domain: str = "", when: Test | None = None) -> Callable[[Handler], Handler]:
    """Register a handler for operators of a domain (``IMAGE``: activations are channels-last).

    Nodes for which ``when`` (asked before the layout is chosen) is false are decomposed, if there is a way.
    """

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if (domain, op_type) in _handlers:
                raise ValueError(f"two handlers for {op_type}")
            _handlers[domain, op_type] = handler
            if when is not None:
                _tests[op_type] = when
        return handler

    return register


@cache
def handlers() -> dict[tuple[str, str], Handler]:
    """All handlers by (domain, operator)."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _handlers


def native(node: ir.Node) -> bool:
    """Whether there is a handler that takes a node as it is."""
    known = handlers()
    if (node.domain, node.op_type) not in known and (IMAGE, node.op_type) not in known:
        return False
    test = _tests.get(node.op_type)
    return test is None or test(node)
