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
_NUMBER = re.compile(r"(_1)?$")
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
    """The scopes that all layers share (the model's name) and the number that all end with, which are left out."""

    common: tuple[str, ...] = ()
    ending: str = ""

    def layer(self, prefix: str, node: Node) -> str:
        """The layer that a node belongs to."""
        steps = scope_of(prefix, node)
        if tuple(steps[: len(self.common)]) == self.common and len(steps) > len(self.common):
            steps = steps[len(self.common) :]
        while len(steps) > 1 and _INNER.match(steps[-1]):
            steps.pop()
        path = "/".join(steps[:-1] + [steps[-1].removesuffix(self.ending)]) if steps else node.name
        return _UNSAFE.sub("_", path)[:_LONGEST]


def scope_of(prefix: str, node: Node) -> list[str]:
    """The scopes around a node: its own name is that of its operator."""
    return [s for s in [*prefix.split("/"), *node.name.split("/")[:-1]] if s]


def below(prefix: str, node: Node) -> str:
    """The prefix of nodes in a function that ``node`` calls."""
    return "/".join(scope_of(prefix, node))


def names_of(program: Program, needed: set[str]) -> Names:
    """Look through all bodies for the scopes that everything lies in."""
    shared: list[str] | None = None
    endings, lasts = set[str](), set[str]()
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
                continue
            steps = scope_of(prefix, node)
            if node.op in _QUIET or not steps:
                continue
            while len(steps) > 1 and _INNER.match(steps[-1]):
                steps.pop()
            lasts.add(steps[-1])
            endings.add(_NUMBER.search(steps[-1]).group())  # type: ignore[union-attr]
            shared = steps[:-1] if shared is None else _start(shared, steps[:-1])
    # Keras traces a model twice when it exports it: the second time all its layers are called ..._1
    ending = endings.pop() if len(endings) == 1 and len(lasts) > 2 else ""
    return Names(tuple(shared or ()), ending)


def _start(first: list[str], second: list[str]) -> list[str]:
    count = 0
    while count < min(len(first), len(second)) and first[count] == second[count]:
        count += 1
    return first[:count]
