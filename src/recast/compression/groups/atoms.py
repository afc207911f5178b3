"""Atoms: every entry along a prunable axis has a number; entries that must go together are joined.

One union-find over all axes of all values of a graph. An axis whose entries cannot be removed has no atoms (None).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from recast.graph.view import dims

Axis = np.ndarray | None  # atoms along one axis (int64), or None: its entries stay
Axes = list[Axis]


@dataclass(frozen=True)
class Use:
    """A value whose entries along ``axis`` a weight contracts: without them, its entries of ``weight_axis`` go."""

    node: ir.Node
    value: ir.Value
    axis: int
    weight: ir.Value
    weight_axis: int


@dataclass(frozen=True)
class Follow:
    """A node with a constant or attribute that counts entries: ``kind`` says which, ``axes`` hold the atoms."""

    kind: str
    node: ir.Node
    axes: tuple[Axis, ...]


@dataclass
class Atoms:
    """The state of the walk over one graph.

    Attributes:
        stream: axes that a normalisation takes means over may be cut; its means are then those of what is left.
        uses: contractions, in the order of the graph.
        follows: constants and attributes that a cut changes.
        counted: entries that such means are taken over.
    """

    stream: bool = False
    uses: list[Use] = field(default_factory=list)
    follows: list[Follow] = field(default_factory=list)
    counted: list[np.ndarray] = field(default_factory=list)
    _parent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    _count: int = 0
    _joins: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    _fixed: list[np.ndarray] = field(default_factory=list)
    _axes: dict[ir.Value, Axes] = field(default_factory=dict)

    def fresh(self, size: int) -> np.ndarray:
        """New atoms for an axis of that size."""
        made = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        return made

    def fixed(self, size: int) -> np.ndarray:
        """New atoms that stay."""
        made = self.fresh(size)
        self._fixed.append(made)
        return made

    def fix(self, *axes: Axis) -> None:
        """These entries stay."""
        self._fixed += [a.reshape(-1) for a in axes if a is not None]

    def join(self, first: Axis, second: Axis) -> Axis:
        """Entry by entry the two go together; an axis without atoms fixes the other.

        Returns:
            The axis to go on with.
        """
        if first is None or second is None or first.shape != second.shape:
            self.fix(first, second)
            return None
        self._joins.append((first, second))
        return first

    def of(self, value: ir.Value | None) -> Axes:
        """Atoms of a value; those of a constant are made at its first use: all its axes are prunable."""
        if value is None:
            return []
        if value not in self._axes:
            constant = value.const_value is not None
            sizes = dims(value) if value.shape is not None else ()
            self._axes[value] = [self.fresh(d) if constant and isinstance(d, int) and d > 1 else None for d in sizes]
        return self._axes[value]

    def set(self, value: ir.Value, axes: Iterable[Axis]) -> None:
        """What is known of a computed value."""
        self._axes[value] = list(axes)

    def constants(self) -> list[ir.Value]:
        """Constants that have been looked at."""
        return [v for v in self._axes if v.const_value is not None]

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """For each atom the smallest atom that it goes together with, and whether it may be removed (bool)."""
        label = np.arange(self._count, dtype=np.int64)
        if self._joins:
            first = np.concatenate([a.reshape(-1) for a, _ in self._joins])
            second = np.concatenate([b.reshape(-1) for _, b in self._joins])
            label = _connected(label, first, second)
        free = np.ones(self._count, bool)
        if self._fixed:
            free[label[np.concatenate(self._fixed)]] = False
        return label, free[label]


def _connected(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest member of each connected component: labels are lowered along the edges until nothing changes."""
    while True:
        low = np.minimum(label[first], label[second])
        before = label.copy()
        np.minimum.at(label, first, low)
        np.minimum.at(label, second, low)
        np.minimum.at(label, before[first], low)
        np.minimum.at(label, before[second], low)
        while True:
            jumped = label[label]
            if np.array_equal(jumped, label):
                break
            label = jumped
        if np.array_equal(label, before):
            return label
