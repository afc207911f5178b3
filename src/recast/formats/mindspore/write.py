"""The graph as MindIR: nodes become primitives, weights become parameters, everything is streamed to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast import __version__
from recast.errors import TooLarge, UnsupportedOp, UnsupportedType
from recast.formats._format import Artifact, Finding
from recast.formats.mindspore import wire
from recast.formats.mindspore.element_types import widen
from recast.formats.mindspore.types import (
    DATA_TYPE_OF,
    PRIMITIVE,
    PRIMITIVE_FUNCTION,
    TYPE_ID_OF,
    AttributeType,
)
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
    """What handlers build with: ``fn`` and ``prim`` add nodes, ``bind`` says which one is a graph value."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.findings: list[Finding] = []
        self.bad_types: dict[str, str] = {}
        self._taken = {v.name for v in (*graph.inputs, *graph.outputs) if v.name} | set(graph.initializers)
        self._names: dict[int, Ref] = {}
        self._keep: list[ir.Value] = []  # ids of values must stay unique
        self._constants: dict[Any, Ref] = {}
        self._nodes: list[wire.Message] = []
        self._parameters: dict[str, wire.Message] = {}
        self._primitives: dict[str, wire.Message] = {}
        self._domain = "Default"

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
        for value in self.graph.inputs:
            if size is not None and size in dims(value):
                return self.item(self.fn("Shape", value), dims(value).index(size))
        raise Refusal("the new shape is not known")

    def ref(self, value: ir.Value) -> Ref:
        """The MindIR tensor of a graph value."""
        known = self._names.get(id(value))
        if known is None:
            if value.const_value is None:
                raise Refusal(f"its input {value.name} was not written")
            known = self._weight(value)
            self.bind(value, known)
        return known

    def weight(self, value: ir.Value, array: np.ndarray, role: str = "") -> Ref:
        """A constant in another form than the graph has it; ``role`` tells several forms of one weight apart."""
        tensor = ir.Tensor(np.ascontiguousarray(array))
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
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def _call(self, op: str, args: Sequence[Arg], attributes: Mapping[str, Any], kind: int) -> Ref:
        inputs = [self._input(a) for a in args]
        key = repr((op, sorted(attributes.items()), kind))
        if key not in self._primitives:
            self._primitives[key] = {
                "name": f"{op}:{len(self._primitives) + 1}",
                "op_type": op,
                "attribute": [self.attribute(k, v) for k, v in attributes.items()],
                "instance_name": "",
                "prim_type": kind,
            }
        name = self._unique(f"{op}_{len(self._nodes)}")
        self._nodes.append(
            {
                "input": inputs,
                "output": [name],
                "name": name,
                "op_type": f"REF::{self._primitives[key]['name']}",
                "domain": f"{self._domain}/{op}-op{len(self._nodes)}",
            }
        )
        return Ref(name)

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
            self._nodes.append({**node, "attribute": [self.attribute("value", value)]})
            self._constants[key] = Ref(name)
        return self._constants[key]

    def attribute(self, name: str, value: Any) -> wire.Message:
        """An AttributeProto of a Python value (tuples hold their elements as attributes)."""
        head: wire.Message = {"name": name} if name else {}
        if value is None:
            return {**head, "type": AttributeType.NONE}
        if isinstance(value, np.ndarray):
            return {**head, "tensors": [self._tensor(ir.Tensor(value))], "type": AttributeType.TENSORS}
        if isinstance(value, (tuple, list)):
            kind = AttributeType.TUPLE if isinstance(value, tuple) else AttributeType.LIST
            return {**head, "type": kind, "values": [self.attribute("", v) for v in value]}
        if isinstance(value, (bool, int, np.integer)):
            kind = AttributeType.BOOL if isinstance(value, bool) else AttributeType.INT64
            one, many = "i", "ints"
            held: int | float | bytes = int(value)
        elif isinstance(value, (float, np.floating)):
            kind, one, many, held = AttributeType.FLOAT, "f", "floats", float(value)
        else:
            kind, one, many, held = AttributeType.STRING, "s", "strings", str(value).encode()
        # elements of tuples use the repeated field: MindSpore's loader reads no other
        return {**head, **({one: held} if name else {many: [held]}), "type": kind}

    def _tensor(self, tensor: ir.TensorProtocol) -> wire.Message:
        shape = [int(d) for d in tensor.shape]  # type: ignore[arg-type]
        message = {"dims": shape, "data_type": self._data_type(tensor.dtype)}
        if tensor.nbytes <= 1024:
            return {**message, "raw_data": _bytes(tensor).tobytes()}
        return {**message, "raw_data": wire.Stream(tensor.nbytes, lambda: _bytes(tensor))}

    def _data_type(self, dtype: ir.DataType) -> int:
        if dtype not in DATA_TYPE_OF:
            raise Refusal(f"MindIR has no element type {dtype.name}")
        return DATA_TYPE_OF[dtype]

    def _weight(self, value: ir.Value) -> Ref:
        tensor = value.const_value
        assert tensor is not None
        if tensor.size <= 1 or (tensor.size <= 64 and tensor.dtype.is_integer()):
            return self.constant(tensor.numpy())
        name = value.name or ""
        if not name or name in self._parameters:
            name = self._unique(name or "weight")
        self._parameters[name] = self._parameter(name, tensor)
        return Ref(name)

    def _parameter(self, name: str, tensor: ir.TensorProtocol) -> wire.Message:
        return {**self._tensor(tensor), "name": name, "ref_key": name, "compression_type": 0}

    # --- the whole graph ---

    def run(self) -> None:
        """Write every node.

        Raises:
            UnsupportedOp: all nodes that MindIR cannot express.
        """
        refused: list[str] = []
        for value in self.graph.inputs:
            self.bind(value, Ref(value.name or ""))
        for node in self.graph:
            self._enter(node)
            handler = handlers().get(node.op_type) if node.domain == "" else None
            try:
                _refuse_empty(node)
                if handler is None:
                    raise Refusal(reason(node) or "no counterpart in MindSpore is known")
                handler(self, node)
            except Refusal as error:
                refused.append(f"{node.op_type} (layer {layer_of(node)}): {error}")
                for value in node.outputs:
                    self.bind(value, Ref(value.name or ""))
        if refused:
            raise UnsupportedOp(
                f"{len(refused)} operators cannot be written as MindIR: {'; '.join(refused)}",
                self.graph.name or "",
                "convert to another format, or change the model",
            )

    def _enter(self, node: ir.Node) -> None:
        parts = [p.replace("-", "_") for p in node.metadata_props.get(LAYER, "").split("/") if p]
        origin = (node.metadata_props.get(ORIGIN) or node.op_type).replace("-", "_").replace("/", "_")
        cells = [f"{p}-{origin if i == len(parts) - 1 else 'Cell'}" for i, p in enumerate(parts)]
        self._domain = "/".join(["Default", *cells])

    def finish(self) -> wire.Message:
        """The finished ModelProto."""
        renames, outputs = self._outputs()
        infos = [{"name": v.name, "tensor": [self._spec(v)]} for v in self.graph.inputs]
        result: list[wire.Message]
        if len(outputs) == 1:
            last = outputs[0]
            result = [{"name": last, "tensor": [self._spec(self.graph.outputs[0])]}]
        else:
            packed = self.prim("MakeTuple", [Ref(n) for n in outputs])
            last = packed.name
            specs = [{"tensors": [self._spec(v)], "type": AttributeType.TENSORS} for v in self.graph.outputs]
            result = [{"name": last, "attr_info": {"type": AttributeType.TUPLE, "values": specs}}]
        for node in self._nodes:
            node["input"] = [renames.get(n, n) for n in node.get("input", ())]
            node["output"] = [renames.get(n, n) for n in node["output"]]
            node["name"] = node["output"][0]
        nodes, parameters = self._live(last)
        used = {n["op_type"][5:] for n in nodes}
        graph = {
            "node": nodes,
            "name": self.graph.name or "main",
            "parameter": parameters,
            "input": infos,
            "output": result,
        }
        return {
            "ir_version": IR_VERSION,
            "producer_name": "recast",
            "producer_version": __version__,
            "model_version": "2.10.0",
            "graph": graph,
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

    def _spec(self, value: ir.Value) -> wire.Message:
        if value.dtype not in DATA_TYPE_OF:
            raise UnsupportedType(f"MindIR has no element type {value.dtype}", f"tensor {value.name}", "cast it first")
        shape = [d if isinstance(d, int) else -1 for d in dims(value)]
        return {"dims": shape, "data_type": DATA_TYPE_OF[value.dtype]}

    def _live(self, last: str) -> tuple[list[wire.Message], list[wire.Message]]:
        """Nodes and parameters that the outputs need."""
        needed, nodes = {last}, []
        for node in reversed(self._nodes):
            if node["output"][0] in needed:
                needed.update(node["input"])
                nodes.append(node)
        return nodes[::-1], [p for n, p in self._parameters.items() if n in needed]


_TAKES_EMPTY = frozenset(
    ("Concat", "Shape", "Size", "Reshape", "ConstantOfShape", "CastLike", "Identity", "Resize", "Dropout")
)


def _refuse_empty(node: ir.Node) -> None:
    """MindSpore launches no kernel for an empty tensor: a result that is not empty stays as memory was."""
    if node.op_type in _TAKES_EMPTY or node.op_type.startswith("Reduce"):
        return
    data = node.inputs[:2] if node.op_type in ("MatMul", "Gemm", "Conv") else node.inputs[:1]
    empty = any(v is not None and v.shape is not None and 0 in v.shape for v in data)
    if empty and any(v.shape is None or 0 not in v.shape for v in node.outputs):
        raise Refusal("it makes something of an empty tensor, which MindSpore's kernels do not")


def _bytes(tensor: ir.TensorProtocol) -> memoryview:
    array = np.ascontiguousarray(tensor.numpy())
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # NumPy's stubs lack Buffer


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
            file.write(piece if isinstance(piece, bytes) else piece.load())
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
