"""Graph operator → MindIR primitives: each module registers handlers with ``writes``; found by folder.

Nodes for which a handler's ``when`` is false are decomposed, if there is a way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx_ir as ir

from recast._util.registry import Registry

if TYPE_CHECKING:
    from recast.formats.mindspore.write import Writer

Handler = Callable[["Writer", ir.Node], None]
handlers: Registry[str, Handler] = Registry(__name__, __path__)
writes = handlers.register


class Refusal(Exception):
    """This node cannot be expressed; the message says why. Collected into one ``UnsupportedOp``."""


def native(node: ir.Node) -> bool:
    """Whether there is a handler that takes a node as it is."""
    return not node.domain and handlers.takes(node.op_type, node)
