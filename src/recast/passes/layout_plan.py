"""Which layout every tensor gets: orientations spread from image and recurrent operators, then a minimum cut.

An *orientation* of a value says how its other physical form comes from the graph's own axes (``perm``), and which of
the two forms is label B (channels-last, batch-major). Label A is channels-first, or time-major.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.graph import CHANNELS_LAST_DOMAIN
from recast.graph.view import attr, is_const, layer_of, rank
from recast.ops import fact
from recast.passes import PassOptions
from recast.passes.layout_cut import A, B, Cut
from recast.passes.layout_dense import Fold, dense_fold
from recast.passes.layout_groups import Groups, new_target
from recast.passes.layout_rules import Axes, Perm, Rule, inverse, is_identity, rule_of, to_first, to_last

_PER_TRANSPOSE = 64  # bytes: with equal traffic, fewer Transposes


@dataclass(frozen=True)
class Orient:
    """The other form of a value is ``transpose(value, perm)``, label ``alt``; the graph's own has ``1 - alt``."""

    perm: Perm
    alt: int
    time: bool = False


@dataclass
class Site:
    """What the plan knows of one node.

    Attributes:
        rule: how orders pass through; None for nodes with a fixed form and for those that are pinned.
        forms: for image and recurrent nodes: the permutation of every affected operand in its other form.
        order: the node's other order of letters, with label ``alt``.
        var: the node's variable in the cut (a terminal where it has no choice).
        ties: operands (input i, output ~i) that take the node's label.
    """

    node: ir.Node
    rule: Rule | None = None
    forms: dict[int, Perm] = field(default_factory=dict)
    order: tuple[int, ...] | None = None
    alt: int = B
    time: bool = False
    var: int = -1
    ties: dict[int, Perm] = field(default_factory=dict)


class Plan:
    """Labels for the values and nodes of one graph. ``solve`` fills ``labels``; ``rewrite`` uses them."""

    def __init__(self, graph: ir.Graph, options: PassOptions) -> None:
        self.graph, self.options = graph, options
        self.target = B if options.layout == "channels_last" else A
        self.orient: dict[ir.Value, Orient] = {}
        self.sites: dict[ir.Node, Site] = {}
        self.alias: dict[ir.Value, ir.Value] = {}  # result of a Transpose → the same bytes under another name
        self.producer: dict[ir.Value, int] = {}
        self.folds: dict[ir.Node, Fold] = {}
        self.free: set[ir.Node] = set()  # Reshapes that take their input in either form
        self.cut = Cut()
        self.labels: list[int] = []
        self.cost = 0
        self._users: dict[ir.Value, list[int]] = {}
        self._queue: deque[ir.Value] = deque()

    def solve(self) -> None:
        """Spread orientations, build the network, cut it.

        Raises:
            UnsupportedOp: image operators that cannot take the target's layout (all of them).
        """
        refused = []
        for node in self.graph:
            site = self.sites[node] = Site(node)
            reason = self._seed(site)
            if reason:
                refused.append(f"{layer_of(node)} ({node.op_type}: {reason})")
        if refused:
            raise UnsupportedOp(
                f"{len(refused)} operators cannot be laid out channels-last",
                "; ".join(refused[:20]),
                "give the model static input shapes, or convert to a channels-first target",
            )
        self._spread()
        if not self.orient:
            return
        self._network()
        for value, users in self._users.items():
            self.cut.fan_out(self._label_of(value), users, size_bytes(value) + _PER_TRANSPOSE)
        self.labels, self.cost = self.cut.solve(self.target)

    def state(self, variable: int) -> int:
        """The label of a variable."""
        return variable if variable in (A, B) else self.labels[variable]

    def is_alt(self, site: Site) -> bool:
        """Whether a node works in its other order."""
        return bool(site.ties) and self.state(site.var) == site.alt

    # -- orientations -----------------------------------------------------------------------------------------------

    def _seed(self, site: Site) -> str:
        """Image and recurrent nodes have one form by the target; their operands get an orientation."""
        node = site.node
        facts = fact(node.op_type) if node.domain in ("", CHANNELS_LAST_DOMAIN) else None
        if facts is None or facts.kind not in ("image", "recurrent"):
            return ""
        if facts.kind == "recurrent":
            self._seed_recurrent(site)
            return ""
        last = node.domain == CHANNELS_LAST_DOMAIN
        data = node.inputs[0]
        size = rank(data) if data is not None else None
        used = [v for v in node.outputs[1:] if v.uses() or v.is_graph_output()]
        if size is None or used:
            reason = "its rank is unknown" if size is None else "it has more than one result"
            return reason if self.target == B and not last else ""
        if size < 3 or facts.inputs[0].dims[:1] != ("n",):
            return ""
        site.alt, site.var = (A if last else B), self.target
        for slots, operands in ((range(len(node.inputs)), facts.inputs), (range(1), facts.outputs)):
            for slot in slots:
                if slot < len(operands) and operands[slot].dims[0] == "n":
                    key = slot if operands is facts.inputs else ~slot
                    site.forms[key] = to_first(size) if last else to_last(size)
        self._propose(site)
        return ""

    def _seed_recurrent(self, site: Site) -> None:
        node = site.node
        batch_major = bool(attr(node, "layout", 0))
        site.alt, site.time = (A if batch_major else B), True
        site.var = B if self.options.rnn_batch_major else A
        swap = (1, 0, 2)
        site.forms = {i: swap for i in (0, 5, 6) if i < len(node.inputs) and node.inputs[i] is not None}
        site.forms |= {~0: (1, 2, 0, 3) if batch_major else (2, 0, 1, 3)}
        site.forms |= {~i: swap for i in range(1, len(node.outputs))}
        self._propose(site)

    def _propose(self, site: Site) -> None:
        for slot, perm in site.forms.items():
            value = operand(site.node, slot)
            if value is not None and not is_const(value):
                self._set(value, Orient(perm, site.alt, site.time))

    def _set(self, value: ir.Value, orient: Orient) -> None:
        if value not in self.orient and not is_identity(orient.perm) and rank(value) == len(orient.perm):
            self.orient[value] = orient
            self._queue.append(value)

    def _spread(self) -> None:
        while self._queue:
            value = self._queue.popleft()
            orient = self.orient[value]
            touching = [(use.node, use.idx) for use in value.uses()]
            producer = value.producer()
            if producer is not None:
                touching.append((producer, ~producer.outputs.index(value)))
            for node, slot in touching:
                site = self.sites.get(node)
                if site is None or site.forms:
                    continue
                if node.op_type == "Transpose" and node.domain == "":
                    self._through_transpose(node, slot, orient)
                else:
                    self._through(site, slot, orient)

    def _through_transpose(self, node: ir.Node, slot: int, orient: Orient) -> None:
        perm = transpose_perm(node)
        wanted = perm if slot == 0 else inverse(perm)
        other = node.outputs[0] if slot == 0 else node.inputs[0]
        if orient.perm == wanted and other is not None and not is_const(other):
            self._set(other, Orient(inverse(wanted), 1 - orient.alt, orient.time))

    def _through(self, site: Site, slot: int, orient: Orient) -> None:
        if site.order is not None:
            return
        if site.rule is None:
            site.rule = rule_of(site.node)
        order = site.rule.order(slot, orient.perm) if site.rule else None
        if order is None or site.rule is None or order == tuple(range(len(order))):
            return
        site.order, site.alt, site.time = order, orient.alt, orient.time
        for other in slots_of(site.node):
            value = operand(site.node, other)
            perm = site.rule.perm(other, order)
            if value is not None and perm is not None and not is_const(value):
                self._set(value, Orient(perm, orient.alt, orient.time))

    # -- the network ------------------------------------------------------------------------------------------------

    def _network(self) -> None:
        for value in self.graph.inputs:
            self.producer[value] = self._border(value)
        for site in self.sites.values():
            node = site.node
            if node.op_type == "Transpose" and node.domain == "":
                self._transpose_edges(node)
            elif site.forms:
                for slot, perm in site.forms.items():
                    self._tie_form(site, slot, perm)
            elif isinstance(site.rule, Groups):
                self._reshape_edges(site, site.rule)
            elif not (node.op_type in ("Shape", "Size") and node.domain == ""):
                self._rule_edges(site)
        for value in self.graph.outputs:
            if value in self.orient and (label := self._border(value, output=True)) in (A, B):
                self._use(value, label)
        for value in self.orient:
            if any(use.node not in self.sites for use in value.uses()):
                self._use(value, self._own(value))

    def _border(self, value: ir.Value, output: bool = False) -> int:
        orient = self.orient.get(value)
        wish = self.options.io_layout
        if orient is None or wish == "keep" or orient.time:
            return self._own(value)
        if wish == "auto":
            return -1 if output else self.cut.variable()
        return B if wish == "nhwc" else A

    def _own(self, value: ir.Value) -> int:
        """The label of the graph's own axes of a value."""
        orient = self.orient.get(value)
        return A if orient is None else 1 - orient.alt

    def _use(self, value: ir.Value, variable: int) -> None:
        while value in self.alias:
            value = self.alias[value]
        if value in self.orient:
            self._users.setdefault(value, []).append(variable)

    def _label_of(self, value: ir.Value) -> int:
        return self.producer.get(value, self._own(value))

    def _tie_form(self, site: Site, slot: int, perm: Perm) -> None:
        value = operand(site.node, slot)
        if value is None:
            return
        site.ties[slot] = perm
        orient = self.orient.get(value)
        if slot < 0:
            if orient is not None:
                self.producer[value] = site.var if orient.perm == perm else self._own(value)
        elif orient is not None and (orient.perm, orient.alt) == (perm, site.alt):
            self._use(value, site.var)

    def _transpose_edges(self, node: ir.Node) -> None:
        source, result = node.inputs[0], node.outputs[0]
        if source is None:
            return
        perm = transpose_perm(node)
        orient = self.orient.get(source)
        if orient is not None and orient.perm == perm:
            own = self.orient.get(result)
            if own is None:
                self._use(source, orient.alt)
                return
            if (own.perm, own.alt) == (inverse(perm), 1 - orient.alt):
                self.alias[result] = source
                return
        if result in self.orient:
            self.producer[result] = self.cut.variable()

    def _reshape_edges(self, site: Site, rule: Groups) -> None:
        """Each side of a Reshape is tied to the groups' order, free (only axes of size 1 move), or pinned."""
        node = site.node
        sides = {slot: self.orient.get(v) for slot in (0, ~0) if (v := operand(node, slot)) is not None}
        perms = {slot: o.perm if o else tuple(range(rule.ranks[slot != 0])) for slot, o in sides.items()}
        if 0 not in perms or (node.op_type == "Reshape" and new_target(node, rule, perms[0], perms[~0]) is None):
            self._pin(site)
            return
        orders = {slot: rule.order(slot, o.perm) if o else None for slot, o in sides.items()}
        tied = site.order is not None and all(
            o is not None and orders[slot] == site.order and o.alt == site.alt for slot, o in sides.items()
        )
        site.var = self.cut.variable()
        for slot, orient in sides.items():
            value = operand(node, slot)
            if orient is None or value is None:
                continue
            order = orders[slot]
            free = order is not None and order == tuple(range(len(order))) and self._safe_alone(site, rule, slot, sides)
            if tied:
                site.ties[slot] = orient.perm
            if slot == 0 and not free and not tied and (fold := dense_fold(node, orient.perm)) is not None:
                self.folds[node] = fold
            elif slot == 0 and free:
                self.free.add(node)
            elif slot == 0:
                self._use(value, site.var if tied else self._own(value))
            elif slot != 0:
                self.producer[value] = site.var if tied else (self.cut.variable() if free else self._own(value))

    def _safe_alone(self, site: Site, rule: Groups, slot: int, sides: dict[int, Orient | None]) -> bool:
        """Whether the target shape can be written for every combination of the two sides' forms."""
        node = site.node
        if node.op_type == "Flatten":
            return slot == 0
        ranks = [rank(v) or 0 for v in (node.inputs[0], node.outputs[0]) if v is not None]
        forms = []
        for index, side in enumerate((sides.get(0), sides.get(~0))):
            forms.append([tuple(range(ranks[index]))] + ([side.perm] if side else []))
        return all(new_target(node, rule, a, b) is not None for a in forms[0] for b in forms[1])

    def _rule_edges(self, site: Site) -> None:
        node, rule = site.node, site.rule
        if not isinstance(rule, Axes) or site.order is None or not self._fits(site, rule, site.order):
            self._pin(site)
            return
        site.var = self.cut.variable()
        for slot in slots_of(node):
            value = operand(node, slot)
            perm = rule.perm(slot, site.order) if value is not None else None
            if value is None or rule.letters(slot) is None:
                if value is not None and slot >= 0:
                    self._use(value, self._own(value))
                continue
            tie = perm is not None and not is_identity(perm) and not is_const(value)
            if perm is not None and rule.letters(slot) is not None:
                site.ties[slot] = perm
            if slot >= 0:
                self._use(value, site.var if tie else self._own(value))
            elif value in self.orient:
                self.producer[value] = site.var if tie else self._own(value)

    def _fits(self, site: Site, rule: Axes, order: tuple[int, ...]) -> bool:
        for slot in slots_of(site.node):
            value = operand(site.node, slot)
            if value is None or rule.letters(slot) is None or is_const(value):
                continue
            perm = rule.perm(slot, order)
            if perm is None:
                if rule.gaps(slot, order) is None:
                    return False
            elif not is_identity(perm):
                own = self.orient.get(value)
                if own is None or (own.perm, own.alt) != (perm, site.alt):
                    return False
        return True

    def _pin(self, site: Site) -> None:
        site.ties = {}
        for value in site.node.inputs:
            if value is not None:
                self._use(value, self._own(value))


def operand(node: ir.Node, slot: int) -> ir.Value | None:
    """Input ``slot``, or output ``~slot`` when negative."""
    return node.inputs[slot] if slot >= 0 else node.outputs[~slot]


def slots_of(node: ir.Node) -> list[int]:
    """All slots of a node: inputs 0, 1, … and outputs -1, -2, …"""
    return [*range(len(node.inputs)), *(~i for i in range(len(node.outputs)))]


def transpose_perm(node: ir.Node) -> Perm:
    """The permutation of a Transpose (default: reversed axes)."""
    given = attr(node, "perm")
    if given is not None:
        return tuple(given)
    size = rank(node.outputs[0]) or (rank(node.inputs[0]) if node.inputs[0] is not None else None) or 0
    return tuple(reversed(range(size)))


def size_bytes(value: ir.Value) -> int:
    """Bytes of a tensor, symbolic dims counted as 1."""
    dims = [d if isinstance(d, int) else 1 for d in value.shape or ()]
    return int(math.prod(dims) * (value.dtype.itemsize if value.dtype is not None else 4))
