"""MindIR primitive → graph operators: each module registers handlers with ``reads``; found by folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recast._util.registry import Registry

if TYPE_CHECKING:
    from recast.formats.mindspore.read import Call

Handler = Callable[["Call"], Any]
handlers: Registry[str, Handler] = Registry(__name__, __path__)
reads = handlers.register


class Refusal(Exception):
    """This node is not understood; the message says why. Collected into one ``UnsupportedOp``."""
