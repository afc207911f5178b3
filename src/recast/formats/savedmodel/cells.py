"""Recognise the cell of a recurrent layer in the body of a loop, by what it computes.

LSTM: Hochreiter & Schmidhuber 1997 with Gers's forget gate; GRU: Cho et al. 2014 in cuDNN's form (the reset gate after
the product). Names are never looked at; gates are told apart by what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from recast.formats.savedmodel.graph_def import Node, Ref
from recast.formats.savedmodel.loops import Loop

_ADD = ("Add", "AddV2")
_Part = tuple[str, int, tuple[int, int, int | None] | None]


@dataclass
class Cell:
    """Where a cell's parts are. Texts are references inside the body; numbers are places of the loop's values.

    Attributes:
        kind: ``LSTM`` or ``GRU``.
        read: the list that is read, and the counter that it is read by.
        state: places of h (and c).
        x, h: reference of the weights, and their biases (None: there is none).
        order: which of the equal columns are the gates: LSTM i, f, c, o; GRU z, r, h.
        spans: (column, begin, end) of slices that stand for a split; to be compared with the number of units.
    """

    kind: str
    read: tuple[int, int]
    state: tuple[int, ...]
    x: tuple[str, str | None]
    h: tuple[str, str | None]
    order: tuple[int, ...]
    spans: tuple[tuple[int, int, int | None], ...] = ()


@dataclass(frozen=True)
class Finder:
    """Looks for a cell whose new hidden state is ``item``."""

    loop: Loop
    item: str

    def find(self) -> Cell | None:
        """The cell, or None."""
        return self._lstm() or self._gru()

    def _lstm(self) -> Cell | None:
        for gate, other in self._pairs(self.item, "Mul"):
            last, squashed = self._one(gate, "Sigmoid"), self._one(other, "Tanh")
            if last is None or squashed is None:
                continue
            for kept, new in self._pairs(squashed, *_ADD):
                found = self._lstm_state(last, squashed, (kept, new))
                if found is not None:
                    return found
        return None

    def _lstm_state(self, last: str, state: str, parts: tuple[str, str]) -> Cell | None:
        """``c' = σ(f)·c + σ(i)·tanh(g)``."""
        for forget, old in self._pairs(parts[0], "Mul"):
            place = self.loop.origin(self.loop.body, old)
            for gate, candidate in self._pairs(parts[1], "Mul"):
                inner = [self._one(forget, "Sigmoid"), self._one(gate, "Sigmoid"), self._one(candidate, "Tanh")]
                if place is None or self._ref(self.loop.body.results[place]) != self._ref(state) or None in inner:
                    continue
                splits = [self._part(t) for t in (inner[1], inner[0], inner[2], last) if t is not None]
                if any(s is None for s in splits) or len({s[0] for s in splits if s}) != 1:
                    continue
                order = tuple(s[1] for s in splits if s)
                source = splits[0][0] if splits[0] else ""
                found = self._sum(source)
                hidden = self._hidden()
                if found is not None and hidden is not None and sorted(order) == [0, 1, 2, 3]:
                    read, x, h, bias = found
                    return Cell("LSTM", read, (hidden, place), (x, bias), (h, None), order)
        return None

    def _sum(self, text: str) -> tuple[tuple[int, int], str, str, str | None] | None:
        """``x·W + h·U [+ b]``: what is read, W, U, b."""
        for inner, bias in [*self._pairs(text, *_ADD, "BiasAdd"), (text, None)]:
            for first, second in self._pairs(inner, *_ADD):
                x, h = self._product(first), self._product(second)
                if x is None or h is None or self.loop.origin(self.loop.body, h[0]) != self._hidden():
                    continue
                read = self._read(x[0])
                if read is not None:
                    return read, x[1], h[1], bias
        return None

    def _gru(self) -> Cell | None:
        hidden = self._hidden()
        for kept, new in self._pairs(self.item, *_ADD):
            for update, old in self._pairs(kept, "Mul"):
                if hidden is None or self.loop.origin(self.loop.body, old) != hidden:
                    continue
                for rest, candidate in self._pairs(new, "Mul"):
                    if self._one_minus(rest, update):
                        found = self._gru_gates(hidden, update, candidate)
                        if found is not None:
                            return found
        return None

    def _gru_gates(self, hidden: int, update: str, candidate: str) -> Cell | None:
        """``tanh(x_h + σ(x_r + h_r)·h_h)`` and ``σ(x_z + h_z)``."""
        total, outer = self._one(candidate, "Tanh"), self._one(update, "Sigmoid")
        for x_new, scaled in self._pairs(total or "", *_ADD):
            for reset, h_new in self._pairs(scaled, "Mul"):
                inner = self._one(reset, "Sigmoid")
                for x_r, h_r in self._pairs(inner or "", *_ADD):
                    for x_z, h_z in self._pairs(outer or "", *_ADD):
                        x = [self._part(t) for t in (x_z, x_r, x_new)]
                        h = [self._part(t) for t in (h_z, h_r, h_new)]
                        found = self._gru_sums(hidden, x, h)
                        if found is not None:
                            return found
        return None

    def _gru_sums(self, hidden: int, x: list[_Part | None], h: list[_Part | None]) -> Cell | None:
        if None in x or None in h or len({p[0] for p in x if p}) != 1 or len({p[0] for p in h if p}) != 1:
            return None
        order = tuple(p[1] for p in x if p)
        if order != tuple(p[1] for p in h if p) or sorted(order) != [0, 1, 2]:
            return None
        first, second = self._biased(x[0][0] if x[0] else ""), self._biased(h[0][0] if h[0] else "")
        if first is None or second is None or self.loop.origin(self.loop.body, second[0]) != hidden:
            return None
        read = self._read(first[0])
        if read is None:
            return None
        spans = tuple(p[2] for p in (*x, *h) if p and p[2])
        return Cell("GRU", read, (hidden,), first[1:], second[1:], order, spans)

    def _biased(self, text: str) -> tuple[str, str, str | None] | None:
        """``left · weight [+ bias]``."""
        for inner, bias in [(text, None), *self._pairs(text, *_ADD, "BiasAdd")]:
            found = self._product(inner)
            if found is not None:
                return (*found, bias)
        return None

    # ---- pieces

    def _hidden(self) -> int | None:
        """The place whose next value is the item."""
        wanted = self._ref(self.item)
        places = [i for i, t in enumerate(self.loop.body.results) if self._ref(t) == wanted]
        return places[0] if len(places) == 1 else None

    def _ref(self, text: str) -> Ref:
        """A reference behind identities."""
        for _ in range(64):
            name, number = self.loop.program.reference(self.loop.body, text)
            node = self.loop.body.nodes.get(name)
            if node is None or node.op != "Identity" or not node.data:
                break
            text = node.data[0]
        return name, number

    def _pairs(self, text: str, *kinds: str) -> list[tuple[str, str]]:
        """Both inputs of a node of these kinds, in both orders."""
        node = self._node(text, *kinds)
        if node is None or len(node.data) != 2:
            return []
        left, right = node.data
        return [(left, right)] if node.op == "BiasAdd" else [(left, right), (right, left)]

    def _one(self, text: str, kind: str) -> str | None:
        node = self._node(text, kind)
        return node.data[0] if node is not None and node.data else None

    def _node(self, text: str, *kinds: str) -> Node | None:
        node = self.loop.node(self.loop.body, text) if text else None
        return node if node is not None and node.op in kinds else None

    def _product(self, text: str) -> tuple[str, str] | None:
        node = self._node(text, "MatMul")
        if node is None or len(node.data) != 2 or node.attr("transpose_a", False) or node.attr("transpose_b", False):
            return None
        return node.data[0], node.data[1]

    def _read(self, text: str) -> tuple[int, int] | None:
        """(list, counter) of an element that is read."""
        node = self._node(text, "TensorListGetItem")
        places = [] if node is None else [self.loop.origin(self.loop.body, t) for t in node.data[:2]]
        return (places[0], places[1]) if len(places) == 2 and None not in places else None  # type: ignore[return-value]

    def _part(self, text: str) -> _Part | None:
        """What was cut into equal columns, and which of them this is: Split along the last axis, or a slice."""
        name, number = self._ref(text)
        body = self.loop.body
        node = body.nodes.get(name)
        if node is not None and node.op == "Split" and len(node.data) == 2:
            return (node.data[1], number, None) if self.loop.number(body, node.data[0]) in (1, -1) else None
        if node is None or node.op != "StridedSlice" or len(node.data) != 4:
            return None
        limits = [self.loop.constant(body, t) for t in node.data[1:]]
        masks = [int(node.attr(f"{m}_mask", 0)) for m in ("ellipsis", "new_axis", "shrink_axis")]
        if any(m is None or m.size != 2 for m in limits) or any(masks) or not node.attr("begin_mask", 0) & 1:
            return None
        begin, end, steps = ([int(v) for v in m] for m in limits if m is not None)
        if not node.attr("end_mask", 0) & 1 or steps != [1, 1]:
            return None
        first = 0 if node.attr("begin_mask", 0) & 2 else begin[1]
        last = None if node.attr("end_mask", 0) & 2 else end[1]
        column = 0 if first == 0 else (2 if last is None else 1)
        return node.data[0], column, (column, first, last)

    def _one_minus(self, text: str, gate: str) -> bool:
        node = self._node(text, "Sub")
        if node is None or len(node.data) != 2 or self._ref(node.data[1]) != self._ref(gate):
            return False
        one = self.loop.constant(self.loop.body, node.data[0])
        return one is not None and one.size == 1 and float(one.reshape(-1)[0]) == 1.0
