"""What can be said about a loop by looking at its functions: values that never change, and how often it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recast.formats.savedmodel import tensors
from recast.formats.savedmodel.graph_def import Body, Node, Program

_STEPS = 64


@dataclass(frozen=True)
class Count:
    """``value < bound`` with a value that grows by ``step`` every turn: numbers are places of the loop's values.

    Attributes:
        place: the value that grows.
        step: by how much, above zero.
        bound: a number, or the place of a value that never changes.
        fixed: whether ``bound`` is a number.
    """

    place: int
    step: int
    bound: int
    fixed: bool


@dataclass(frozen=True)
class Loop:
    """The two functions of a loop, seen from outside."""

    program: Program
    condition: Body
    body: Body

    def unchanged(self, place: int) -> bool:
        """Whether the body gives a value back as it got it."""
        found = self.origin(self.body, self.body.results[place])
        return found == place

    def counts(self) -> list[Count] | None:
        """The conditions that all must hold for another turn, or None where they are not plain counters."""
        waiting, found = [self.condition.results[0]], list[Count]()
        for _ in range(_STEPS):
            if not waiting:
                return found
            node = self.node(self.condition, waiting.pop())
            if node is None or node.op not in ("LogicalAnd", "Less") or len(node.data) != 2:
                return None
            if node.op == "LogicalAnd":
                waiting += node.data
                continue
            count = self._count(node.data)
            if count is None:
                return None
            found.append(count)
        return None

    def _count(self, sides: Sequence[str]) -> Count | None:
        place = self.origin(self.condition, sides[0])
        if place is None:
            return None
        step = self.step(place)
        number = self.number(self.condition, sides[1])
        if step is None or step <= 0:
            return None
        if number is not None:
            return Count(place, step, number, True)
        bound = self.origin(self.condition, sides[1])
        return None if bound is None or not self.unchanged(bound) else Count(place, step, bound, False)

    def origin(self, body: Body, text: str) -> int | None:
        """The place of the argument that a value is."""
        for _ in range(_STEPS):
            name, number = self.program.reference(body, text)
            node = body.nodes.get(name)
            if node is None:
                return body.arguments.index(name) if name in body.arguments and not number else None
            if node.op != "Identity" or not node.data:
                return None
            text = node.data[0]
        return None

    def node(self, body: Body, text: str) -> Node | None:
        """The node behind identities."""
        for _ in range(_STEPS):
            node = body.nodes.get(self.program.reference(body, text)[0])
            if node is None or node.op != "Identity" or not node.data:
                return node
            text = node.data[0]
        return None

    def constant(self, body: Body, text: str) -> np.ndarray | None:
        """A constant's numbers."""
        node = self.node(body, text)
        value = node.attr("value") if node is not None and node.op == "Const" else None
        return tensors.array(value, body.where) if isinstance(value, dict) else None

    def number(self, body: Body, text: str) -> int | None:
        """A constant whole number."""
        array = self.constant(body, text)
        if array is None or array.size != 1 or array.dtype.kind not in "iu":
            return None
        return int(array.reshape(-1)[0])

    def step(self, place: int) -> int | None:
        """By how much a value grows every turn, if that is constant."""
        node = self.node(self.body, self.body.results[place])
        if node is None or node.op not in ("Add", "AddV2") or len(node.data) != 2:
            return None
        for mine, other in (node.data, node.data[::-1]):
            if self.origin(self.body, mine) == place:
                return self.number(self.body, other)
        return None
