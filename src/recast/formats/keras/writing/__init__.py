"""Graph operators → Keras layers: one module per operator family, found by folder.

A module registers its handlers with ``@writes("Conv", ...)``. A handler gets the ``Context`` and the node, adds layers
and binds the node's outputs; it raises ``Unfit`` with a reason where Keras has no equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recast._util.registry import Registry

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.keras.writing._context import Context

CHANNELS_LAST = "recast.channels_last"
CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN"}
    | {"InstanceNormalization", "GroupNormalization", "BatchNormalization", "DepthToSpace", "SpaceToDepth"}
)
Handler = Callable[["Context", "ir.Node"], None]
handlers: Registry[str, Handler] = Registry(__name__, __path__)
writes = handlers.register


class Unfit(Exception):  # noqa: N818 caught inside this package, never shown as it is
    """A node cannot be expressed; the message is the reason."""
