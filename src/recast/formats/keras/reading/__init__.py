"""Source layers → graph: one module per family, found by folder. ``reads`` registers a handler under class names.

Operations of ``keras.ops`` (Keras 3) and TensorFlow functions (Keras 2) are registered as ``ops.<Name>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from recast._util.registry import Registry

if TYPE_CHECKING:
    from recast.formats.keras.call import LayerCall
    from recast.formats.keras.config import Layer

Handler = Callable[["LayerCall"], Any]
Masking = Literal["poison", "keep", "drop", "use"]


@dataclass(frozen=True)
class Entry:
    """What is known about one layer class.

    Attributes:
        handler: makes the nodes of one call, returns the output value or a list of values.
        weights: role names in the order of ``layer.weights`` for a config; ``~`` marks the non-trainable ones.
        children: inner layers as (path in a Keras 3 weights file, layer), in the order Keras tracks them.
        masking: what a mask of the input becomes: handed on, dropped, used by the handler, or unusable.
    """

    handler: Handler
    weights: Callable[[Mapping[str, Any]], list[str]]
    children: Callable[[Layer], list[tuple[str, Layer]]]
    masking: Masking


entries: Registry[str, Entry] = Registry(__name__, __path__)


def _nothing(_: Any) -> list[Any]:
    return []


def reads(
    *class_names: str,
    weights: Callable[[Mapping[str, Any]], list[str]] = _nothing,
    children: Callable[[Layer], list[tuple[str, Layer]]] = _nothing,
    masking: Masking = "poison",
) -> Callable[[Handler], Handler]:
    """Register a handler for layer classes.

    Raises:
        ValueError: a class is registered twice.
    """

    def register(handler: Handler) -> Handler:
        for name in class_names:
            entries.add(name, Entry(handler, weights, children, masking))
        return handler

    return register


def entry(layer: Layer) -> Entry | None:
    """The entry of a layer, or None where its class is unknown."""
    name = f"ops.{layer.class_name}" if layer.operation else layer.class_name
    return entries().get(name)
