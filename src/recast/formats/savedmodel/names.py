"""Layer paths from node names: ``functional_1/conv2d/convolution`` belongs to layer ``conv2d``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recast.formats.savedmodel.graph_def import Body, Node, Program

_UNSAFE = re.compile(r"[^\w./-]")
_LONGEST = 200
_MOST = 20_000
# scopes that say how a layer computes, not which layer it is
_INNER = re.compile(r"^(batchnorm|Tensordot|read|ReadVariableOp|Cast|Initializer)(_\d+)?$")
_AGAIN = "_1"
_QUIET = frozenset(
    {
        "Const",
        "Identity",
        "IdentityN",
        "NoOp",
        "Placeholder",
        "ReadVariableOp",
        "VarHandleOp",
        "VariableV2",
        "Shape",
        "Pack",
        "StridedSlice",
    }
)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclass
class Names:
    """How layers are called.

    Attributes:
        common: the scopes that all layers share (the model's name), which are left out.
        scopes: all scopes, if Keras traced the model a second time: then its layers are called ``..._1``, which is
            left out as well; empty otherwise.
    """

    common: tuple[str, ...] = ()
    scopes: frozenset[tuple[str, ...]] = frozenset()

    def layer(self, prefix: str, node: Node) -> str:
        """The layer that a node belongs to."""
        steps = _outer(scope_of(prefix, node))
        start = 0
        if tuple(steps[: len(self.common)]) == self.common and len(steps) > len(self.common):
            start = len(self.common)
        path = "/".join(self._plain(steps, i) for i in range(start, len(steps)))
        return _UNSAFE.sub("_", path or node.name)[:_LONGEST]

    def _plain(self, steps: list[str], place: int) -> str:
        """A scope without the number of the second tracing, unless that is the name of another scope."""
        name = steps[place].removesuffix(_AGAIN)
        taken = (*steps[:place], name) in self.scopes
        return steps[place] if taken or not self.scopes else name


def _outer(steps: list[str]) -> list[str]:
    """Without the inner scopes of a layer."""
    while len(steps) > 1 and _INNER.match(steps[-1]):
        steps = steps[:-1]
    return steps


def scope_of(prefix: str, node: Node) -> list[str]:
    """The scopes around a node: its own name is that of its operator."""
    return [s for s in [*prefix.split("/"), *node.name.split("/")[:-1]] if s]


def below(prefix: str, node: Node) -> str:
    """The prefix of nodes in a function that ``node`` calls."""
    return "/".join(scope_of(prefix, node))


def names_of(program: Program, needed: set[str]) -> Names:
    """Look through all bodies for the scopes that everything lies in."""
    found: set[tuple[str, ...]] = set()
    left = _MOST
    waiting: list[tuple[Body, str, int]] = [(program.main, "", 0)]
    while waiting and left > 0:
        body, prefix, depth = waiting.pop()
        for node in body.nodes.values():
            left -= 1
            if body is program.main and node.name not in needed:
                continue
            called = program.functions.get(str(node.attr("f", "")) if node.op in _CALLS else node.op)
            if called is not None:
                if depth < 8 and left > 0:
                    waiting.append((called, below(prefix, node), depth + 1))
            elif node.op not in _QUIET:
                found.add(tuple(_outer(scope_of(prefix, node))))
    found.discard(())
    common = _shared(sorted(found))
    again = bool(found) and all(s[len(common)].endswith(_AGAIN) for s in found)
    scopes = {s[:i] for s in found for i in range(1, len(s) + 1)} if again else set()
    return Names(common, frozenset(scopes))


def _shared(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The start that all paths have in common, so that something is left of each."""
    if not paths:
        return ()
    first, last = paths[0], paths[-1]  # sorted: what these two share all share
    count = 0
    while count < min(min(map(len, paths)) - 1, len(last)) and first[count] == last[count]:
        count += 1
    return first[:count]
