"""Look into a graph: constants, attributes, shapes, origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.graph import LAYER


def const(value: ir.Value | None) -> np.ndarray | None:
    """The array of a constant value (initializer or Constant node), else None."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def is_const(value: ir.Value | None) -> bool:
    """Whether a value is a constant; nothing is loaded."""
    if value is None:
        return False
    return value.const_value is not None or ir.convenience.get_const_tensor(value) is not None


def attr(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute's Python value (lists for repeated ones), or ``default``."""
    found = node.attributes.data.get(name)  # the dictionary itself: this is asked for all the time
    if found is None:
        return default
    return list(found.value) if isinstance(found.value, tuple) else found.value


def rank(value: ir.Value) -> int | None:
    """Number of dimensions, or None where unknown."""
    return None if value.shape is None else len(value.shape)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """The shape if every dimension is a number, else None."""
    if value.shape is None or not all(isinstance(d, int) for d in value.shape):
        return None
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def dims(value: ir.Value) -> tuple[int | str | None, ...]:
    """The shape with symbolic dimensions as names (None: unknown).

    Raises:
        UnsupportedOp: not even the number of dimensions is known.
    """
    if value.shape is None:
        maker = value.producer()
        told = f"{maker.op_type} in {layer_of(maker)}" if maker is not None else ""
        raise UnsupportedOp(
            f"the number of dimensions of '{value.name}' is not known before it runs",
            told,
            "fix the shapes of the inputs (--input), or choose a target that keeps the operator (ONNX, PyTorch)",
        )
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def told_dims(value: ir.Value | None) -> tuple[int | str, ...] | None:
    """The shape, or None where one of its dimensions has neither size nor name."""
    if value is None or value.shape is None:
        return None
    found = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return None if None in found else found  # type: ignore[return-value]


def broadcast(shapes: Iterable[tuple[int | str, ...] | None]) -> tuple[int | str, ...] | None:
    """The shape that operands have together; None where one is unknown or names do not prove that they fit."""
    result: list[int | str] = []
    for shape in shapes:
        if shape is None:
            return None
        result = [*[1] * (len(shape) - len(result)), *result]
        for place, dim in enumerate(reversed(shape), 1):
            if dim != 1 and result[-place] not in (1, dim):
                return None
            result[-place] = result[-place] if dim == 1 else dim
    return tuple(result)


def layer_of(node: ir.Node) -> str:
    """The source's layer path, else the node's name."""
    return node.metadata_props.get(LAYER) or node.name or node.op_type


def all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Every node, those of sub-graphs after the one that holds them: onnx-ir's own iterator takes twice the time."""
    for node in graph:
        yield node
        for attribute in node.attributes.data.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from all_nodes(attribute.as_graph())
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    yield from all_nodes(inner)


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The only node that uses a value, if there is exactly one use and it is no graph output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_scalar(value: ir.Value | None, wanted: float) -> bool:
    """Whether a value is a one-element constant equal to ``wanted``."""
    array = const(value)
    return array is not None and array.size == 1 and float(array.reshape(-1)[0]) == wanted


def replace(old: Sequence[ir.Value], new: Sequence[ir.Value]) -> None:
    """Let all users, and the graph outputs, use ``new`` instead; graph outputs keep their names."""
    for before, after in zip(old, new, strict=True):
        ir.convenience.replace_all_uses_with(before, after, replace_graph_outputs=True)
