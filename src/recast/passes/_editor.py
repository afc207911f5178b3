"""What passes edit a graph with: unique names, new initializers, new nodes with their origin, by-passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import InternalError
from recast.graph import LAYER, ORIGIN
from recast.graph.infer import constant, infer_node

_LAZY_BYTES = 1 << 20  # larger derived weights are computed when they are written


class Editor:
    """Edits of one graph; equal requests for constants share one initializer."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._names: set[str | None] | None = None
        self._counts: dict[str, int] = {}  # last number given, so that many equal wishes stay linear
        self._made: dict[Any, ir.Value] = {}
        self._touched: list[ir.Value] = []

    def inside(self, graph: ir.Graph) -> Editor:
        """An editor of a sub-graph, whose names must differ from those around it."""
        self.unique("")
        editor = Editor(graph)
        editor._names, editor._counts = self._names, self._counts
        return editor

    def unique(self, wanted: str) -> str:
        """``wanted``, numbered if a node or value has that name."""
        if self._names is None:
            self._names = {v.name for v in self.graph.inputs} | set(self.graph.initializers)
            _collect_names(self.graph, self._names)
        name, count = wanted, self._counts.get(wanted, 0)
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._counts[wanted] = count
        self._names.add(name)
        return name

    def const(self, data: Any, name: str) -> ir.Value:
        """A small constant, shared; int64 unless it is an array."""
        array = data if isinstance(data, np.ndarray) else np.asarray(data, np.int64)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = self.add(constant(array, self.unique(name)))
        return self._made[key]

    def weight(self, name: str, array: np.ndarray) -> ir.Value:
        """A new initializer of its own."""
        return self.add(constant(array, self.unique(name)))

    def add(self, tensor: ir.TensorProtocol) -> ir.Value:
        """A new initializer for a tensor that has a unique name."""
        value = ir.Value(
            name=tensor.name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.initializers.add(value)
        return value

    def derived(
        self, value: ir.Value, key: tuple[Any, ...], shape: Sequence[int], change: Callable[[np.ndarray], np.ndarray]
    ) -> ir.Value:
        """``change(constant)``, of the same type; a large one is computed when needed. ``key`` names the change."""
        if (value, key) in self._made:
            return self._made[value, key]
        tensor = tensor_of(value)
        name = self.unique(f"{value.name}_{key[0]}")
        made: ir.TensorProtocol
        if tensor.nbytes > _LAZY_BYTES:
            made = ir.LazyTensor(
                lambda: ir.Tensor(change(tensor.numpy()), dtype=tensor.dtype, name=name),
                dtype=tensor.dtype,
                shape=ir.Shape(shape),
                name=name,
            )
        else:
            made = ir.Tensor(change(tensor.numpy()), dtype=tensor.dtype, name=name)
        self._made[value, key] = self.add(made)
        self._touched.append(value)
        return self._made[value, key]

    def forget(self, value: ir.Value) -> None:
        """Note a constant that may be unused in the end."""
        self._touched.append(value)

    def drop_unused(self) -> None:
        """Remove the originals of derived constants that nobody uses any more."""
        for value in self._touched:
            drop_initializer(self.graph, value)

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None,
        before: ir.Node,
    ) -> ir.Value:
        """A new node in front of ``before``, with its origin and inferred shape; returns its only output."""
        path = before.metadata_props.get(LAYER) or before.name or before.op_type
        node = ir.node(op_type, inputs, dict(attributes or {}), name=self.unique(f"{path}/{op_type}"))
        copy_origin(before, node)
        node.outputs[0].name = self.unique(f"{path}/{op_type}_out")
        infer_node(node)
        self.graph.insert_before(before, node)
        return node.outputs[0]

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let everyone use ``new``; a graph output keeps its name (``new`` takes it over)."""
        if old.is_graph_output():
            name, old.name = old.name, self.unique(f"{old.name}_old")
            new.name = name
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)

    def bypass(self, node: ir.Node) -> bool:
        """Remove a node that passes input 0 on as output 0; False where a graph output needs it to stay."""
        source, result = node.inputs[0], node.outputs[0]
        if source is None:
            return False
        if result.is_graph_output():
            inner = source.producer() is not None and source.graph is self.graph and node.graph is self.graph
            if not inner or source.is_graph_output():
                return False
            name, result.name = result.name, None
            source.name = name
        ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
        if node.graph is not None:
            node.graph.remove(node, safe=True)
        return True


def _collect_names(graph: ir.Graph, names: set[str | None]) -> None:
    """Add the names of all nodes and their results, also of those in sub-graphs."""
    for node in graph:
        names.add(node.name)
        for value in node.outputs:
            names.add(value.name)
        for attribute in node.attributes.data.values():
            if attribute.type == ir.AttributeType.GRAPH:
                _collect_names(attribute.as_graph(), names)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    _collect_names(inner, names)


def copy_origin(source: ir.Node, to: ir.Node) -> None:
    """Give a node the origin of another."""
    for key in (LAYER, ORIGIN):
        if key in source.metadata_props:
            to.metadata_props[key] = source.metadata_props[key]


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """The tensor of a constant value."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise InternalError(f"{value.name} is not constant", "recast/passes")
    return tensor


def drop_initializer(graph: ir.Graph, value: ir.Value) -> None:
    """Remove an initializer that nobody uses."""
    if value.name is not None and not value.uses() and not value.is_graph_output() and not value.is_graph_input():
        graph.initializers.pop(value.name, None)


def has_graphs(node: ir.Node) -> bool:
    """Whether a node holds sub-graphs (If, Loop, Scan)."""
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.data.values())
