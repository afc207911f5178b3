"""A graph of TensorFlow nodes, parsed: the main graph of a file or the body of a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from recast._util.bounded import MAX_NODES
from recast._util.wire import Budget, Message, decode
from recast.errors import BadModel, TooLarge
from recast.formats.savedmodel.schema import SCHEMA
from recast.formats.savedmodel.tensors import DAMAGED

# outputs of operators by name, for references inside functions; others have one output, or a list of them
OUTPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2"), ("y", "batch_mean", "batch_variance", "r1", "r2")),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance", "r1", "r2", "r3"),
    "TopKV2": ("values", "indices"),
    "TopK": ("values", "indices"),
    "Unique": ("y", "idx"),
    "UniqueV2": ("y", "idx"),
    "UniqueWithCounts": ("y", "idx", "count"),
    "Switch": ("output_false", "output_true"),
    "RefSwitch": ("output_false", "output_true"),
    "Merge": ("output", "value_index"),
    "RefMerge": ("output", "value_index"),
    "MaxPoolWithArgmax": ("output", "argmax"),
    "NonMaxSuppressionV4": ("selected_indices", "valid_outputs"),
    "NonMaxSuppressionV5": ("selected_indices", "selected_scores", "valid_outputs"),
    "CombinedNonMaxSuppression": ("nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"),
    "TensorListPopBack": ("output_handle", "tensor"),
    "TensorArrayV3": ("handle", "flow"),
    "SoftmaxCrossEntropyWithLogits": ("loss", "backprop"),
    "SparseSoftmaxCrossEntropyWithLogits": ("loss", "backprop"),
    "Svd": ("s", "u", "v"),
    "Qr": ("q", "r"),
    "SelfAdjointEigV2": ("e", "v"),
    "LSTMBlockCell": ("i", "cs", "f", "o", "ci", "co", "h"),
    "BlockLSTM": ("i", "cs", "f", "o", "ci", "co", "h"),
    "BlockLSTMV2": ("i", "cs", "f", "o", "ci", "co", "h"),
    "ListDiff": ("out", "idx"),
    "BroadcastGradientArgs": ("r0", "r1"),
    "SampleDistortedBoundingBoxV2": ("begin", "size", "bboxes"),
    "StatelessRandomGetKeyCounter": ("key", "counter"),
}

Ref = tuple[str, int]  # a node's name and the number of its output


@dataclass
class Node:
    """One node: its name, operator, inputs as written, attributes as bytes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    raw: dict[str, memoryview]
    _held: dict[str, Any] = field(default_factory=dict)

    def attribute(self, name: str) -> Message | None:
        """An attribute's message, or None if it is left out (its default is meant)."""
        if name not in self._held:
            view = self.raw.get(name)
            self._held[name] = None if view is None else decode(SCHEMA, "Attribute", view)
        found: Message | None = self._held[name]
        return found

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's plain value: number, text, list, shape or tensor message; the name of a function."""
        message = self.attribute(name)
        if message is None:
            return default
        if "list" in message:
            return _list(message["list"])
        if "s" in message:
            return bytes(message["s"]).decode("utf-8", "replace")
        if "func" in message:
            return message["func"].get("name", "")
        return next(iter(message.values()), default if default is not None else 0)

    @property
    def data(self) -> list[str]:
        """The inputs that are tensors."""
        return [i for i in self.inputs if not i.startswith("^")]

    @property
    def control(self) -> list[str]:
        """The nodes that must have run before."""
        return [i[1:] for i in self.inputs if i.startswith("^")]


def _list(message: Message) -> list[Any]:
    for name, values in message.items():
        if name == "s":
            return [bytes(v).decode("utf-8", "replace") for v in values]
        if name == "func":
            return [v.get("name", "") for v in values]
        return list(values)
    return []


@dataclass
class Body:
    """Nodes by name, in the file's order; a function also has arguments and results.

    Attributes:
        where: the file and function, for errors.
        arguments: names of a function's arguments.
        results: references to a function's results, in the order of its signature.
    """

    where: str
    nodes: dict[str, Node]
    arguments: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    @cached_property
    def users(self) -> dict[str, list[tuple[Node, int]]]:
        """By node name: the nodes that take one of its outputs, and as which data input."""
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes.values():
            for place, text in enumerate(node.data):
                found.setdefault(text.split(":", 1)[0], []).append((node, place))
        for text in self.results:
            found.setdefault(text.split(":", 1)[0], []).append((_END, 0))
        return found


_END = Node("", "", (), {})


class Library:
    """The functions of a file by name; a body is decoded when it is first asked for."""

    def __init__(self, views: Sequence[memoryview], where: str) -> None:
        self._where = where
        self._views: dict[str, memoryview] = {}
        self._bodies: dict[str, Body] = {}
        self.size_bytes = sum(len(v) for v in views)
        for view in views:
            name = decoded("FunctionHead", view, where).get("signature", {}).get("name", "")
            self._views[name] = view

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def get(self, name: str) -> Body | None:
        """A function's body, or None if there is no such function."""
        if name not in self._bodies and name in self._views:
            place = f"function {name[:200]} of {self._where}"
            self._bodies[name] = _function(decoded("Function", self._views[name], place), place)
        return self._bodies.get(name)


def _function(message: Message, place: str) -> Body:
    signature = message.get("signature", {})
    results = {e.get("key", ""): e.get("value", "") for e in message.get("results", ())}
    outputs = tuple(a.get("name", "") for a in signature.get("outputs", ()))
    arguments = tuple(a.get("name", "") for a in signature.get("inputs", ()))
    if any(o not in results for o in outputs):
        raise BadModel("a result of the function is not computed", place, DAMAGED)
    nodes = _nodes(message.get("nodes", ()), place)
    return Body(place, nodes, arguments, tuple(results[o] for o in outputs), outputs)


@dataclass
class Program:
    """The main graph and the library of functions of a file."""

    main: Body
    functions: Library

    def reference(self, body: Body, text: str) -> Ref:
        """What an input means: ``node``, ``node:1``, and inside functions ``node:output:0``.

        Raises:
            BadModel: there is no such node or output.
        """
        name, _, rest = text.partition(":")
        if not rest:
            return name, 0
        if rest.isdigit():
            return name, _bounded(int(rest), text, body)
        output, _, number = rest.partition(":")
        node = body.nodes.get(name)
        if node is None or not number.isdigit():
            raise BadModel(f"nothing computes '{text[:200]}'", body.where, DAMAGED)
        function = self.functions.get(node.op)
        named = OUTPUTS.get(node.op, ()) if function is None else function.output_names
        start = named.index(output) if output in named else 0
        return name, _bounded(start + int(number), text, body)


def _bounded(number: int, text: str, body: Body) -> int:
    if number > MAX_NODES:
        raise BadModel(f"nothing computes '{text[:200]}'", body.where, DAMAGED)
    return number


def program(message: Message, where: str) -> Program:
    """Sort a decoded graph into nodes and functions.

    Raises:
        BadModel: two nodes have one name.
    """
    functions = Library(message.get("library", {}).get("functions", ()), where)
    return Program(Body(where, _nodes(message.get("nodes", ()), where)), functions)


def _nodes(messages: Sequence[Message], where: str) -> dict[str, Node]:
    if len(messages) > MAX_NODES:
        raise TooLarge(f"more than {MAX_NODES} nodes", where, "split the model")
    nodes: dict[str, Node] = {}
    for message in messages:
        raw = {e.get("key", ""): e.get("value", memoryview(b"")) for e in message.get("attributes", ())}
        node = Node(message.get("name", ""), message.get("op", ""), tuple(message.get("inputs", ())), raw)
        if node.name in nodes:
            raise BadModel(f"two nodes are called '{node.name[:200]}'", where, DAMAGED)
        nodes[node.name] = node
    return nodes


def decoded(kind: str, view: memoryview, where: str) -> Message:
    """Decode a whole file; a node has at least eight bytes, so many small messages are bounded by its size."""
    try:
        return decode(SCHEMA, kind, view, Budget(64 + len(view) // 2))
    except (BadModel, TooLarge) as error:
        error.where = f"{error.where} of {where}" if error.where else where
        raise
