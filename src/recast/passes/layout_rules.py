"""How a change of axis order passes through an operator, derived from the operator's facts.

A rule gives every operand *letters*: numbers that name its axes, ascending in the graph's own order; the same letter in
two operands is the same axis. A new order of the node's letters then fixes a permutation of every operand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import onnx_ir as ir

from recast.graph.view import attr, const, rank
from recast.ops import fact
from recast.passes.layout_groups import Groups, groups_of

Perm = tuple[int, ...]
Letters = tuple[int, ...]


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes ``perm``."""
    found = [0] * len(perm)
    for new, old in enumerate(perm):
        found[old] = new
    return tuple(found)


def compose(first: Perm, then: Perm) -> Perm:
    """``transpose(transpose(x, first), then) == transpose(x, compose(first, then))``."""
    return tuple(first[i] for i in then)


def is_identity(perm: Perm) -> bool:
    """Whether nothing moves."""
    return perm == tuple(range(len(perm)))


def to_last(rank_: int) -> Perm:
    """(N, C, *spatial) → (N, *spatial, C)."""
    return (0, *range(2, rank_), 1)


def to_first(rank_: int) -> Perm:
    """(N, *spatial, C) → (N, C, *spatial)."""
    return (0, rank_ - 1, *range(1, rank_ - 1))


@dataclass(frozen=True)
class Axes:
    """Letters of every operand; None: not affected (weights, shapes). The last ``tail`` letters must stay last.

    ``broadcast``: inputs of lower rank are aligned with the last axes of the output.
    """

    ins: tuple[Letters | None, ...]
    outs: tuple[Letters | None, ...]
    size: int
    tail: int = 0
    broadcast: bool = False

    def letters(self, slot: int) -> Letters | None:
        """Of input ``slot``, or of output ``~slot`` when negative."""
        side, index = (self.ins, slot) if slot >= 0 else (self.outs, ~slot)
        return side[index] if index < len(side) else None

    def order(self, slot: int, perm: Perm) -> Letters | None:
        """The node's order of letters when this operand is permuted; None where that does not fix it."""
        own = self.letters(slot)
        if own is None:
            return None
        if len(own) == self.size:
            order = tuple(own[p] for p in perm)
        elif 3 <= len(own) == len(perm) and perm in (to_last(len(own)), to_first(len(own))):
            order = to_last(self.size) if perm == to_last(len(own)) else to_first(self.size)
            if self.perm(slot, order) != perm:
                return None
        else:
            return None
        kept = tuple(range(self.size - self.tail, self.size))
        return order if order[self.size - self.tail :] == kept else None

    def perm(self, slot: int, order: Letters) -> Perm | None:
        """How an operand is permuted under an order; None: it cannot be by a Transpose alone (``gaps``)."""
        own = self.letters(slot)
        return None if own is None else _moved(own, order, self.broadcast and len(own) < self.size)

    def gaps(self, slot: int, order: Letters) -> tuple[int, ...] | None:
        """Axes to insert (size 1) so that a broadcast operand of lower rank fits the order; None: its axes swap."""
        own = self.letters(slot) or ()
        places = [order.index(letter) for letter in own]
        if places != sorted(places):
            return None
        first = min(places)
        return tuple(i - first for i in range(first, self.size) if i not in places)


@lru_cache(maxsize=4096)
def _moved(own: Letters, order: Letters, aligned: bool) -> Perm | None:
    """The order of an operand's axes; None where ``aligned`` letters are not the order's last ones."""
    place = {letter: i for i, letter in enumerate(order)}
    if aligned and own and set(own) != set(order[-len(own) :]):
        return None
    return tuple(sorted(range(len(own)), key=lambda i: place[own[i]]))


Rule = Axes | Groups


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node, or None: its operands stay in the graph's own order."""
    facts = fact(node.op_type) if node.domain == "" else None
    maker = _MAKERS.get(facts.kind) if facts else None
    if maker is None or any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()
    ):
        return None
    if any(v is not None and v.shape is None for v in (*node.inputs, *node.outputs)):
        return None
    return maker(node)


def axis_of(node: ir.Node) -> int:
    """The attribute ``axis``, or its default."""
    facts = fact(node.op_type)
    return int(attr(node, "axis", facts.axis if facts else -1))


def axes_input(node: ir.Node, index: int, rank_: int) -> list[int] | None:
    """Axes given as a constant input, not negative; None when absent, unknown, or out of range."""
    array = const(node.inputs[index]) if index < len(node.inputs) else None
    if array is None:
        return None
    axes = [int(a) + rank_ * (int(a) < 0) for a in array.reshape(-1)]
    return axes if all(0 <= a < rank_ for a in axes) else None


def _given(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def _rank(value: ir.Value | None) -> int:
    return (rank(value) or 0) if value is not None else 0


def _same(node: ir.Node, tail: int = 0, outs: int = 1) -> Axes | None:
    """Input 0 and the first outputs have the same axes; all else is not affected."""
    size = _rank(node.inputs[0])
    full = tuple(range(size))
    if any(_rank(v) != size for v in node.outputs[:outs]):
        return None
    return Axes((full,), (full,) * outs, size, tail)


def _elementwise(node: ir.Node) -> Axes | None:
    size = _rank(node.outputs[0])
    full = tuple(range(size))
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        blocked = tuple(full if _rank(v) == size and attr(node, "block_size", 0) else None for v in node.inputs[1:])
        return Axes((full, *blocked), (full,), size)
    ins = tuple(None if v is None else full[size - _rank(v) :] for v in node.inputs)
    if any(v is not None and _rank(v) > size for v in node.inputs):
        return None
    return Axes(ins, (full,) * len(node.outputs), size, broadcast=True)


def _reduce(node: ir.Node) -> Axes | None:
    size = _rank(node.inputs[0])
    if node.op_type.startswith("Arg"):
        axes: list[int] | None = [axis_of(node) % max(size, 1)]
    elif _given(node, 1):
        axes = axes_input(node, 1, size)
        if axes is None or not axes:
            return None
    else:
        axes = [] if attr(node, "noop_with_empty_axes", 0) else list(range(size))
    full = tuple(range(size))
    out = full if attr(node, "keepdims", 1) else tuple(i for i in full if i not in (axes or ()))
    return Axes((full,), (out,), size) if len(out) == _rank(node.outputs[0]) else None


def _all_inputs(node: ir.Node) -> Axes | None:
    size = _rank(node.outputs[0])
    full = tuple(range(size))
    return Axes((full,) * len(node.inputs), (full,), size) if all(_rank(v) == size for v in node.inputs) else None


def _trailing(node: ir.Node) -> Axes | None:
    size = _rank(node.inputs[0])
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        return None
    return _same(node, tail=size - axis_of(node) % max(size, 1))


def _needs_axes(node: ir.Node) -> Axes | None:
    """Slice, CumSum, Pad: axes, where given, must be constant."""
    index = {"Slice": 3, "CumSum": 1, "Pad": 3}[node.op_type]
    size = _rank(node.inputs[0])
    if _given(node, index) and axes_input(node, index, size) is None:
        return None
    if node.op_type == "Slice" and not _given(node, index) and const(node.inputs[1]) is None:
        return None
    return _same(node)


def _expand(node: ir.Node) -> Axes | None:
    size = _rank(node.outputs[0])
    full = tuple(range(size))
    target = node.inputs[1]
    if target is None or target.shape is None or list(target.shape) != [size]:
        return None
    return Axes((full[size - _rank(node.inputs[0]) :], None), (full,), size, broadcast=True)


def _gather(node: ir.Node) -> Axes | None:
    size, picks = _rank(node.inputs[0]), _rank(node.inputs[1])
    axis = axis_of(node) % max(size, 1)
    if axis == 0 and picks >= 2 and ir.convenience.get_const_tensor(node.inputs[0]) is not None:  # type: ignore[arg-type]
        total = picks + size - 1
        return Axes((None, tuple(range(picks))), (tuple(range(total)),), total, tail=size - 1)
    full = tuple(range(size))
    if picks > 1:
        return None
    return Axes((full, None), (full if picks else full[:axis] + full[axis + 1 :],), size)


def _squeeze(node: ir.Node) -> Axes | None:
    size = _rank(node.inputs[0])
    full = tuple(range(size))
    axes = axes_input(node, 1, size)
    if axes is None:
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        if _given(node, 1) or shape is None or not all(isinstance(d, int) for d in shape):
            return None
        axes = [i for i, d in enumerate(shape) if d == 1]
    out = tuple(i for i in full if i not in axes)
    return Axes((full, None), (out,), size) if len(out) == _rank(node.outputs[0]) else None


def _unsqueeze(node: ir.Node) -> Axes | None:
    size = _rank(node.outputs[0])
    axes = axes_input(node, 1, size)
    if axes is None:
        return None
    full = tuple(range(size))
    return Axes((tuple(i for i in full if i not in axes), None), (full,), size)


def _dense(node: ir.Node) -> Axes | None:
    if _rank(node.inputs[1]) != 2 or _rank(node.inputs[0]) < 3:
        return None
    return _same(node, tail=1)


_MAKERS: dict[str, Callable[[ir.Node], Rule | None]] = {
    "elementwise": _elementwise,
    "along": lambda node: _same(node, outs=len(node.outputs)),
    "reduce": _reduce,
    "trailing": _trailing,
    "concat": _all_inputs,
    "split": lambda node: _same(node, outs=len(node.outputs)),
    "slice": _needs_axes,
    "pad": _needs_axes,
    "cumulate": _needs_axes,
    "resize": _same,
    "tile": _same,
    "expand": _expand,
    "gather": _gather,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "dense": _dense,
    "reshape": groups_of,
    "flatten": groups_of,
}
