"""Graph operators → TFLite builtins. Each module registers handlers for one family; they are found by folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recast._util.registry import Registry
from recast.graph import CHANNELS_LAST_DOMAIN

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.tflite.writing.emitter import Emitter

IMAGE = CHANNELS_LAST_DOMAIN  # image operators after the layout pass

Handler = Callable[["Emitter", "ir.Node"], None]
Test = Callable[["ir.Node"], bool]
handlers: Registry[tuple[str, str], Handler] = Registry(__name__, __path__)  # by domain and operator


class Refused(Exception):
    """One operator that TFLite cannot express, with the reason; collected into one error by the driver."""


class Missing(Refused):
    """What it reads was refused before."""


def writes(*op_types: str, domain: str = "", when: Test | None = None) -> Callable[[Handler], Handler]:
    """Register a handler for operators of a domain (``IMAGE``: activations are channels-last).

    Nodes for which ``when`` (asked before the layout is chosen) is false are decomposed, if there is a way.
    """

    return handlers.register(*((domain, op_type) for op_type in op_types), when=when)


def native(node: ir.Node) -> bool:
    """Whether there is a handler that takes a node as it is."""
    return any(handlers.takes((domain, node.op_type), node) for domain in (node.domain, IMAGE))
