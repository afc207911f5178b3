"""Reshape as groups of axes: which axes of the input become which axes of the output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const

Perm = tuple[int, ...]
Dim = int | str | None


@dataclass(frozen=True)
class Groups:
    """A Reshape or Flatten: the axes of group ``g`` of the input hold the same elements as those of the output.

    Axes of size 1 are in no group: they move freely. A new order of groups permutes both sides.
    """

    source: tuple[tuple[int, ...], ...]
    result: tuple[tuple[int, ...], ...]
    ranks: tuple[int, int]
    flatten: bool
    dims: tuple[Dim, ...]  # of the result, in the graph's own order

    def letters(self, slot: int) -> tuple[int, ...] | None:
        """Something for input 0 and output 0, whose axes move."""
        return () if slot in (0, ~0) else None

    def order(self, slot: int, perm: Perm) -> tuple[int, ...] | None:
        """The order of groups when this side is permuted; None: a group would be torn apart."""
        if slot not in (0, ~0) or (self.flatten and perm[0] != 0):
            return None
        groups = self.source if slot == 0 else self.result
        member = {axis: g for g, axes in enumerate(groups) for axis in axes}
        moved = [axis for axis in perm if axis in member]
        order = tuple(dict.fromkeys(member[axis] for axis in moved))
        return order if moved == [axis for g in order for axis in groups[g]] else None

    def perm(self, slot: int, order: tuple[int, ...]) -> Perm | None:
        """How a side is permuted: axes of size 1 stay behind the axis before them."""
        if slot not in (0, ~0):
            return None
        groups = self.source if slot == 0 else self.result
        member = {axis for axes in groups for axis in axes}
        trailing: dict[int, list[int]] = {}
        last = -1
        for axis in range(self.ranks[slot != 0]):
            if axis in member:
                last = axis
            else:
                trailing.setdefault(last, []).append(axis)
        perm = list(trailing.get(-1, []))
        for group in order:
            for axis in groups[group]:
                perm += [axis, *trailing.get(axis, [])]
        return tuple(perm)


def groups_of(node: ir.Node) -> Groups | None:
    """The groups of a Reshape or Flatten, or None where its target shape is not known."""
    flatten = node.op_type == "Flatten"
    if flatten and attr(node, "axis", 1) != 1:
        return None
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return None
    if not flatten and const(node.inputs[1]) is None and sum(not isinstance(d, int) for d in result.shape) > 1:
        return None
    before: list[Dim] = [d if isinstance(d, int) else d.value for d in source.shape]
    after = result_dims(node)
    if 0 in before or 0 in after:
        return None
    pairs = _match(before, after)
    ins = tuple(tuple(a) for a, _ in pairs)
    outs = tuple(tuple(b) for _, b in pairs)
    return Groups(ins, outs, (len(before), len(after)), flatten, tuple(after))


def result_dims(node: ir.Node) -> list[Dim]:
    """The dims of a Reshape's result: numbers and the input's symbols where they can be told."""
    shape = node.outputs[0].shape
    source = node.inputs[0]
    if shape is None or source is None or source.shape is None:
        return []
    dims: list[Dim] = [d if isinstance(d, int) else d.value for d in shape]
    target = const(node.inputs[1]) if node.op_type == "Reshape" else None
    if target is not None and not attr(node, "allowzero", 0):
        for index, wanted in enumerate(target.reshape(-1).tolist()):
            if wanted == 0 and index < len(source.shape):
                found = source.shape[index]
                dims[index] = found if isinstance(found, int) else (found.value or f"?{index}")
            elif wanted > 0:
                dims[index] = wanted
    if node.op_type == "Flatten" and dims and dims[0] is None:
        first = source.shape[0]
        dims[0] = first if isinstance(first, int) else (first.value or "?0")
    return dims


def _match(before: list[Dim], after: list[Dim]) -> list[tuple[list[int], list[int]]]:
    """Pair up runs of axes with the same product, axes of size 1 left out."""
    left = [(i, f"?{i}" if d is None else d) for i, d in enumerate(before) if d != 1]
    right = [(i, d) for i, d in enumerate(after) if d != 1]
    head: list[tuple[list[int], list[int]]] = []
    while left and right and left[0][1] == right[0][1]:
        head.append(([left.pop(0)[0]], [right.pop(0)[0]]))
    tail: list[tuple[list[int], list[int]]] = []
    while left and right and left[-1][1] == right[-1][1]:
        tail.append(([left.pop()[0]], [right.pop()[0]]))
    return head + _products(left, right) + tail[::-1]


def _products(left: list[tuple[int, int | str]], right: list[tuple[int, Dim]]) -> list[tuple[list[int], list[int]]]:
    """Runs with equal products where all dims are numbers; else one single run."""
    if not left and not right:
        return []
    whole = [([i for i, _ in left], [i for i, _ in right])]
    if not all(isinstance(d, int) for _, d in left + right):
        return whole
    found: list[tuple[list[int], list[int]]] = []
    runs: tuple[list[int], list[int]] = ([], [])
    sizes = [1, 1]
    queues = ([*left], [*right])
    while queues[0] or queues[1]:
        side = 0 if (sizes[0] <= sizes[1] and queues[0]) or not queues[1] else 1
        axis, size = queues[side].pop(0)
        runs[side].append(axis)
        sizes[side] *= int(size)  # type: ignore[arg-type]
        if sizes[0] == sizes[1]:
            found.append(runs)
            runs, sizes = ([], []), [1, 1]
    return found if math.prod(sizes) == 1 and not runs[0] and not runs[1] else whole


def new_target(node: ir.Node, rule: Groups, source: Perm, result: Perm) -> np.ndarray | None:
    """The target shape when input and output are permuted, or None where it cannot be written as a constant."""
    dims = rule.dims  # the values' shapes may already be those of their new forms
    given = const(node.inputs[1])
    wanted = [-2] * len(dims) if given is None else given.reshape(-1).tolist()
    zero_copies = not attr(node, "allowzero", 0)
    target: list[int] = []
    for place, axis in enumerate(result):
        dim = dims[axis]
        if isinstance(dim, int):
            target.append(dim)
        elif wanted[axis] == 0 and zero_copies and place < len(source) and source[place] == axis:
            target.append(0)
        else:
            target.append(-1)
    return np.array(target, np.int64) if target.count(-1) <= 1 else None
