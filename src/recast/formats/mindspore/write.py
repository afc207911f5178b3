"""The graph as MindIR: nodes become primitives, weights become parameters, everything is streamed to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast import __version__
from recast._util import pages
from recast.errors import TooLarge, UnsupportedOp
from recast.formats._format import Artifact, Finding
from recast.formats.mindspore import wire
from recast.formats.mindspore.element_types import widen
from recast.formats.mindspore.messages import attribute, head_of, refuse_empty, spec, tensor_message
from recast.formats.mindspore.types import PRIMITIVE, PRIMITIVE_FUNCTION, TYPE_ID_OF, AttributeType
from recast.formats.mindspore.writing import Refusal, handlers
from recast.graph import LAYER, ORIGIN
from recast.graph.view import const, dims, layer_of
from recast.passes.decompose import reason

_MAX_BYTES = 2**31 - 1  # protobuf's own limit: MindSpore's loader parses the file in one piece
IR_VERSION = "1.1"
MIND_IR_VERSION = 3


@dataclass(frozen=True)
class Ref:
    """A tensor of the MindIR graph, by name."""

    name: str


Arg = Ref | ir.Value | bool | int | float | tuple[Any, ...] | list[Any] | np.ndarray | None


class Writer:
    """What handlers build with: ``fn`` and ``prim`` add nodes, ``bind`` says which one is a graph value.

    A sub-graph has a writer of its own; what it takes from the graph around it becomes an input (``captured``).
    """

    def __init__(self, graph: ir.Graph, parent: Writer | None = None) -> None:
        self.graph, self.parent = graph, parent
        self.root: Writer = parent.root if parent else self
        self.findings: list[Finding] = self.root.findings if parent else []
        self.functions: list[wire.Message] = []  # of the root: sub-graphs
        self.captured: dict[str, tuple[Ref, Ref, wire.Message]] = {}  # outer name → outer, inner, type and shape
        self._taken = {v.name for v in (*graph.inputs, *graph.outputs) if v.name} | set(graph.initializers)
        self._names: dict[int, Ref] = {}
        self._keep: list[ir.Value] = []  # ids of values must stay unique
        self._constants: dict[Any, Ref] = {}
        self._nodes: list[wire.Message] = []
        self._parameters: dict[str, wire.Message] = {}
        self._primitives: dict[str, wire.Message] = {}
        self._domain: str = parent._domain if parent else "Default"

    # --- what handlers use ---

    def fn(self, op: str, *args: Arg) -> Ref:
        """Add a primitive that takes everything as inputs, in the order of its definition."""
        return self._call(op, args, {}, PRIMITIVE_FUNCTION)

    def prim(self, op: str, args: Sequence[Arg], attributes: Mapping[str, Any] | None = None) -> Ref:
        """Add a primitive with attributes."""
        return self._call(op, args, attributes or {}, PRIMITIVE)

    def item(self, of: Ref, index: int) -> Ref:
        """One element of a tuple."""
        return self.prim("TupleGetItem", [of, index])

    def pack(self, args: Sequence[Arg]) -> Ref:
        """A tuple of tensors."""
        return self.prim("MakeTuple", args)

    def bind(self, value: ir.Value, ref: Ref | ir.Value) -> None:
        """``ref`` is what the graph calls ``value``."""
        self._names[id(value)] = self.ref(ref) if isinstance(ref, ir.Value) else ref
        self._keep.append(value)

    def cast(self, value: Arg, dtype: ir.DataType) -> Ref:
        """Convert to another element type."""
        return self.fn("Cast", value, self.type_id(dtype))

    def type_id(self, dtype: ir.DataType) -> int:
        """MindSpore's number of an element type."""
        if dtype not in TYPE_ID_OF:
            raise Refusal(f"MindSpore has no element type {dtype.name}")
        return TYPE_ID_OF[dtype]

    def dimension(self, size: int | str | None) -> Arg:
        """A dimension as a number, or read from the graph input that has it."""
        if isinstance(size, int):
            return size
        for value in self.root.graph.inputs:
            if size is not None and size in dims(value):
                return self.item(self.fn("Shape", value), dims(value).index(size))
        raise Refusal("the new shape is not known")

    def ref(self, value: ir.Value) -> Ref:
        """The MindIR tensor of a graph value."""
        known = self._names.get(id(value))
        if known is None:
            if value.const_value is not None:
                known = self._weight(value)
            elif self.parent is not None:
                known = self._capture(self.parent.ref(value), spec(value))
            else:
                raise Refusal(f"its input {value.name} was not written")
            self.bind(value, known)
        return known

    def _capture(self, outer: Ref, kind: wire.Message) -> Ref:
        if outer.name not in self.captured:
            self.captured[outer.name] = (outer, Ref(self._unique(f"{outer.name}/inner")), kind)
        return self.captured[outer.name][1]

    def weight(self, value: ir.Value, array: np.ndarray, role: str = "") -> Ref:
        """A constant in another form than the graph has it; ``role`` tells several forms of one weight apart."""
        tensor = ir.Tensor(np.ascontiguousarray(array))
        if self.parent is not None:
            return self._capture(self.parent.weight(value, array, role), head_of(tensor))
        key = ("weight", value.name, array.shape, role)
        if key not in self._constants:
            name = value.name or "weight"
            if role or name in self._parameters:
                name = self._unique(f"{name}/{role}" if role else name)
            self._parameters[name] = self._parameter(name, tensor)
            self._constants[key] = Ref(name)
        return self._constants[key]

    # --- making messages ---

    def _unique(self, wanted: str) -> str:
        name, count, taken = wanted, 0, self.root._taken
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        return name

    def _call(self, op: str, args: Sequence[Arg], attributes: Mapping[str, Any], kind: int) -> Ref:
        inputs = [self._input(a) for a in args]
        key, known = repr((op, sorted(attributes.items()), kind)), self.root._primitives
        if key not in known:
            known[key] = {
                "name": f"{op}:{len(known) + 1}",
                "op_type": op,
                "attribute": [attribute(k, v) for k, v in attributes.items()],
                "instance_name": "",
                "prim_type": kind,
            }
        return self._add(op, inputs, known[key]["name"])

    def _add(self, op: str, inputs: list[str], target: str) -> Ref:
        name = self._unique(f"{op}_{len(self._nodes)}")
        domain = f"{self._domain}/{op}-op{len(self._nodes)}"
        node = {"input": inputs, "output": [name], "name": name, "op_type": f"REF::{target}", "domain": domain}
        self._nodes.append(node)
        return Ref(name)

    def call(self, function: Ref) -> Ref:
        """Run a function without further arguments."""
        return self._add("call", [], function.name)

    def sub(self, graph: ir.Graph, name: str) -> Ref:
        """A sub-graph as a function that has all that it takes from here.

        Raises:
            Refusal: an operator in it cannot be written.
        """
        inner = Writer(graph, self)
        refused = inner.write_nodes()
        if refused:
            raise Refusal(f"in its sub-graph: {'; '.join(refused)}")
        function = self._unique(name)
        self.root.functions.append(inner.function(function))
        return self.prim("Partial", [Ref(function), *(outer for outer, _, _ in inner.captured.values())])

    def function(self, name: str) -> wire.Message:
        """The written sub-graph as a GraphProto."""
        made = {n["output"][0] for n in self._nodes if n["op_type"] != "Constant"}
        refs = [self.ref(v) for v in self.graph.outputs]
        refs = [r if r.name in made else self.fn("Identity", r) for r in refs]
        last, result = self._result(refs)
        nodes = self._live(last)[0]
        infos = [{"name": inner.name, "tensor": [kind]} for _, inner, kind in self.captured.values()]
        return {"node": nodes, "name": name, "input": infos, "output": [result]}

    def _result(self, refs: list[Ref]) -> tuple[str, wire.Message]:
        """The one output of a MindIR graph: a tensor or a tuple."""
        specs = [spec(v) for v in self.graph.outputs]
        if len(refs) == 1:
            return refs[0].name, {"name": refs[0].name, "tensor": specs}
        last = self.pack(refs).name
        parts = [{"tensors": [s], "type": AttributeType.TENSORS} for s in specs]
        return last, {"name": last, "attr_info": {"type": AttributeType.TUPLE, "values": parts}}

    def _input(self, arg: Arg) -> str:
        if isinstance(arg, Ref):
            return arg.name
        if isinstance(arg, ir.Value):
            return self.ref(arg).name
        return self.constant(arg).name

    def constant(self, value: Any) -> Ref:
        """A Constant node; equal ones are shared. NumPy arrays become tensors, the rest Python values."""
        is_array = isinstance(value, np.ndarray)
        key = ("array", value.dtype.name, value.shape, value.tobytes()) if is_array else repr((type(value), value))
        if key not in self._constants:
            name = self._unique(f"ValueNode_{len(self._constants)}")
            node: wire.Message = {"output": [name], "name": name, "op_type": "Constant"}
            self._nodes.append({**node, "attribute": [attribute("value", value)]})
            self._constants[key] = Ref(name)
        return self._constants[key]

    def _weight(self, value: ir.Value) -> Ref:
        tensor = value.const_value
        assert tensor is not None
        if tensor.size <= 1 or (tensor.size <= 64 and tensor.dtype.is_integer()):
            return self.constant(tensor.numpy())
        if self.parent is not None:
            return self._capture(self.parent.ref(value), head_of(tensor))
        name = value.name or ""
        if not name or name in self._parameters:
            name = self._unique(name or "weight")
        self._parameters[name] = self._parameter(name, tensor)
        return Ref(name)

    def _parameter(self, name: str, tensor: ir.TensorProtocol) -> wire.Message:
        return {**tensor_message(tensor), "name": name, "ref_key": name, "compression_type": 0}

    # --- the whole graph ---

    def run(self) -> None:
        """Write every node.

        Raises:
            UnsupportedOp: all nodes that MindIR cannot express.
        """
        refused = self.write_nodes()
        if refused:
            raise UnsupportedOp(
                f"{len(refused)} operators cannot be written as MindIR: {'; '.join(refused)}",
                self.graph.name or "",
                "convert to another format, or change the model",
            )

    def write_nodes(self) -> list[str]:
        """Write every node; gives those that cannot be, with the reasons."""
        refused: list[str] = []
        for value in self.graph.inputs:
            self.bind(value, Ref(value.name or ""))
        for node in self.graph:
            self._enter(node)
            try:
                self._handle(node)
            except Refusal as error:
                refused.append(f"{node.op_type} (layer {layer_of(node)}): {error}")
                for value in node.outputs:
                    self.bind(value, Ref(value.name or ""))
        return refused

    def _handle(self, node: ir.Node) -> None:
        handler = handlers().get(node.op_type) if node.domain == "" else None
        if handler is None:
            raise Refusal(reason(node) or "no counterpart in MindSpore is known")
        refuse_empty(node)
        try:
            handler(self, node)
        except ValueError:
            unknown = next((v for v in (*node.inputs, *node.outputs) if v is not None and v.shape is None), None)
            if unknown is None:
                raise
            raise Refusal(f"the rank of {unknown.name} is not known") from None

    def _enter(self, node: ir.Node) -> None:
        parts = [p.replace("-", "_") for p in node.metadata_props.get(LAYER, "").split("/") if p]
        origin = (node.metadata_props.get(ORIGIN) or node.op_type).replace("-", "_").replace("/", "_")
        cells = [f"{p}-{origin if i == len(parts) - 1 else 'Cell'}" for i, p in enumerate(parts)]
        self._domain = "/".join(["Default", *cells])

    def finish(self) -> wire.Message:
        """The finished ModelProto."""
        renames, outputs = self._outputs()
        infos = [{"name": v.name, "tensor": [spec(v)]} for v in self.graph.inputs]
        last, result = self._result([Ref(n) for n in outputs])
        for node in self._nodes:
            node["input"] = [renames.get(n, n) for n in node.get("input", ())]
            node["output"] = [renames.get(n, n) for n in node["output"]]
            node["name"] = node["output"][0]
        nodes, parameters = self._live(last)
        used = {n["op_type"][5:] for g in ({"node": nodes}, *self.functions) for n in g["node"]}
        graph = {
            "node": nodes,
            "name": self.graph.name or "main",
            "parameter": parameters,
            "input": infos,
            "output": [result],
        }
        return {
            "ir_version": IR_VERSION,
            "producer_name": "recast",
            "producer_version": __version__,
            "model_version": "2.10.0",
            "graph": graph,
            "functions": self.functions,
            "little_endian": True,
            "primitives": [p for p in self._primitives.values() if p["name"] in used],
            "mind_ir_version": MIND_IR_VERSION,
        }

    def _outputs(self) -> tuple[dict[str, str], list[str]]:
        renames: dict[str, str] = {}
        names = []
        made = {n["output"][0] for n in self._nodes if n["op_type"] != "Constant"}
        for value in self.graph.outputs:
            ref = self.ref(value)
            if ref.name not in made or ref.name in renames:
                ref = self.fn("Identity", ref)
            renames[ref.name] = value.name or ref.name
            names.append(renames[ref.name])
        return renames, names

    def _live(self, last: str) -> tuple[list[wire.Message], list[wire.Message]]:
        """Nodes and parameters that the outputs need."""
        needed, nodes = {last}, []
        for node in reversed(self._nodes):
            if node["output"][0] in needed:
                needed.update(node.get("input", ()))
                needed.add(node["op_type"][5:])  # a call names the function it calls there
                nodes.append(node)
        return nodes[::-1], [p for n, p in self._parameters.items() if n in needed]


def write(model: ir.Model, path: Path) -> Artifact:
    """Write a model as MindIR.

    Raises:
        UnsupportedOp, UnsupportedType: all that MindIR cannot express.
        TooLarge: more than protobuf's 2 GiB.
    """
    widen(model.graph)
    writer = Writer(model.graph)
    writer.run()
    pieces = wire.encode("Model", writer.finish())
    total = sum(len(p) if isinstance(p, bytes) else p.nbytes for p in pieces)
    if total > _MAX_BYTES:
        raise TooLarge(f"{total} bytes do not fit one MindIR file (2 GiB)", str(path), "quantise or prune it first")
    with open(path, "wb") as file:
        for piece in pieces:
            if isinstance(piece, bytes):
                file.write(piece)
            else:
                file.write(piece.load())
                pages.used(piece.nbytes)
    return Artifact((path,), tuple(writer.findings))


def ints(value: ir.Value | None, what: str) -> list[int]:
    """A constant integer tensor as a list.

    Raises:
        Refusal: it is not constant.
    """
    array = const(value)
    if array is None:
        raise Refusal(f"{what} must be constant")
    return [int(v) for v in array.reshape(-1)]


def scalar(value: float, like: ir.Value) -> np.ndarray:
    """A number as a rank-0 tensor of another value's element type."""
    if like.dtype is None:
        raise Refusal(f"the element type of {like.name} is not known")
    return np.asarray(value, dtype=like.dtype.numpy())
