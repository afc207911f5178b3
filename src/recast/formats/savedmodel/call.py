"""What a reader of one operator is given: its inputs, attributes and a place for its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import BadModel, BadShape, UnsupportedOp
from recast.formats.savedmodel import constants
from recast.formats.savedmodel.graph_def import Node
from recast.formats.savedmodel.names import below
from recast.formats.savedmodel.scope import Held, Scope, Thing, data_type
from recast.formats.savedmodel.tensors import DAMAGED, dims
from recast.graph.finding import Finding

SMALL = 1024  # constants up to this many elements are shared and may be looked into


class Call:
    """One operator being read. Input numbers count the node's data inputs."""

    def __init__(self, scope: Scope, node: Node, given: Sequence[Thing], path: str) -> None:
        self.scope, self.node, self.given, self.path = scope, node, given, path
        self.b, self.kind = scope.b, node.op
        self.count = len(given)

    # ---- inputs

    def thing(self, number: int) -> Thing:
        """An input, whatever it is.

        Raises:
            BadModel: it is missing.
        """
        if not -self.count <= number < self.count:
            raise self.bad(f"input {number} is missing")
        return self.given[number]

    def x(self, number: int) -> ir.Value:
        """An input as a value of the graph.

        Raises:
            UnsupportedOp: it is no tensor.
        """
        return self.value(self.thing(number), f"input {number}")

    def value(self, thing: Thing, what: str = "an input") -> ir.Value:
        """Anything that is a tensor as a value of the graph."""
        if isinstance(thing, Held):
            return constants.value(self.scope.reading, self.b, thing)
        if not isinstance(thing, ir.Value):
            raise UnsupportedOp(f"{what} is a {type(thing).__name__.lower()}, not a tensor")
        return thing

    def all(self, start: int = 0, end: int | None = None) -> list[ir.Value]:
        """Several inputs as values."""
        return [self.x(i) for i in range(self.count)[start:end]]

    def array(self, number: int) -> np.ndarray | None:
        """An input's numbers if they do not depend on the model's inputs, else None."""
        return constants.known(self.scope.reading, self.thing(number))

    def ints(self, number: int, what: str = "") -> list[int]:
        """An input that must be known integers.

        Raises:
            UnsupportedOp: it is computed while running.
        """
        array = self.array(number)
        if array is None or array.dtype.kind not in "iu":
            raise UnsupportedOp(f"{what or f'input {number}'} is not constant")
        if array.size > SMALL:
            raise self.bad(f"{array.size} numbers as {what or f'input {number}'}")
        return [int(v) for v in array.reshape(-1)]

    def int_(self, number: int, what: str = "") -> int:
        """An input that must be one known integer."""
        found = self.ints(number, what)
        if len(found) != 1:
            raise self.bad(f"{len(found)} numbers as {what or f'input {number}'}")
        return found[0]

    def int64(self, number: int) -> ir.Value:
        """An integer input as int64, which ONNX wants for shapes and axes; scalars stay scalars."""
        thing = self.thing(number)
        if isinstance(thing, Held):
            return self.b.const(thing.array.astype(np.int64), np.int64)
        return self.cast(self.x(number), ir.DataType.INT64)

    def shape(self, number: int) -> list[int | str | None]:
        """An input's dimensions; a name or None where unknown.

        Raises:
            UnsupportedOp: not even the rank is known.
        """
        thing = self.thing(number)
        return list(thing.array.shape) if isinstance(thing, Held) else dims_of(self.x(number), f"input {number}")

    def rank(self, number: int, wanted: int | None = None) -> int:
        """An input's number of dimensions.

        Raises:
            BadShape: it is not ``wanted``.
        """
        rank = len(self.shape(number))
        if wanted is not None and rank != wanted:
            raise BadShape(
                f"{self.kind}: input {number} has {rank} dimensions instead of {wanted}", self.place(), DAMAGED
            )
        return rank

    def dtype(self, number: int) -> ir.DataType:
        """An input's element type.

        Raises:
            UnsupportedOp: it is unknown.
        """
        thing = self.thing(number)
        found = ir.DataType.from_numpy(thing.array.dtype) if isinstance(thing, Held) else self.x(number).dtype
        if found is None:
            raise UnsupportedOp(f"the type of input {number} is unknown")
        return found

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front.

        Raises:
            BadModel: there is no such axis.
        """
        if not -rank <= axis < rank:
            raise self.bad(f"axis {axis} of {rank} dimensions")
        return axis % rank

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or its default where the file leaves it out."""
        return self.node.attr(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes-or-no attribute."""
        return bool(self.node.attr(name, default))

    def type_attr(self, name: str, default: int) -> ir.DataType:
        """An attribute that names an element type."""
        return data_type(int(self.node.attr(name, default)), self.place())

    # ---- weights

    def weight(self, number: int, role: str, perm: Sequence[int] | None = None) -> ir.Value:
        """A weight with its axes permuted, named after the layer; a computed one gets a Transpose."""
        thing = self.thing(number)
        if isinstance(thing, Held):
            return constants.form(self.scope.reading, self.b, thing, (f"{self.path}/{role}", perm, None))
        value = self.x(number)
        return value if perm is None else self.b.op("Transpose", [value], {"perm": list(perm)})

    def reshaped_weight(self, number: int, role: str, perm: Sequence[int], shape: Sequence[int]) -> ir.Value:
        """A weight with its axes permuted and then reshaped."""
        thing = self.thing(number)
        if isinstance(thing, Held):
            return constants.form(self.scope.reading, self.b, thing, (f"{self.path}/{role}", perm, shape))
        return self.reshape(self.b.op("Transpose", [self.x(number)], {"perm": list(perm)}), shape)

    def bias(self, channels_last: bool = True) -> ir.Value | None:
        """The bias that the only user of this node adds; that node then has nothing left to do."""
        from recast.formats.savedmodel.following import bias

        return bias(self, channels_last)

    # ---- outputs

    def out(self, thing: Thing, number: int = 0) -> None:
        """Set an output."""
        if isinstance(thing, ir.Value) and thing.shape is None:
            self._told(thing, number)
        held = self.scope.results.setdefault(self.node.name, {})
        if isinstance(held, dict):
            held[number] = thing

    def outs(self, things: Sequence[Thing]) -> None:
        """Set all outputs in order."""
        for number, thing in enumerate(things):
            self.out(thing, number)

    def _told(self, value: ir.Value, number: int) -> None:
        """The shape that the file notes, where it cannot be inferred."""
        told = self.attr("_output_shapes")
        if isinstance(told, list) and number < len(told) and isinstance(told[number], dict):
            known = dims(told[number])
            if known is not None:
                value.shape = ir.Shape(known)

    # ---- nodes

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """A node with one output."""
        return self.b.op(op_type, inputs, attributes)

    def ones(self, value: ir.Value, number: float = 1) -> ir.Value:
        """A scalar constant of a value's type."""
        kind = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        return self.b.const(np.array(number, kind), name="number")

    def axes(self, *axes: int) -> ir.Value:
        """Axes as a constant vector."""
        return self.b.const(list(axes), np.int64, "axes")

    def cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """Another element type (the value itself if it has it)."""
        return value if value.dtype == to else self.b.op("Cast", [value], {"to": to})

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A constant new shape."""
        return self.b.op("Reshape", [value, self.b.const(list(shape), np.int64, "shape")])

    @property
    def channels_last(self) -> bool:
        """Whether images lie as (N, *spatial, C).

        Raises:
            UnsupportedOp: another layout.
        """
        layout = str(self.attr("data_format", "NHWC"))
        if layout not in ("NHWC", "NCHW", "NDHWC", "NCDHW"):
            raise UnsupportedOp(f"data_format {layout}")
        return layout.endswith("C")

    def image(self, op_type: str, inputs: Sequence[ir.Value | None], attributes: dict[str, Any]) -> ir.Value:
        """A channels-first operator on an image in the node's own layout."""
        first = inputs[0]
        if first is None or not self.channels_last:
            return self.b.op(op_type, inputs, attributes)
        return self.b.channels_last(self.b.op(op_type, [self.b.channels_first(first), *inputs[1:]], attributes))

    # ---- functions

    def inline(self, function: str, things: Sequence[Thing]) -> list[Thing]:
        """A function's results with these arguments, its nodes in this place."""
        return self.scope.inline(function, things, below(self.scope.prefix, self.node))

    # ---- messages

    def place(self) -> str:
        """Where this is, for errors."""
        return f"node {self.scope.place(self.node)} ({self.kind}) of {self.scope.reading.source.where}"

    def bad(self, what: str) -> BadModel:
        """The error for an operator that contradicts itself."""
        return BadModel(f"{self.kind}: {what}", self.place(), DAMAGED)

    def tell(self, what: str) -> None:
        """Note something that the user must know."""
        self.scope.reading.findings[Finding(what, self.path, "warning")] = None


def dims_of(value: ir.Value, what: str) -> list[int | str | None]:
    """A value's dimensions.

    Raises:
        UnsupportedOp: not even the rank is known.
    """
    if value.shape is None:
        raise UnsupportedOp(f"the rank of {what} is unknown")
    return [d if isinstance(d, int) else d.value for d in value.shape]
