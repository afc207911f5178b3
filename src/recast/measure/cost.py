"""Multiply-accumulates of a graph, from the operator facts (``ops``): named dims get sizes, then are multiplied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recast.graph.view import attr, dims, layer_of
from recast.ops import Fact, Operand, fact

if TYPE_CHECKING:
    import onnx_ir as ir

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class LayerCost:
    """One layer: multiply-accumulates of one sample, weights by number, bytes of its stored constants."""

    name: str
    macs: int
    parameters: int
    weight_bytes: int


@dataclass(frozen=True)
class Cost:
    """What one run of a graph costs.

    Attributes:
        macs: multiply-accumulates at the given sizes (batch 1 unless it is fixed).
        layers: in the order of the graph; only layers with multiply-accumulates or weights.
        unknown: operators whose cost could not be counted, with the reason; they are not in ``macs``.
    """

    macs: int
    layers: tuple[LayerCost, ...]
    unknown: tuple[str, ...] = ()


class _Unknown(Exception):
    """A node's cost cannot be counted; ``str()`` says why."""


def of(model: ir.Model, sizes: Sizes | None = None) -> Cost:
    """Count the multiply-accumulates of a graph.

    Sub-graphs: an If costs its dearer branch; bodies of Loop and Scan are counted once and named in ``unknown``.

    Args:
        model: a graph in the dialect, with shapes.
        sizes: sizes of symbolic dimensions by name; those not given are 1 (one sample).
    """
    names = dict(sizes or {})
    unknown: list[str] = []
    layers: dict[str, list[int]] = {}
    counted: set[ir.Value] = set()
    for node in model.graph:
        entry = layers.setdefault(layer_of(node), [0, 0, 0])
        entry[0] += _node(node, names, unknown)
        for value in _weights(node, counted):
            if value.const_value is not None:
                entry[2] += value.const_value.nbytes
                entry[1] += value.const_value.size if _is_weight(value) else 0
    found = tuple(LayerCost(n, m, p, b) for n, (m, p, b) in layers.items() if m or p)
    return Cost(sum(line.macs for line in found), found, tuple(unknown))


def of_node(node: ir.Node, sizes: Sizes | None = None) -> int:
    """Multiply-accumulates of one node; 0 where they cannot be counted."""
    return _node(node, dict(sizes or {}), [])


def _weights(node: ir.Node, counted: set[ir.Value]) -> list[ir.Value]:
    found = [v for v in node.inputs if v is not None and v.const_value is not None and v not in counted]
    counted.update(found)
    return [v for v in found if v.const_value is not None and (v.dtype is None or v.dtype.name != "INT64")]


def _is_weight(value: ir.Value) -> bool:
    if value.const_value is None or not len(value.const_value.shape):
        return False
    scales = [u.node.op_type in ("DequantizeLinear", "QuantizeLinear") for u in value.uses()]
    if all(scales) and all(u.idx > 0 for u in value.uses()):
        return False
    return value.const_value.dtype.is_floating_point() or any(scales)


def _node(node: ir.Node, sizes: Sizes, unknown: list[str]) -> int:
    bodies = [a.as_graph() for a in node.attributes.values() if a.type.name == "GRAPH"]
    if bodies:
        costs = [sum(_node(inner, sizes, unknown) for inner in body) for body in bodies]
        if node.op_type != "If":
            unknown.append(f"{node.op_type} ({layer_of(node)}): its body is counted once")
        return max(costs)
    facts = fact(node.op_type)
    if facts is None or not facts.macs:
        return 0
    try:
        return _count(node, facts, sizes)
    except _Unknown as error:
        unknown.append(f"{node.op_type} ({layer_of(node)}): {error}")
        return 0


def _count(node: ir.Node, facts: Fact, sizes: Sizes) -> int:
    """Evaluate ``facts.macs``: terms joined by ``+``; factors are named dims or operands (all their elements)."""
    bound, shapes = _bind(node, facts, sizes)
    total = 0
    for term in facts.macs.split("+"):
        product, _, divisor = term.partition("/")
        value = math.prod(_factor(word, bound, shapes) for word in product.split("*"))
        total += value // int(attr(node, divisor, 1)) if divisor else value
    return total


def _factor(word: str, bound: Mapping[str, int], shapes: Mapping[str, Sequence[int]]) -> int:
    if word in shapes:
        return math.prod(shapes[word])
    if word in bound:
        return bound[word]
    raise _Unknown(f"the size of '{word}' is not known")


def _bind(node: ir.Node, facts: Fact, sizes: Sizes) -> tuple[dict[str, int], dict[str, Sequence[int]]]:
    """Sizes of the named dims (a ``*s``: the product of its dims) and the shapes of the operands by role."""
    bound: dict[str, int] = {}
    shapes: dict[str, Sequence[int]] = {}
    pairs = [*zip(facts.inputs, node.inputs, strict=False), *zip(facts.outputs, node.outputs, strict=False)]
    for operand, value in pairs:
        if value is None or value.shape is None:
            continue
        shape = [_size(d, sizes) for d in dims(value)]
        if None in shape:
            continue
        known = [d for d in shape if d is not None]
        shapes.setdefault(operand.role, known)
        for name, size in _named(operand, known, node).items():
            bound.setdefault(name, size)
    return bound, shapes


def _size(dim: int | str | None, sizes: Sizes) -> int | None:
    if isinstance(dim, int):
        return dim
    return sizes.get(dim, 1) if dim is not None else None


def _named(operand: Operand, shape: Sequence[int], node: ir.Node) -> dict[str, int]:
    names = list(operand.dims)
    if node.op_type == "Gemm" and attr(node, {"a": "transA", "b": "transB"}.get(operand.role, ""), 0):
        names.reverse()
    if not names or "..." in names:
        return {}
    stars = [i for i, n in enumerate(names) if n.startswith("*")]
    if not stars:
        return dict(zip(names, shape, strict=True)) if len(names) == len(shape) else {}
    if node.op_type in ("Conv", "ConvTranspose", "DeformConv") and operand.role == "w":
        # the kernel's second axis is one group's channels; the named dims speak of all channels
        shape = [shape[0], shape[1] * int(attr(node, "group", 1)), *shape[2:]]
    star, after = stars[0], len(names) - stars[0] - 1
    if len(shape) < len(names) - 1:
        return {}
    found = dict(zip(names[:star], shape[:star], strict=True))
    found[names[star].lstrip("*")] = math.prod(shape[star : len(shape) - after])
    found.update(zip(names[star + 1 :], shape[len(shape) - after :], strict=True))
    return found
