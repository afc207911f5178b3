"""Which neurons, channels and heads can be cut, and everything that has to go with each.

``find`` walks a graph once with the operator facts: entries of axes that must go together become one *unit* (channel 7
of a convolution, of its bias, of the normalisation behind it, of whatever it is added to, and of the kernels that read
it). Units alike in where they occur form a *group*: the channels of one block, the heads of one attention.
The idea of dependency groups is that of Fang et al., DepGraph: Towards Any Structural Pruning (CVPR 2023); here the
dependencies come from named dims, entry by entry, so concatenation, padding, splits and reshapes need no special case.

An axis that a layer normalisation takes means over (the hidden size of a transformer, its *stream*) stays: its cut
entries would be missed in the means. ``find(model, stream=True)`` finds these axes and no others: what is left of a cut
network is then normalised by its own means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from recast.compression.edits import Cut, Edit, SetAttribute, SetInput
from recast.compression.groups import rules, rules_shape  # noqa: F401 registers its rules
from recast.compression.groups.atoms import Atoms, Axis, Follow, Use
from recast.graph.view import const, layer_of

__all__ = ["Group", "Groups", "Place", "find"]


@dataclass(frozen=True)
class Place:
    """One axis of one constant. ``units``: the unit of each entry (-1: it stays). ``read``: it is summed over."""

    weight: ir.Value
    axis: int
    units: np.ndarray
    read: bool


@dataclass(frozen=True)
class Group:
    """Units that occur at the same places.

    Attributes:
        name: the layer that makes them.
        units: their numbers.
        places: where they occur.
    """

    name: str
    units: np.ndarray
    places: tuple[Place, ...]


class Groups:
    """What ``find`` found in one model."""

    def __init__(self, atoms: Atoms) -> None:
        self._atoms = atoms
        self.stream = atoms.stream
        self._label, self._free = atoms.labels()
        self.uses: tuple[Use, ...] = tuple(atoms.uses)

    def units(self, axis: Axis, size: int = 0) -> np.ndarray:
        """The unit of each entry along an axis; -1 where it stays."""
        if axis is None:
            return np.full(size, -1)
        return np.where(self._free[axis], self._label[axis], -1)

    def units_of(self, value: ir.Value, axis: int) -> np.ndarray:
        """The unit of each entry of a value along one of its axes."""
        found = self._atoms.of(value)[axis]
        size = value.shape[axis] if value.shape is not None else 0
        return self.units(found, size if isinstance(size, int) else 0)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All axes of constants that have removable entries."""
        read = {(use.weight, use.weight_axis) for use in self.uses}
        found = []
        for weight in self._atoms.constants():
            for axis, atoms in enumerate(self._atoms.of(weight)):
                units = self.units(atoms)
                if atoms is not None and (units >= 0).any():
                    found.append(Place(weight, axis, units, (weight, axis) in read))
        return tuple(found)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All groups, in the order of their first weights."""
        signature: dict[int, list[tuple[int, int]]] = {}
        for number, place in enumerate(self.places):
            units, counts = np.unique(place.units[place.units >= 0], return_counts=True)
            for unit, count in zip(units.tolist(), counts.tolist(), strict=True):
                signature.setdefault(unit, []).append((number, count))
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for unit, where in signature.items():
            alike.setdefault(tuple(where), []).append(unit)
        made = []
        for key, members in alike.items():
            places = tuple(self.places[n] for n, _ in key)
            if len(members) > 1 and any(not p.read for p in places) and self._wanted(members[0]):
                made.append(Group(_name(places), np.array(sorted(members)), places))
        return tuple(made)

    def _wanted(self, unit: int) -> bool:
        return not self.stream or unit in self._counted

    @cached_property
    def _counted(self) -> set[int]:
        """Units that a normalisation takes means over."""
        return {int(unit) for atoms in self._atoms.counted for unit in self._label[atoms]}

    def edits(self, remove: Iterable[int]) -> list[Edit]:
        """Everything that changes when these units go."""
        gone = np.zeros(len(self._label), bool)
        gone[np.fromiter(remove, np.int64)] = True
        gone = gone[self._label] & self._free
        edits: list[Edit] = []
        for place in self.places:
            keep = ~(gone[np.maximum(place.units, 0)] & (place.units >= 0))
            if not keep.all():
                edits.append(Cut(place.weight.name or "", place.axis, np.flatnonzero(keep)))
        for follow in self._atoms.follows:
            edits += _following(follow, [None if a is None else ~gone[a] for a in follow.axes])
        return edits


def find(model: ir.Model, stream: bool = False) -> Groups:
    """The groups of a model (its main graph), or those of its streams. The model is not changed."""
    atoms = Atoms(stream=stream)
    rules.walk(atoms, model.graph)
    return Groups(atoms)


def _name(places: tuple[Place, ...]) -> str:
    """The layer whose weight makes the units."""
    makers = [p for p in places if not p.read]
    largest = max(makers, key=lambda p: len(p.weight.shape or ()))
    node = next((use.node for use in largest.weight.uses()), None)
    return layer_of(node) if node is not None else largest.weight.name or ""


def _following(follow: Follow, kept: list[np.ndarray | None]) -> list[Edit]:
    """Constants and attributes that count entries. ``kept``: for each entry of each axis whether it stays."""
    if all(k is None or k.all() for k in kept):
        return []
    name, counts = follow.node.name or "", [None if k is None else int(k.sum()) for k in kept]
    if follow.kind in ("group", "hidden"):
        return [SetAttribute(name, "group" if follow.kind == "group" else "hidden_size", counts[0])]
    if follow.kind == "split":
        return [SetAttribute(name, "num_outputs", None), SetInput(name, 1, np.array(counts, np.int64))]
    if follow.kind == "slice":
        return _slice(follow, kept)
    if follow.kind == "pieces":
        return _pieces(follow, counts)
    given = const(follow.node.inputs[1])
    if given is None:
        return []
    array = given.copy()
    if follow.kind == "pad":
        return [SetInput(name, 1, _pads(follow, kept, array))]
    for place, count in enumerate(counts):
        if count is not None and array[place] > 0:
            array[place] = count
    return [SetInput(name, 1, array)]


def _pieces(follow: Follow, counts: list[int | None]) -> list[Edit]:
    """New constants among the inputs of a Concat that puts a shape together."""
    found: list[Edit] = []
    at = 0
    for index, value in enumerate(follow.node.inputs):
        given = const(value)
        size = int(value.shape[0]) if value is not None and value.shape is not None else 0  # type: ignore[arg-type]
        new = counts[at : at + size]
        at += size
        if given is not None and any(c is not None for c in new):
            array = np.array([g if c is None else c for g, c in zip(given.tolist(), new, strict=True)], given.dtype)
            found.append(SetInput(follow.node.name or "", index, array))
    return found


def _pads(follow: Follow, kept: list[np.ndarray | None], array: np.ndarray) -> np.ndarray:
    """Fewer entries of padding where some of them go."""
    axes = const(follow.node.inputs[3]) if len(follow.node.inputs) > 3 else None
    places = [int(a) % len(kept) for a in axes.reshape(-1)] if axes is not None else list(range(len(kept)))
    half = len(places)
    for number, place in enumerate(places):
        keep, front, back = kept[place], int(array[number]), int(array[half + number])
        if keep is not None:
            array[number] = int(keep[:front].sum())
            array[half + number] = int(keep[len(keep) - back :].sum())
    return array


def _slice(follow: Follow, kept: list[np.ndarray | None]) -> list[Edit]:
    """New bounds: what is kept before, and what is kept inside."""
    given = [const(v) for v in follow.node.inputs[1:]]
    starts, ends = given[0].copy(), given[1].copy()  # type: ignore[union-attr]
    axes = given[2] if len(given) > 2 and given[2] is not None else np.arange(len(starts))
    for number, axis in enumerate(axes.reshape(-1).tolist()):
        keep = kept[axis]
        if keep is not None:
            start, end, _ = slice(int(starts[number]), int(ends[number])).indices(len(keep))
            starts[number] = int(keep[:start].sum())
            ends[number] = starts[number] + int(keep[start:end].sum())
    name = follow.node.name or ""
    return [SetInput(name, 1, starts), SetInput(name, 2, ends)]
