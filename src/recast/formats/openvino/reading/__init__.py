"""OpenVINO's operators → graph: one file per family; ``@reads("Convolution")`` registers a handler, found by folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recast._util.registry import Registry

if TYPE_CHECKING:
    from recast.formats.openvino.call import Call

Handler = Callable[["Call"], None]
handlers: Registry[str, Handler] = Registry(__name__, __path__)
reads = handlers.register
handlers.add("Const", lambda c: None)
