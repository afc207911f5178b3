"""Graph → PyTorch source: one file per operator family; handlers register with ``@writes`` and are found by folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recast._util.registry import Registry

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.torch.writing._emitter import Emitter
    from recast.formats.torch.writing._ints import Ints

# A handler gives the expression of the node's value(s), or host integers, or None where it emitted everything itself.
Handler = Callable[["Emitter", "ir.Node"], "str | Ints | None"]

handlers: Registry[str, Handler] = Registry(__name__, __path__)
writes = handlers.register


class Refuse(Exception):
    """Raised by a handler: this node cannot be expressed, and why."""
