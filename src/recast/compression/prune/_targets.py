"""Which tensors may lose single weights: those that an operator contracts with its input, by the operator facts.

Biases, normalisations and constants of arithmetic are never among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recast.compression._method import Skip
from recast.graph.view import attr, const, is_const, layer_of
from recast.ops import fact

if TYPE_CHECKING:
    import onnx_ir as ir

_BATCH = {"MatMul"}  # may have axes in front of the named ones


@dataclass(frozen=True)
class Target:
    """A weight tensor of the main graph.

    Attributes:
        weight: name of the initializer; ``where``: its layer; ``op``: the operator that uses it (first).
        inputs: the axis that is contracted with the operator's input (of an embedding: the axis of its entries).
    """

    weight: str
    where: str
    op: str
    inputs: int


def find(model: ir.Model, skip: tuple[str, ...] = ()) -> tuple[list[Target], list[Skip]]:
    """The tensors in the order of the graph, each once, and what looks like one but is left alone.

    Args:
        model: the graph.
        skip: names of nodes, layers or weights to leave alone.
    """
    found: dict[str, Target] = {}
    skips: list[Skip] = []
    for node in model.graph:
        for value, axis in _weights(node):
            where = layer_of(node)
            if where in skip or node.name in skip or value.name in skip:
                skips.append(Skip(where, "asked to stay as it is"))
            elif _packed(value):
                skips.append(Skip(where, "its weight is quantised: prune first, then quantise"))
            elif value.is_initializer() and is_const(value) and _floating(value):
                found.setdefault(value.name or "", Target(value.name or "", where, node.op_type, axis))
    return list(found.values()), skips


def array_of(model: ir.Model, target: Target) -> np.ndarray:
    """The weight's content."""
    array = const(model.graph.initializers[target.weight])
    return np.zeros(0) if array is None else array


def _weights(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    facts = fact(node.op_type) if node.domain == "" else None
    if facts is None or not facts.weights or not (facts.macs or node.op_type == "Gather"):
        return
    most = 0
    for index, _ in facts.weights:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None or value.shape is None:
            continue
        rank = len(value.shape)
        most = most or rank
        if rank < max(most, 2):  # a bias has fewer axes than the weight
            continue
        names = list(facts.inputs[index].dims)
        if node.op_type == "Gemm" and attr(node, "transB", 0):
            names.reverse()
        axis = next((names.index(n) for n in ("c", "h") if n in names), 1)
        yield value, axis + (rank - len(names) if node.op_type in _BATCH else 0)


def _packed(value: ir.Value) -> bool:
    made_by = value.producer()
    if made_by is not None and made_by.op_type in ("Cast", "Mul", "Reshape", "Transpose"):
        held = made_by.inputs[0]
        return held is not None and (_packed(held) or (is_const(held) and not _floating(held)))
    return made_by is not None and made_by.op_type == "DequantizeLinear"


def _floating(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
