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
Test = Callable[[ir.Node], bool]
_HANDLERS: dict[str, Handler] = {}
_TESTS: dict[str, Test] = {}  # by operator: which nodes its handler takes, where it does not take all


class Refusal(Exception):
    """This node cannot be expressed; the message says why. Collected into one ``UnsupportedOp``."""


def writes(*op_types: str, when: Test | None = None) -> Callable[[Handler], Handler]:
    """Register a handler for graph operators. Two for one operator are a defect.

    Nodes for which ``when`` is false are decomposed, if there is a way.
    """

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in _HANDLERS:
                raise ValueError(f"two handlers write {op_type}")
            _HANDLERS[op_type] = handler
            if when is not None:
                _TESTS[op_type] = when
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All handlers by graph operator."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _HANDLERS


def native(node: ir.Node) -> bool:
    """Whether there is a handler that takes a node as it is."""
    if node.domain or node.op_type not in handlers():
        return False
    test = _TESTS.get(node.op_type)
    return test is None or test(node)
