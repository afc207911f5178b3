"""Build a graph in the dialect: every node gets its origin, every value its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.graph import IR_VERSION, LAYER, OPSET, ORIGIN
from recast.graph.infer import constant, infer_node
from recast.graph.opsets import needed


class Builder:
    """Collects nodes of one graph. All names it gives are unique.

    Example:
        >>> b = Builder("net")
        >>> x = b.input("image", ir.DataType.FLOAT, ("batch", 19, 23, 3))
        >>> with b.layer("conv", "Conv2D"):
        ...     y = b.op("Conv", [b.channels_first(x), b.weight("conv/kernel", w)], {"strides": [1, 1]})
        ...     y = b.channels_last(y)
        >>> b.output(y, "scores")
        >>> model = b.model()
    """

    def __init__(self, name: str = "main", names: set[str] | None = None) -> None:
        self.name = name
        self.inputs: list[ir.Value] = []
        self.outputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self._names: set[str] = names if names is not None else set()
        self._counts: dict[str, int] = {}  # last number given, so that many equal wishes stay linear
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._layer: tuple[str, str] = ("", "")

    def unique(self, wanted: str) -> str:
        """``wanted``, or ``wanted_1`` … if it is taken. Node and value names share one space."""
        name, count = wanted, self._counts.get(wanted, 0)
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._counts[wanted] = count
        self._names.add(name)
        return name

    @contextmanager
    def layer(self, path: str, origin: str) -> Iterator[None]:
        """Nodes made inside belong to the source's layer ``path`` of type ``origin``."""
        before, self._layer = self._layer, (path, origin)
        try:
            yield
        finally:
            self._layer = before

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str | None]) -> ir.Value:
        """Add a graph input; a ``str`` dimension is symbolic."""
        value = ir.Value(name=self.unique(name), shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    def output(self, value: ir.Value, name: str | None = None) -> ir.Value:
        """Make a value a graph output, under ``name`` if given (an Identity is added where it must be)."""
        taken = value in self.outputs or value in self.inputs or value.producer() is None
        if taken or (name is not None and name != value.name and name in self._names):
            value = self.op("Identity", [value])
        if name is not None and name != value.name:
            value.name = self.unique(name)
        self.outputs.append(value)
        return value

    def weight(self, name: str, tensor: np.ndarray | ir.TensorProtocol) -> ir.Value:
        """Add a weight (an initializer). Lazy and external tensors are kept as they are."""
        unique = self.unique(name)
        if isinstance(tensor, np.ndarray | np.generic):
            held: ir.TensorProtocol = constant(np.asarray(tensor), unique)
        else:
            held = tensor
            held.name = unique
        value = ir.Value(name=unique, shape=held.shape, type=ir.TensorType(held.dtype), const_value=held)  # type: ignore[arg-type]
        self.initializers[unique] = value
        return value

    def const(self, data: Any, dtype: Any = None, name: str = "const") -> ir.Value:
        """A small constant (axes, scalars); equal ones are shared. Python ints become int64, floats float32."""
        array = np.asarray(data, dtype=dtype)
        if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray):
            array = array.astype(np.float32)
        if dtype is None and array.dtype == np.int32 and not isinstance(data, np.ndarray):
            array = array.astype(np.int64)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(name, array)
        return self._constants[key]

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        num_outputs: int = 1,
        domain: str = "",
    ) -> tuple[ir.Value, ...]:
        """Add a node with any number of outputs. Attributes that are None are left out."""
        path, origin = self._layer
        base = path or op_type
        attrs = [_attribute(k, a) for k, a in (attributes or {}).items() if a is not None]
        node = ir.Node(
            domain, op_type, inputs, attributes=attrs, num_outputs=num_outputs, name=self.unique(f"{base}/{op_type}")
        )
        if path:
            node.metadata_props.update({LAYER: path, ORIGIN: origin})
        outputs = tuple(node.outputs)
        for index, value in enumerate(outputs):
            value.name = self.unique(f"{base}/{op_type}_out" if num_outputs == 1 else f"{base}/{op_type}_out{index}")
        infer_node(node)
        self.nodes.append(node)
        return outputs

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
    ) -> ir.Value:
        """Add a node with one output and return that."""
        return self.node(op_type, inputs, attributes, 1, domain)[0]

    def channels_first(self, value: ir.Value) -> ir.Value:
        """(N, *spatial, C) → (N, C, *spatial). Layout passes remove the Transpose."""
        rank = len(value.shape or ())
        return value if rank < 3 else self.op("Transpose", [value], {"perm": [0, rank - 1, *range(1, rank - 1)]})

    def channels_last(self, value: ir.Value) -> ir.Value:
        """(N, C, *spatial) → (N, *spatial, C)."""
        rank = len(value.shape or ())
        return value if rank < 3 else self.op("Transpose", [value], {"perm": [0, *range(2, rank), 1]})

    def drop_unused(self) -> None:
        """Take out nodes and constants that lead to no output: masks, shape arithmetic that became constant."""
        needed = {id(v) for v in self.outputs}
        kept = []
        for node in reversed(self.nodes):
            if any(id(v) in needed for v in node.outputs):
                needed.update(id(v) for v in read_by(node))
                kept.append(node)
                continue
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
        self.nodes[:] = reversed(kept)
        for name in [n for n, v in self.initializers.items() if id(v) not in needed]:
            del self.initializers[name]

    def graph(self) -> ir.Graph:
        """The finished graph."""
        return ir.Graph(
            self.inputs,
            self.outputs,
            nodes=self.nodes,
            initializers=list(self.initializers.values()),
            opset_imports={"": OPSET},
            name=self.name,
        )

    def model(self) -> ir.Model:
        """The finished model, at the dialect's opset or a newer one that a node needs."""
        from recast import __version__

        model = ir.Model(self.graph(), ir_version=IR_VERSION, producer_name="recast", producer_version=__version__)
        model.opset_imports[""] = max(map(needed, model.graph.all_nodes()), default=OPSET)
        return model


def _attribute(name: str, value: Any) -> ir.Attr:
    """An attribute; the plain kinds go straight, since onnx-ir's general conversion tries protocol after protocol."""
    kind = type(value)
    if kind is int or kind is bool:
        return ir.AttrInt64(name, int(value))
    if kind is float:
        return ir.AttrFloat32(name, value)
    if kind is str:
        return ir.AttrString(name, value)
    if kind is list and set(map(type, value)) == {int}:
        return ir.AttrInt64s(name, value)
    return value if isinstance(value, ir.Attr) else ir.convenience.convert_attribute(name, value)


def read_by(node: ir.Node) -> list[ir.Value]:
    """Values that a node or a node of its sub-graphs reads."""
    found = [v for v in node.inputs if v is not None]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inside = attribute.as_graph()
            found += [v for v in inside.outputs if v is not None]
            for inner in inside:
                found += read_by(inner)
    return found


def name_dims(model: ir.Model) -> None:
    """Give every unknown dimension of the main graph a name."""
    for node in model.graph:
        for value in node.outputs:
            if value.shape is None or all(isinstance(d, int) or d.value is not None for d in value.shape):
                continue
            dims = enumerate(value.shape)
            named = [d if isinstance(d, int) or d.value is not None else f"{value.name}_{axis}" for axis, d in dims]
            value.shape = ir.Shape(named)
