"""Flatten into a dense layer: instead of transposing the activations, permute the rows of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, is_const, rank, static_shape
from recast.ops import fact

Perm = tuple[int, ...]


@dataclass
class Fold:
    """Constants to permute when the input of a flattening node stays in its other form.

    Attributes:
        perm: the permutation of the input.
        dims: the flattened dims (axes 1, 2, … of the input), in the graph's own order.
        sites: (node, input index, axis) of every constant that is indexed by the flattened axis.
    """

    perm: Perm
    dims: tuple[int, ...]
    sites: list[tuple[ir.Node, int, int]] = field(default_factory=list)

    def rows(self) -> np.ndarray:
        """``new[i] = old[rows[i]]`` along the flattened axis."""
        order = np.arange(math.prod(self.dims)).reshape(self.dims)
        return order.transpose([p - 1 for p in self.perm[1:]]).reshape(-1)


def dense_fold(node: ir.Node, perm: Perm) -> Fold | None:
    """How to absorb the permutation of a flattened input, or None where something else sees the order."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None or len(result.shape) != 2 or perm[0] != 0:
        return None
    dims = tuple(d for d in source.shape[1:] if isinstance(d, int))
    count = math.prod(dims)
    if len(dims) != len(perm) - 1 or result.shape[1] != count or result.shape[0] != source.shape[0]:
        return None
    fold = Fold(perm, dims)
    queue, seen = [result], {result}
    while queue:
        value = queue.pop()
        if value.is_graph_output() or not value.uses():
            return None
        for use in value.uses():
            if use.node.graph is not node.graph:
                return None
            following = _step(use.node, use.idx, count, fold)
            if following is None:
                return None
            for found in following:
                if found not in seen:
                    seen.add(found)
                    queue.append(found)
    return fold


def _step(node: ir.Node, slot: int, count: int, fold: Fold) -> list[ir.Value] | None:
    """The values behind one user that are still in flattened order ([]: absorbed); None: it cannot be absorbed."""
    facts = fact(node.op_type) if node.domain == "" else None
    if facts is None:
        return None
    if node.op_type in ("MatMul", "Gemm"):
        return _matrix(node, slot, fold)
    if node.op_type == "BatchNormalization" and slot == 0 and rank(node.inputs[0]) == 2:  # type: ignore[arg-type]
        if not all(is_const(v) for v in node.inputs[1:]) or attr(node, "training_mode", 0):
            return None
        fold.sites += [(node, i, 0) for i in range(1, 5)]
        return [node.outputs[0]]
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        if slot != 0 or not _scales(node, 1, fold):
            return None
        return [node.outputs[0]]
    if node.op_type in ("Reshape", "Flatten"):
        same = slot == 0 and list(node.outputs[0].shape or ()) == list(node.inputs[0].shape or (None,))  # type: ignore[union-attr]
        return [node.outputs[0]] if same else None
    if facts.kind != "elementwise":
        return None
    for index, other in enumerate(node.inputs):
        if other is None or index == slot:
            continue
        shape = static_shape(other)
        if shape is None or not is_const(other) or len(shape) > 2:
            return None
        if math.prod(shape) != 1 and shape[-1] != 1:
            if shape[-1] != count:
                return None
            fold.sites.append((node, index, len(shape) - 1))
    return [v for v in node.outputs if v.uses() or v.is_graph_output()]


def _matrix(node: ir.Node, slot: int, fold: Fold) -> list[ir.Value] | None:
    weight = node.inputs[1]
    if slot != 0 or weight is None or rank(weight) != 2 or attr(node, "transA", 0):
        return None
    axis, user, index = (1 if attr(node, "transB", 0) else 0), node, 1
    while not is_const(weight):
        producer = weight.producer()
        if producer is None or len(weight.uses()) != 1 or weight.is_graph_output() or producer.domain != "":
            return None
        if producer.op_type == "Transpose":
            axis = 1 - axis  # rank 2: either it swaps the axes or it does nothing
            if list(attr(producer, "perm", [1, 0])) != [1, 0]:
                return None
        elif producer.op_type != "DequantizeLinear" or not _scales(producer, axis, fold):
            return None
        user, index = producer, 0
        weight = producer.inputs[0]
        if weight is None:
            return None
    fold.sites.append((user, index, axis))
    return []


def _scales(node: ir.Node, axis: int, fold: Fold) -> bool:
    """Scale and zero point: per tensor, along another axis, or permuted with the flattened one."""
    if attr(node, "block_size", 0):
        return False
    for index, value in enumerate(node.inputs[1:], start=1):
        if value is None:
            continue
        shape = static_shape(value)
        if shape is None or len(shape) > 1:
            return False
        if shape in ((), (1,)) or int(attr(node, "axis", 1)) % 2 != axis:
            continue
        if not is_const(value):
            return False
        fold.sites.append((node, index, 0))
    return True
