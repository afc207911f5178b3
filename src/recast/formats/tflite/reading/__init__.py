"""TFLite operators → graph: one file per family; ``@reads("CONV_2D")`` registers a handler, found by folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recast._util.registry import Registry

if TYPE_CHECKING:
    from recast.formats.tflite.read_call import Call

Handler = Callable[["Call"], None]
handlers: Registry[str, Handler] = Registry(__name__, __path__)
reads = handlers.register
