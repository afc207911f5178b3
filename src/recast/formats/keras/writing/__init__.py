"""Graph operators → Keras layers: one module per operator family, found by folder.

A module registers its handlers with ``@writes("Conv", ...)``. A handler gets the ``Context`` and the node, adds layers
and binds the node's outputs; it raises ``Unfit`` with a reason where Keras has no equal.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from recast.errors import InternalError

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.keras.writing._context import Context

    Handler = Callable[[Context, ir.Node], None]

CHANNELS_LAST = "recast.channels_last"
CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN"}
    | {"InstanceNormalization", "GroupNormalization", "BatchNormalization", "DepthToSpace", "SpaceToDepth"}
)
_HANDLERS: dict[str, Handler] = {}


class Unfit(Exception):  # noqa: N818 caught inside this package, never shown as it is
    """A node cannot be expressed; the message is the reason."""


def writes(*op_types: str) -> Callable[[Handler], Handler]:
    """Register a handler for operators."""

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            if op_type in _HANDLERS:
                raise InternalError(f"two handlers write {op_type} to Keras")
            _HANDLERS[op_type] = handler
        return handler

    return register


@cache
def catalogue() -> dict[str, Handler]:
    """All handlers by operator."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(_HANDLERS)
