"""Which entry of the checkpoint a variable is: what the graph's own restore operation would assign to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recast.errors import BadModel, UnsupportedType
from recast.formats.savedmodel import tensors
from recast.formats.savedmodel.graph_def import Body, Node
from recast.formats.savedmodel.source import Source

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
HANDLES = frozenset({"VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable"})
_PASSES = frozenset({"Identity", "Cast", "Reshape"})
_MAX_DEPTH = 8
_MAX_CALLS = 256  # calls that are looked into for restored variables


@dataclass
class Variables:
    """The arrays of a file's variables, by the name of their node in the main graph."""

    source: Source
    _keys: dict[str, str] | None = None
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """A variable's stored numbers.

        Raises:
            BadModel: nothing is stored for it.
        """
        if name not in self._arrays:
            where = f"variable '{name[:200]}' of {self.source.where}"
            if self.source.variables is None:
                raise BadModel("the graph has variables, but no checkpoint lies beside it", where, "freeze the graph")
            if self._keys is None:
                self._keys = _restored(self.source)
            key = self._keys.get(name)
            if key is None:
                raise BadModel("nothing restores this variable from the checkpoint", where, "export the model again")
            array = self.source.variables.array(key)
            node = self.source.program.main.nodes[name]
            told = tensors.dims(node.attr("shape")) if "shape" in node.raw else None
            if told is not None and (
                len(told) != array.ndim or any(t not in (None, d) for t, d in _pairs(told, array))
            ):
                raise BadModel(f"stored shape {list(array.shape)} for a variable of {told}", where, tensors.DAMAGED)
            self._arrays[name] = array
        return self._arrays[name]


def _pairs(told: list[int | None], array: np.ndarray) -> zip[tuple[int | None, int]]:
    return zip(told, array.shape, strict=True)


@dataclass
class _Frame:
    """A body being looked at, and what its arguments are: (frame, reference) of the caller."""

    body: Body
    arguments: dict[str, tuple[_Frame, str]]
    depth: int = 0
    calls: list[str] = field(default_factory=list)  # all functions looked into so far, shared by all frames


def _restored(source: Source) -> dict[str, str]:
    keys: dict[str, str] = {}
    main = _Frame(source.program.main, {})
    _collect(source, main, keys)
    node = source.program.main.nodes.get(source.restore_op.split(":", 1)[0])
    if node is not None:
        _enter(source, main, node, keys)
    return keys


def _enter(source: Source, frame: _Frame, node: Node, keys: dict[str, str]) -> None:
    """Look into the function that a node calls."""
    called = str(node.attr("f", "")) if node.op in CALLS else node.op
    body = source.program.functions.get(called)
    if body is None or frame.depth > _MAX_DEPTH or len(frame.calls) >= _MAX_CALLS:
        return
    frame.calls.append(called)
    arguments = {name: (frame, text) for name, text in zip(body.arguments, node.data, strict=False)}
    inner = _Frame(body, arguments, frame.depth + 1, frame.calls)
    _collect(source, inner, keys)
    for other in body.nodes.values():
        if other.op in CALLS or other.op in source.program.functions:
            _enter(source, inner, other, keys)


def _collect(source: Source, frame: _Frame, keys: dict[str, str]) -> None:
    for node in frame.body.nodes.values():
        if node.op in ("Assign", "AssignVariableOp") and len(node.data) >= 2:
            value = _trace(source, frame, node.data[1])
            variable = _trace(source, frame, node.data[0])
            if value is None or variable is None or value[1].op != "RestoreV2" or variable[1].op not in HANDLES:
                continue
            key = _restored_key(source, *value)
            if key is not None:
                keys[variable[1].name] = key


def _trace(source: Source, frame: _Frame, text: str) -> tuple[_Frame, Node, int] | None:
    """The node that makes a value, looking through identities and calls' arguments."""
    for _ in range(64):
        name, number = source.program.reference(frame.body, text)
        if name in frame.arguments and name not in frame.body.nodes:
            frame, text = frame.arguments[name]
            continue
        node = frame.body.nodes.get(name)
        if node is None:
            return None
        if node.op not in _PASSES or not node.data:
            return frame, node, number
        text = node.data[0]
    return None


def _restored_key(source: Source, frame: _Frame, node: Node, number: int) -> str | None:
    if len(node.data) < 3:
        return None
    names, slices = (_texts(source, frame, text) for text in node.data[1:3])
    if names is None or number >= len(names):
        return None
    if slices is not None and number < len(slices) and slices[number]:
        raise UnsupportedType(
            f"variable '{names[number][:200]}' is stored in slices", source.where, "save it unpartitioned"
        )
    return names[number]


def _texts(source: Source, frame: _Frame, text: str) -> Sequence[str] | None:
    found = _trace(source, frame, text)
    if found is None or found[1].op != "Const":
        return None
    value = found[1].attr("value")
    return tensors.texts(value, source.where) if isinstance(value, dict) else None
