"""Operators written as plainer operators: one function per operator, one file per family, found by folder.

    @decomposes("Tan")
    def tan(e: Expansion) -> Results:
        x = e.input(0)
        return (e.op("Div", e.op("Sin", x), e.op("Cos", x)),)

A decomposition raises ``Unfit(reason)`` where it does not hold (a computed axis, an unknown rank); the node then stays.
It must be exact for every type it takes, and works with symbolic dims wherever the operators it uses do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.registry import Registry
from recast.graph.infer import infer_node, refine_node
from recast.graph.view import attr, const, layer_of
from recast.passes._editor import Editor, copy_origin

Results = tuple[ir.Value | None, ...]
Decomposition = Callable[["Expansion"], Results]
decompositions: Registry[str, Decomposition] = Registry(__name__, __path__)
decomposes = decompositions.register


class Unfit(Exception):  # noqa: N818 no error: another way is tried, or the writer refuses with this reason
    """A decomposition does not hold for a node."""


class Expansion:
    """The nodes that are made in the place of one node."""

    def __init__(self, editor: Editor, node: ir.Node) -> None:
        self.editor, self.node = editor, node
        self.made: list[ir.Node] = []

    # -- the node ----------------------------------------------------------------------------------

    def optional(self, index: int) -> ir.Value | None:
        """An input that may be absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def input(self, index: int) -> ir.Value:
        """An input that is always there.

        Raises:
            Unfit: it is not.
        """
        found = self.optional(index)
        if found is None:
            raise Unfit(f"it has no input {index}")
        return found

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's Python value."""
        return attr(self.node, name, default)

    def constant(self, index: int, what: str) -> np.ndarray | None:
        """The array of an input that must be constant, None where it is absent.

        Raises:
            Unfit: it is computed (``what`` names it).
        """
        value = self.optional(index)
        array = const(value)
        if value is not None and array is None:
            raise Unfit(f"{what} computed at run time")
        return array

    def wanted(self, index: int) -> bool:
        """Whether somebody uses an output."""
        if index >= len(self.node.outputs):
            return False
        return bool(self.node.outputs[index].uses()) or self.node.outputs[index].is_graph_output()

    def rank(self, value: ir.Value) -> int:
        """Number of dimensions.

        Raises:
            Unfit: it is unknown.
        """
        return len(self.dims(value))

    def dims(self, value: ir.Value) -> list[int | None]:
        """The dimensions, None for each that is not a number.

        Raises:
            Unfit: the rank is unknown.
        """
        if value.shape is None:
            raise Unfit(f"the rank of '{value.name}' is not known")
        return [d if isinstance(d, int) else None for d in value.shape]

    def size(self, value: ir.Value, axis: int) -> int:
        """One dimension.

        Raises:
            Unfit: it is only known at run time.
        """
        found = self.dims(value)[axis]
        if found is None:
            raise Unfit(f"dimension {axis} of '{value.name}' is only known at run time")
        return found

    def static(self, value: ir.Value) -> tuple[int, ...]:
        """All dimensions.

        Raises:
            Unfit: one is only known at run time.
        """
        return tuple(self.size(value, i) for i in range(self.rank(value)))

    def dtype(self, value: ir.Value) -> ir.DataType:
        """The element type.

        Raises:
            Unfit: it is unknown.
        """
        if value.dtype is None:
            raise Unfit(f"the type of '{value.name}' is not known")
        return value.dtype

    # -- new nodes ---------------------------------------------------------------------------------

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A new node with one result."""
        return self.ops(op_type, inputs, attributes, 1)[0]

    def ops(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: dict[str, Any], count: int
    ) -> tuple[ir.Value, ...]:
        """A new node with several results."""
        path = layer_of(self.node)
        name = self.editor.unique(f"{path}/{op_type}")
        given = {k: v for k, v in attributes.items() if v is not None}
        node = ir.node(op_type, inputs, given, num_outputs=count, name=name)
        copy_origin(self.node, node)
        for value in node.outputs:
            value.name = self.editor.unique(f"{path}/{op_type}_out")
        infer_node(node)
        self.editor.graph.insert_before(self.node, node)
        self.made.append(node)
        return tuple(node.outputs)

    def inlined(self, graph: ir.Graph, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
        """Put the nodes of a (cloned) sub-graph here, reading these inputs; returns its outputs."""
        for value in list(graph.initializers.values()):
            graph.initializers.pop(value.name or "")
            value.name = self.editor.unique(value.name or "constant")
            self.editor.graph.initializers.add(value)
        outputs: list[ir.Value] = list(graph.outputs)
        for old, new in zip(list(graph.inputs), inputs, strict=True):
            if new is None:
                raise Unfit("an absent input of a sub-graph")
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            outputs = [new if v is old else v for v in outputs]
        nodes = list(graph)
        graph.outputs.clear()
        graph.remove(nodes)
        for node in nodes:
            node.name = self.editor.unique(node.name or node.op_type)
            for value in node.outputs:
                value.name = self.editor.unique(value.name or "value")
        self.editor.graph.insert_before(self.node, nodes)
        for node in nodes:
            refine_node(node)
        self.made.extend(nodes)
        return outputs

    def ints(self, *values: int) -> ir.Value:
        """An int64 vector: axes, shapes, bounds."""
        return self.editor.const(list(values), "ints")

    def int(self, value: int) -> ir.Value:
        """An int64 scalar."""
        return self.editor.const(value, "int")

    def array(self, data: np.ndarray, name: str = "constant") -> ir.Value:
        """A constant of any type."""
        return self.editor.const(np.ascontiguousarray(data).reshape(data.shape), name)

    def number(self, value: float, like: ir.Value) -> ir.Value:
        """A scalar of another value's type."""
        return self.array(np.array(value, self.dtype(like).numpy()), "number")

    def cast(self, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        """A value in another type; itself where it has that type."""
        if dtype is None:
            raise Unfit("an element type is not known")
        return value if value.dtype == dtype else self.op("Cast", value, to=int(dtype))


def decomposable(node: ir.Node) -> bool:
    """Whether there is a decomposition that is made for such a node; of an ONNX function the others are inlined."""
    return decompositions.takes(node.op_type, node)
