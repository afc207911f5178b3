"""Chains of Reshape and Transpose become as short as they can be.

Given: a graph with inferred shapes.
Result: a chain of Reshape, Transpose, Squeeze, Unsqueeze and Flatten, each with one user, is written with fewer
    operators where there are such: none, one Reshape, one Transpose, or the two together. Splitting heads and
    transposing keys (``Reshape → Transpose → Reshape``) becomes one Transpose.
Refuses when: never; a chain with dims that have neither number nor name stays.

Axes are cut into *atoms*: the finest pieces that no operator of the chain cuts through. A Reshape regroups atoms, a
Transpose orders groups; so the whole chain is an order of atoms and a grouping at either end.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import attr
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")


@dataclass(frozen=True, eq=False)
class Atom:
    """A piece of an axis: a number times names (sorted)."""

    number: int
    names: tuple[str, ...] = ()


Axis = list[Atom]


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Shorten all chains in place."""
    editor, tried = Editor(model.graph), False
    for node in [n for n in model.graph if _moves(n)]:
        if node.graph is None or _goes_on(node):
            continue
        chain = _chain(node)
        tried = tried or len(chain) > 1
        while len(chain) > 1 and not _shorten(editor, chain):
            chain.pop(0)
    if tried:  # what was made in vain goes too
        remove_dead(model.graph)
    return []


def _moves(node: ir.Node | None) -> bool:
    return node is not None and not node.domain and node.op_type in _MOVES


def _goes_on(node: ir.Node) -> bool:
    users = list(node.outputs[0].uses())
    return len(users) == 1 and not node.outputs[0].is_graph_output() and users[0].idx == 0 and _moves(users[0].node)


def _chain(last: ir.Node) -> list[ir.Node]:
    """The moves that end in a node, first one first."""
    chain = [last]
    while True:
        source = chain[0].inputs[0]
        before = source.producer() if source is not None else None
        if before is None or not _moves(before) or not _goes_on(before) or before.graph is not last.graph:
            return chain
        chain.insert(0, before)


def _shorten(editor: Editor, chain: list[ir.Node]) -> bool:
    """Write the chain anew if that takes fewer operators."""
    source, result = chain[0].inputs[0], chain[-1].outputs[0]
    start = _axes(source)
    if source is None or start is None or result.shape is None:
        return False
    cut = _Cut(start)
    axes = cut.axes
    for node in chain:
        moved_on = _after(cut, axes, node)
        if moved_on is None:
            return False
        axes = moved_on
    order = [a for axis in cut.settled(axes) for a in axis]
    before = [a for axis in cut.settled(cut.axes) for a in axis]
    perm = _permutation(before, order)
    if perm == sorted(perm):
        return _reshaped(editor, chain)
    ends = [a for a in cut.settled(cut.axes) if a], [a for a in cut.settled(axes) if a]
    held, moved = _whole(ends[0], order), _whole(ends[1], before)
    if held is not None:
        return _rewritten(editor, chain, ends[0], _inverse(held), False)
    if moved is not None:
        return _rewritten(editor, chain, [ends[1][m] for m in _inverse(moved)], moved, True)
    blocks = _blocks(perm)
    sizes = [[before[i] for i in block] for block in sorted(blocks)]
    return _rewritten(editor, chain, sizes, [sorted(blocks).index(block) for block in blocks], True)


def _whole(axes: list[Axis], order: list[Atom]) -> list[int] | None:
    """Where each axis stands in an order of atoms, if none is torn apart."""
    places = {id(a): i for i, a in enumerate(order)}
    firsts = []
    for axis in axes:
        found = [places[id(a)] for a in axis]
        if found != list(range(found[0], found[0] + len(found))):
            return None
        firsts.append(found[0])
    return [sorted(firsts).index(f) for f in firsts]


def _inverse(perm: list[int]) -> list[int]:
    return [perm.index(i) for i in range(len(perm))]


def _permutation(before: list[Atom], after: list[Atom]) -> list[int]:
    places = {id(a): i for i, a in enumerate(before)}
    return [places[id(a)] for a in after]


def _blocks(perm: list[int]) -> list[tuple[int, ...]]:
    """Runs of neighbours that stay neighbours."""
    found: list[list[int]] = []
    for at in perm:
        if found and found[-1][-1] + 1 == at:
            found[-1].append(at)
        else:
            found.append([at])
    return [tuple(b) for b in found]


def _axes(value: ir.Value | None) -> list[Axis] | None:
    """Every axis as one atom; those of size 1 as none."""
    if value is None or value.shape is None:
        return None
    found = [_atom(d) for d in value.shape]
    return [[a] if a.number != 1 or a.names else [] for a in found if a is not None] if None not in found else None


def _atom(dim: int | ir.SymbolicDim) -> Atom | None:
    """``3*batch`` is 3 times a name; other expressions are names as they are."""
    if isinstance(dim, int):
        return Atom(dim) if dim > 0 else None
    if dim.value is None:
        return None
    parts = dim.value.split("*")
    if not all(re.fullmatch(r"\w+", p) for p in parts):
        return Atom(1, (dim.value,))
    return Atom(math.prod(int(p) for p in parts if p.isdigit()), tuple(sorted(p for p in parts if not p.isdigit())))


class _Cut:
    """The atoms of the source; cutting one is seen by all axes that hold it."""

    def __init__(self, axes: list[Axis]) -> None:
        self.axes = axes
        self._pieces: dict[int, list[Atom]] = {}

    def settled(self, axes: list[Axis]) -> list[Axis]:
        """Axes in the finest atoms."""
        return [[piece for atom in axis for piece in self._all(atom)] for axis in axes]

    def _all(self, atom: Atom) -> list[Atom]:
        pieces = self._pieces.get(id(atom))
        return [atom] if pieces is None else [p for piece in pieces for p in self._all(piece)]

    def split(self, atom: Atom, piece: Atom) -> tuple[Atom, Atom] | None:
        """Cut a first piece off, if it divides the atom."""
        rest = list(atom.names)
        for name in piece.names:
            if name not in rest:
                return None
            rest.remove(name)
        if piece.number == 0 or atom.number % piece.number:
            return None
        parts = (Atom(piece.number, piece.names), Atom(atom.number // piece.number, tuple(rest)))
        self._pieces[id(atom)] = list(parts)
        return parts


def _after(cut: _Cut, axes: list[Axis], node: ir.Node) -> list[Axis] | None:
    if node.op_type == "Transpose":
        perm = attr(node, "perm", list(range(len(axes)))[::-1])
        return [axes[p] for p in perm]
    target = node.outputs[0].shape
    return _regroup(cut, [a for axis in cut.settled(axes) for a in axis], list(target)) if target is not None else None


def _regroup(cut: _Cut, atoms: list[Atom], target: list[int | ir.SymbolicDim]) -> list[Axis] | None:
    """Atoms in the groups of a Reshape's result; one dim may be unknown: it takes what the others leave."""
    wanted = [_atom(d) for d in target]
    unknown = [i for i, w in enumerate(wanted) if w is None]
    if len(unknown) > 1 or any(d == 0 for d in target):
        return None
    split = unknown[0] if unknown else len(wanted)
    left: list[Axis] = []
    for atom in wanted[:split]:
        taken = _take(cut, atoms, atom, 0)
        if taken is None:
            return None
        left.append(taken)
    if not unknown:
        return left if not atoms else None
    right: list[Axis] = []
    for atom in wanted[:split:-1]:
        taken = _take(cut, atoms, atom, -1)
        if taken is None:
            return None
        right.insert(0, taken)
    return [*left, atoms, *right]


def _take(cut: _Cut, atoms: list[Atom], wanted: Atom | None, end: int) -> Axis | None:
    """Take atoms from one end that make up the wanted size; the last one may have to be cut."""
    if wanted is None:
        return None
    taken: Axis = []
    number, names = wanted.number, list(wanted.names)
    while number != 1 or names:
        if not atoms:
            return None
        atom = atoms.pop(end)
        if number % atom.number == 0 and all(atom.names.count(n) <= names.count(n) for n in atom.names):
            number //= atom.number
            for name in atom.names:
                names.remove(name)
        elif end == 0:
            parts = cut.split(atom, Atom(number, tuple(names)))
            if parts is None:
                return None
            atom, rest = parts
            number, names = 1, []
            atoms.insert(0, rest)
        else:
            return None
        taken.insert(len(taken) if end == 0 else 0, atom)
    return taken


def _reshaped(editor: Editor, chain: list[ir.Node]) -> bool:
    """The order stays: nothing at all, or one Reshape."""
    source, last = chain[0].inputs[0], chain[-1]
    result = last.outputs[0]
    assert source is not None
    if source.shape == result.shape and not result.is_graph_output():
        editor.replace(result, source)
        return True
    made = _reshape(editor, source, last)
    if made is None:
        return False
    editor.replace(result, made)
    return True


def _reshape(editor: Editor, source: ir.Value, last: ir.Node) -> ir.Value | None:
    """``source`` in the shape of the last node's result."""
    result = last.outputs[0]
    assert result.shape is not None
    target = _target(source, list(result.shape))
    shape = editor.const(target, "shape") if target is not None else None
    if shape is None and last.op_type == "Reshape" and not any(d == 0 for d in result.shape):
        shape = last.inputs[1]
    if shape is None:
        return None
    made = editor.node("Reshape", [source, shape], None, last)
    made.shape = result.shape
    return made


def _target(source: ir.Value, dims: list[int | ir.SymbolicDim]) -> list[int] | None:
    """A constant shape: 0 copies a dim that is at the same place, -1 is one other; None where that is too few."""
    held = list(source.shape or ())
    found = [
        d if isinstance(d, int) else 0 if i < len(held) and d.value is not None and held[i] == d else -1
        for i, d in enumerate(dims)
    ]
    return found if found.count(-1) <= 1 else None


def _rewritten(editor: Editor, chain: list[ir.Node], sizes: list[Axis], moved: list[int], first: bool) -> bool:
    """A Reshape into atoms where needed, a Transpose, a Reshape to the result's shape where needed."""
    source, result = chain[0].inputs[0], chain[-1].outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return False
    value, perm = source, None if first else _with_ones(list(source.shape), moved, list(result.shape))
    if perm is None:
        dims = [_dim(axis) for axis in sizes]
        target = _target(source, dims)
        if target is None:
            return False
        value = editor.node("Reshape", [source, editor.const(target, "shape")], None, chain[-1])
        value.shape, perm = ir.Shape(dims), moved
    value = editor.node("Transpose", [value], {"perm": perm}, chain[-1])
    made = None
    if value.shape != result.shape:
        made = _reshape(editor, value, chain[-1])
        if made is None:
            return False
    if 1 + (perm is moved) + (made is not None) >= len(chain):
        return False
    editor.replace(result, made or value)
    return True


def _dim(axis: Axis) -> int | ir.SymbolicDim:
    number = math.prod(a.number for a in axis)
    names = sorted(n for a in axis for n in a.names)
    if not names:
        return number
    return ir.SymbolicDim("*".join(([str(number)] if number != 1 else []) + names))


def _with_ones(
    source: list[int | ir.SymbolicDim], moved: list[int], result: list[int | ir.SymbolicDim]
) -> list[int] | None:
    """The permutation of all axes, those of size 1 placed as the result has them (or last)."""
    real = [i for i, d in enumerate(source) if d != 1]
    ones = [i for i, d in enumerate(source) if d == 1]
    if len(real) != len(moved):
        return None
    order = [real[m] for m in moved]
    if len(result) == len(source):
        at = iter(order)
        spare = iter(ones)
        if sum(d == 1 for d in result) == len(ones):
            return [next(spare) if d == 1 else next(at) for d in result]
    return order + ones
