"""The values of one body (the main graph or a function's) while it is turned into graph nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from recast.errors import BadModel, RecastError, TooLarge, UnsupportedOp, UnsupportedType
from recast.formats.savedmodel import reading, schema
from recast.formats.savedmodel.graph_def import Body, Node, Program
from recast.formats.savedmodel.names import Names
from recast.formats.savedmodel.source import Source, changes
from recast.formats.savedmodel.tensors import DAMAGED
from recast.formats.savedmodel.variables import Variables
from recast.graph.build import Builder
from recast.graph.finding import Finding
from recast.passes._partial import Partial

MAX_DEPTH = 40  # nested calls, conditions and loops
MAX_NODES = 20_000  # nodes read in all beyond what the file holds, as a function may be called many times
_NODE_BYTES = 32  # about the least that a node takes in a file


@dataclass(frozen=True, eq=False)
class Held:
    """A constant or a variable's value, before anybody needs it in the graph."""

    array: np.ndarray
    name: str


@dataclass(frozen=True, eq=False)
class Handle:
    """A variable itself (TensorFlow 2's resources, TensorFlow 1's references)."""

    name: str


@dataclass(frozen=True, eq=False)
class TensorList:
    """A list of equal tensors as one tensor (n, *element); ``value`` is None while nothing was written to it."""

    value: ir.Value | None
    count: Thing
    element: tuple[int | str | None, ...] | None
    dtype: ir.DataType


@dataclass(frozen=True, eq=False)
class Absent:
    """No value: ``why`` is ``unread`` (the operator cannot be read) or ``dead`` (a branch that is never taken)."""

    why: str


Thing = ir.Value | Held | Handle | TensorList | Absent
UNREAD, DEAD = Absent("unread"), Absent("dead")


def data_type(number: int, where: str = "") -> ir.DataType:
    """The graph's element type of a type number.

    Raises:
        UnsupportedType: the graph has none (text, resources, complex numbers).
    """
    kind = schema.NUMPY.get(schema.plain(number))
    if kind is None:
        raise UnsupportedType(
            f"tensors of type {schema.type_name(number)} cannot be converted", where, "remove them from the model"
        )
    return ir.DataType.from_numpy(kind)


@dataclass
class Reading:
    """What all bodies of one file share."""

    source: Source
    names: set[str]
    titles: Names
    findings: dict[Finding, None] = field(default_factory=dict)
    unsupported: dict[str, list[str]] = field(default_factory=dict)
    nodes_left: int = MAX_NODES
    steps_left: int = 1_000_000
    depth: int = 0
    room: int = 1 << 26
    symbols: dict[str, tuple[ir.Value, int]] = field(default_factory=dict)
    values: dict[tuple[int, Held, tuple[object, ...]], ir.Value] = field(default_factory=dict)
    folded: dict[ir.Value, np.ndarray | None] = field(default_factory=dict)
    partly: dict[ir.Value, Partial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variables = Variables(self.source)
        self.held: dict[str, Held] = {}
        self.builders: list[Builder] = []
        self.nodes_left += len(self.program.main.nodes) + 2 * self.program.functions.size_bytes // _NODE_BYTES

    @property
    def program(self) -> Program:
        """The graph and its functions."""
        return self.source.program

    def search(self) -> None:
        """Account for one step of looking around in the graph.

        Raises:
            TooLarge: conditions are tangled beyond reason.
        """
        self.steps_left -= 1
        if self.steps_left < 0:
            raise TooLarge("the conditions of the graph are too tangled", self.source.where, DAMAGED)

    def builder(self, name: str) -> Builder:
        """A builder of a sub-graph; it is kept, as constants are remembered by builder."""
        made = Builder(name, self.names)
        self.builders.append(made)
        return made

    def discard(self, builder: Builder) -> None:
        """Let the nodes of a sub-graph that is read again let go of what they use."""
        for outer in builder.nodes:
            graphs = [a.as_graph() for a in outer.attributes.values() if a.type == ir.AttributeType.GRAPH]
            for node in [outer, *(n for g in graphs for n in g.all_nodes())]:
                for position in range(len(node.inputs)):
                    node.replace_input_with(position, None)

    def refuse(self, operator: str, reason: str, node: str) -> None:
        """Note an operator that cannot be read; all are told together."""
        self.unsupported.setdefault(f"{operator}: {reason}" if reason else operator, []).append(node)

    def variable(self, handle: Handle) -> Held:
        """A variable's stored value."""
        if handle.name not in self.held:
            self.held[handle.name] = Held(self.variables.array(handle.name), handle.name)
        return self.held[handle.name]

    def allocate(self, size_bytes: int, where: str) -> None:
        """Account for a copy of weights.

        Raises:
            TooLarge: small parts of the file were blown up beyond reason.
        """
        self.room -= size_bytes
        if self.room < 0:
            raise TooLarge("the constants are used in too many different forms", where, DAMAGED)


class Scope:
    """One body in one builder: node name → what its outputs are. Only what the results need is read."""

    def __init__(self, shared: Reading, body: Body, builder: Builder, prefix: str, things: Sequence[Thing]) -> None:
        self.reading, self.body, self.b, self.prefix = shared, body, builder, prefix
        self.results: dict[str, dict[int, Thing] | Absent] = {
            name: {0: thing} for name, thing in zip(body.arguments, things, strict=True)
        }
        self.absorbed: set[str] = set()  # nodes whose work an earlier node does as well

    def bind(self, text: str, thing: Thing) -> None:
        """Say what a tensor is, whatever the graph would compute for it."""
        name, number = self.reading.program.reference(self.body, text)
        held = self.results.setdefault(name, {})
        if isinstance(held, dict):
            held[number] = thing

    def thing(self, text: str) -> Thing:
        """What a reference stands for.

        Raises:
            BadModel: nothing computes it.
        """
        name, number = self.reading.program.reference(self.body, text)
        self._need(name)
        found = self.results[name]
        if isinstance(found, Absent):
            return found
        if number not in found:
            raise BadModel(f"'{text[:200]}' does not exist", self.body.where, DAMAGED)
        return found[number]

    def things(self, texts: Iterable[str]) -> list[Thing]:
        """What several references stand for."""
        return [self.thing(t) for t in texts]

    def _need(self, wanted: str) -> None:
        """Read a node after everything that it needs (without recursion: graphs are deep)."""
        stack, begun = [wanted], set[str]()
        while stack:
            name = stack[-1]
            if name in self.results:
                stack.pop()
                continue
            node = self.body.nodes.get(name)
            if node is None:
                raise BadModel(f"nothing computes '{name[:200]}'", self.body.where, DAMAGED)
            inputs = [t.split(":", 1)[0] for t in node.data] + self._gates(node)
            missing = [i for i in inputs if i not in self.results]
            if missing:
                if name in begun or any(m in begun for m in missing):
                    self._circle(node)
                    continue
                begun.add(name)
                stack.extend(reversed(missing))
                continue
            stack.pop()
            self._read(node)

    def _gates(self, node: Node) -> list[str]:
        """What lets a node run only in one branch of a TensorFlow 1 condition: sides of a Switch it waits for."""
        found = []
        for name in node.control:
            gate = self.body.nodes.get(name)
            before = self.body.nodes.get(gate.data[0].split(":", 1)[0]) if gate is not None and gate.data else None
            if gate is not None and before is not None and gate.op == "Identity" and before.op == "Switch":
                found.append(name)
        return found

    def _circle(self, node: Node) -> None:
        """Loops of TensorFlow 1 (Enter, NextIteration …) run in circles; anything else is damaged."""
        kinds = ("Merge", "RefMerge", "NextIteration", "Enter", "Switch", "Exit", "LoopCond")
        if not any(n.op in ("Enter", "RefEnter", "NextIteration") for n in self.body.nodes.values()):
            raise BadModel(f"'{node.name[:200]}' depends on itself", self.body.where, DAMAGED)
        loops = next((n for n in self.body.nodes.values() if n.op in kinds), node)
        raise UnsupportedOp(
            "loops of TensorFlow 1 (Enter, NextIteration, Exit) cannot be read",
            f"node {loops.name[:200]} of {self.body.where}",
            "export with tf.compat.v1.enable_control_flow_v2(), or from TensorFlow 2",
        )

    def _read(self, node: Node) -> None:
        from recast.formats.savedmodel.call import Call

        shared = self.reading
        shared.nodes_left -= 1
        if shared.nodes_left < 0:
            raise TooLarge("functions are called too often", self.body.where, DAMAGED)
        function = node.op in shared.program.functions
        handler = reading.handlers().get("PartitionedCall" if function else node.op)
        given = self.things(node.data)
        gated = any(self.results.get(g) is DEAD or self.results.get(g) == {0: DEAD} for g in self._gates(node))
        if gated or (DEAD in given and node.op not in ("Merge", "RefMerge")):
            self.results[node.name] = DEAD
            return
        if handler is None:
            shared.refuse(node.op, "", self.place(node))
            self.results[node.name] = UNREAD
            return
        if UNREAD in given:
            self.results[node.name] = UNREAD
            return
        path = shared.titles.layer(self.prefix, node)
        with self.b.layer(path, node.op):
            try:
                handler(Call(self, node, given, path))
            except UnsupportedOp as error:
                shared.refuse(node.op, error.what, self.place(node))
                self.results[node.name] = UNREAD
            except RecastError as error:
                error.where = error.where or f"node {self.place(node)} ({node.op}) of {shared.source.where}"
                raise

    def place(self, node: Node) -> str:
        """A node's path for messages."""
        return (f"{self.prefix}/{node.name}" if self.prefix else node.name)[:200]

    def inline(
        self, function: str, things: Sequence[Thing], prefix: str, builder: Builder | None = None
    ) -> list[Thing]:
        """Read a function's body with its arguments set; its nodes take the call's place.

        Raises:
            BadModel: there is no such function, or it takes other arguments.
            TooLarge: calls are nested too deeply.
            UnsupportedOp: it changes variables.
        """
        shared = self.reading
        body = shared.program.functions.get(function)
        if body is None:
            raise BadModel(f"there is no function '{function[:200]}'", self.body.where, DAMAGED)
        if len(body.arguments) != len(things):
            raise BadModel(f"{len(things)} arguments instead of {len(body.arguments)}", body.where, DAMAGED)
        changing = [n for n in body.nodes.values() if changes(n.op)]
        if changing:
            raise UnsupportedOp(f"it changes variables while it runs ({changing[0].op} at {changing[0].name[:200]})")
        shared.depth += 1
        if shared.depth > MAX_DEPTH:
            raise TooLarge(f"calls are nested deeper than {MAX_DEPTH}", body.where, DAMAGED)
        inner = Scope(shared, body, builder or self.b, prefix, things)
        results = inner.things(body.results)
        shared.depth -= 1
        return results
