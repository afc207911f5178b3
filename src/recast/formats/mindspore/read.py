"""MindIR → the graph dialect: parsed only, constants resolved, MindSpore's plumbing removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.bounded import MAX_DEPTH, as_bad_model
from recast.errors import BadModel, RecastError, UnsupportedOp
from recast.formats._format import ReadOptions
from recast.formats.mindspore import signature, tensors, wire
from recast.formats.mindspore.branches import Branch, branched
from recast.formats.mindspore.reading import Refusal, handlers
from recast.formats.mindspore.types import AttributeType
from recast.graph.build import Builder

_FIX = "export the model again"
_OP_NUMBER = re.compile(r"-op\d+$")
MISSING: Any = object()
# primitives whose second input is the weight of a layer
_OWNED = frozenset(
    ("Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "MatMul", "BiasAdd", "BatchNorm", "LayerNorm", "PReLU")
)


@dataclass(frozen=True)
class Monad:
    """The token that orders side effects; nothing depends on its value."""


@dataclass(frozen=True)
class Function:
    """A sub-graph, perhaps with its first arguments given."""

    graph: wire.Message
    given: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Call:
    """One primitive with its arguments: graph values, Python constants, arrays, tuples of these."""

    reader: Reader
    op: str
    args: list[Any]
    attributes: dict[str, Any]

    @property
    def b(self) -> Builder:
        """The builder of the graph."""
        return self.reader.builder

    def arg(self, name: str, index: int, default: Any = MISSING) -> Any:
        """A setting: newer primitives take it as input ``index``, older ones as attribute ``name``."""
        if index < len(self.args) and not isinstance(self.args[index], Monad):
            return self.args[index]
        if name in self.attributes:
            return self.attributes[name]
        if default is MISSING:
            raise Refusal(f"'{name}' is missing")
        return default

    def attribute(self, name: str, default: Any = MISSING) -> Any:
        """An attribute of the primitive."""
        if name not in self.attributes and default is MISSING:
            raise Refusal(f"attribute '{name}' is missing")
        return self.attributes.get(name, default)

    def value(self, index: int) -> ir.Value:
        """Argument ``index`` as a tensor."""
        if index >= len(self.args):
            raise Refusal(f"input {index} is missing")
        return self.reader.value(self.args[index], self.like(index))

    def like(self, index: int) -> ir.DataType | None:
        """The element type that a bare number beside tensors takes."""
        found = [a.dtype for i, a in enumerate(self.args) if i != index and isinstance(a, ir.Value)]
        return found[0] if found else None

    def ints(self, name: str, index: int, default: Any = MISSING) -> list[int]:
        """A setting that is one or several whole numbers."""
        found = self.arg(name, index, default)
        if isinstance(found, ir.Value) and found.const_value is not None:
            found = found.const_value.numpy()
        if isinstance(found, np.ndarray):
            found = found.reshape(-1).tolist()
        items = list(found) if isinstance(found, (tuple, list)) else [found]
        if any(isinstance(i, bool) or not isinstance(i, int) for i in items):
            raise Refusal(f"'{name}' is not constant")
        return items

    def number(self, name: str, index: int, default: Any = MISSING) -> int:
        """A setting that is one whole number."""
        return self.ints(name, index, default)[0]


class Reader:
    """Walks one file's graphs and builds the model."""

    def __init__(self, model: wire.Message, path: Path, options: ReadOptions) -> None:
        self.path, self.options = path, options
        self.graph: wire.Message = model["graph"]
        self.little_endian = model.get("little_endian", True)
        self.functions = {f.get("name", ""): f for f in model.get("functions", ())}
        self.primitives = {p.get("name", ""): p for p in model.get("primitives", ())}
        self.builder = Builder(re.sub(r"\W+", "_", self.graph.get("name", "")) or "main")
        self.refused: dict[str, str] = {}
        self.layer = ""
        self.symbols: dict[int, str | None] = {}  # unknown dimensions that the file reads at run time
        self.fanout: dict[int, int] = {}  # how often the file uses a value
        self._weights: dict[str, ir.Value] = {}
        self._paths: set[str] = set()  # weights that MindSpore named after their cells
        self._calls = 0

    def model(self) -> ir.Model:
        """The whole model.

        Raises:
            UnsupportedOp: all primitives that are not understood.
        """
        if "preprocessor" in self.graph:
            raise UnsupportedOp("the file holds preprocessing of data", str(self.path), "export without it")
        arguments = [self._input(info) for info in self.graph.get("input", ())]
        results = _flat(self._run(self.graph, arguments, 0))
        if self.refused:
            told = "; ".join(f"{op}: {why}" for op, why in self.refused.items())
            raise UnsupportedOp(f"{len(self.refused)} primitives are not read: {told}", str(self.path))
        names = signature.output_names(self.graph, len(results))
        if not results:
            raise BadModel("the graph has no output", str(self.path), _FIX)
        for name, result in zip(names, results, strict=True):
            self.builder.output(self.value(result), name)
        self.builder.drop_unused()
        return self.builder.model()

    # --- values ---

    def value(self, held: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """Anything that stands for a tensor, as a graph value."""
        if isinstance(held, ir.Value):
            return held
        if isinstance(held, np.ndarray):
            return self.builder.const(held)
        if isinstance(held, (bool, int, float)):
            numpy_type = None if dtype is None else dtype.numpy()
            return self.builder.const(held, numpy_type)
        if isinstance(held, tuple) and all(isinstance(v, (int, float)) for v in held):
            return self.builder.const(list(held))
        raise Refusal("an input is no tensor")

    def _input(self, info: wire.Message) -> Any:
        name = signature.plain(info.get("name", ""), self.graph)
        tensors_ = info.get("tensor", ())
        if len(tensors_) != 1:
            kind = info.get("attr_info", {}).get("type")
            if kind in (AttributeType.UMONAD, AttributeType.IOMONAD):
                return Monad()
            raise BadModel(f"input {name} is not a tensor", str(self.path), _FIX)
        dtype = tensors.element_type(tensors_[0], f"input {name}")
        shape = self.options.inputs.get(name) or signature.dimension_names(tensors_[0].get("dims", []))
        return self.builder.input(name, dtype, shape)

    def _parameter(self, tensor: wire.Message) -> ir.Value:
        key = tensor.get("name", "")
        if key not in self._weights:
            name = tensor.get("ref_key") or signature.plain(key, self.graph)
            where = f"parameter {name}"
            data = tensors.array(tensor, self.path.parent, self.little_endian, where)
            path = name.replace(".", "/")
            self._weights[key] = made = self.builder.weight(path, ir.Tensor(data, name=path))
            if "." in name and "/" not in name:
                self._paths.add(made.name or "")
        return self._weights[key]

    def constant(self, attribute: wire.Message) -> Any:
        """An AttributeProto as Python data: numbers, text, arrays, tuples, monads."""
        kind = attribute.get("type", 0)
        if kind in (AttributeType.TUPLE, AttributeType.LIST):
            if attribute.get("ints"):
                return tuple(attribute["ints"])
            return tuple(self.constant(v) for v in attribute.get("values", ()))
        if kind in (AttributeType.TENSOR, AttributeType.TENSORS):
            held = attribute.get("tensors") or ([attribute["t"]] if "t" in attribute else [])
            where = f"constant {attribute.get('name', '')}"
            made = [tensors.array(t, self.path.parent, self.little_endian, where) for t in held]
            if not made:
                raise BadModel("a constant tensor without data", where, _FIX)
            return made[0] if len(made) == 1 else tuple(made)
        if kind in (AttributeType.UMONAD, AttributeType.IOMONAD):
            return Monad()
        if kind in (AttributeType.NONE, AttributeType.TYPE_NULL):
            return None
        if kind == AttributeType.STRING:
            return bytes(_one(attribute, "s", "strings", b"")).decode(errors="replace")
        if kind == AttributeType.BOOL:
            return bool(_one(attribute, "i", "ints", 0))
        if kind in AttributeType.WHOLE:
            return int(_one(attribute, "i", "ints", 0))
        if kind in (AttributeType.FLOAT, AttributeType.FLOAT16, AttributeType.DOUBLE):
            name, many = ("d", "doubles") if kind == AttributeType.DOUBLE else ("f", "floats")
            return float(_one(attribute, name, many, 0.0))
        return None

    # --- graphs ---

    def _run(self, graph: wire.Message, arguments: list[Any], depth: int) -> Any:
        """Evaluate a graph symbolically; sub-graphs are inlined."""
        self._calls += 1
        if depth > MAX_DEPTH or self._calls > 10_000:
            raise Refusal("sub-graphs call each other too often")
        infos = graph.get("input", ())
        if len(infos) != len(arguments):
            raise BadModel(
                f"a graph takes {len(infos)} inputs, {len(arguments)} are given", graph.get("name", ""), _FIX
            )
        known: dict[str, Any] = {i.get("name", ""): a for i, a in zip(infos, arguments, strict=True)}
        parameters = {t.get("name", ""): t for t in (*self.graph.get("parameter", ()), *graph.get("parameter", ()))}
        uses: dict[str, int] = {}
        for name in (*(n for node in graph.get("node", ()) for n in node.get("input", ())),
                     *(o.get("name", "") for o in graph.get("output", ()))):  # fmt: skip
            uses[name] = uses.get(name, 0) + 1
        for node in graph.get("node", ()):
            args = [self._named(n, known, parameters) for n in node.get("input", ())]
            result = self._node(node, args, (known, depth))
            outputs = node.get("output") or [node.get("name", "")]
            for i, name in enumerate(outputs):
                made = known[name] = result if len(outputs) == 1 else _item(result, i)
                if isinstance(made, ir.Value):
                    self.fanout[id(made)] = self.fanout.get(id(made), 0) + uses.get(name, 0)
        results = [self._named(o.get("name", ""), known, parameters) for o in graph.get("output", ())]
        return results[0] if len(results) == 1 else tuple(results)

    def _named(self, name: str, known: dict[str, Any], parameters: dict[str, wire.Message]) -> Any:
        if name in known:
            return known[name]
        if name in parameters:
            known[name] = self._parameter(parameters[name])
            return known[name]
        if name in self.functions:
            return Function(self.functions[name])
        raise BadModel(f"'{name[:200]}' is used before it is made", str(self.path), _FIX)

    def _node(self, node: wire.Message, args: list[Any], place: tuple[dict[str, Any], int]) -> Any:
        op, attributes = self._primitive(node)
        if op == "Constant":
            return next((self.constant(a) for a in node.get("attribute", ()) if a.get("name") == "value"), None)
        if any(a is MISSING for a in args):
            return MISSING  # follows a primitive that was refused
        known, depth = place
        self.layer, origin = _layer(node.get("domain", ""), op)
        layer = self.layer = self._owner(op, args) or self.layer
        try:
            if op in known or op in self.functions:
                callee = known[op] if op in known else Function(self.functions[op])
                return self._call(callee, args, depth)
            with self.builder.layer(layer, origin):
                return self._primitive_result(op, attributes, args)
        except Refusal as error:
            self.refused.setdefault(op, f"{error} (layer {layer or node.get('name', '')})")
            return MISSING

    def _owner(self, op: str, args: list[Any]) -> str:
        """The layer that owns an operator's weights: MindSpore gives equal cells one scope."""
        for held in args[1:2] if op in _OWNED else ():
            if isinstance(held, ir.Value) and held.const_value is not None and held.name in self._paths:
                return held.name.rpartition("/")[0]
        return ""

    def _primitive_result(self, op: str, attributes: dict[str, Any], args: list[Any]) -> Any:
        if op == "Partial":
            if not args or not isinstance(args[0], Function):
                raise Refusal("what it calls is not known")
            return Function(args[0].graph, (*args[0].given, *args[1:]))
        if op == "Switch":
            return self._switch(args)
        handler = handlers().get(op)
        if handler is None:
            raise Refusal("not known")
        return handler(Call(self, op, args, attributes))

    def _switch(self, args: list[Any]) -> Any:
        if len(args) == 3 and isinstance(args[0], (bool, np.ndarray)) and np.size(args[0]) == 1:
            return args[1] if bool(np.all(args[0])) else args[2]
        if len(args) == 3 and isinstance(args[0], ir.Value) and all(isinstance(a, Function) for a in args[1:]):
            return Branch(args[0], args[1], args[2])
        raise Refusal("a branch that depends on data")

    def _call(self, callee: Any, args: list[Any], depth: int) -> Any:
        if isinstance(callee, Branch):
            return branched(self, callee, lambda function: self._call(function, args, depth))
        if not isinstance(callee, Function):
            raise Refusal("what it calls is not known")
        return self._run(callee.graph, [*callee.given, *args], depth + 1)

    def _primitive(self, node: wire.Message) -> tuple[str, dict[str, Any]]:
        """A node's primitive and attributes, from the table of primitives or, in older files, the node itself."""
        op, own = node.get("op_type", ""), node.get("attribute", [])
        if op.startswith("REF::"):
            entry = self.primitives.get(op[5:])
            if entry is None:
                return op[5:], {}
            op, own = entry.get("op_type", ""), [*entry.get("attribute", ()), *own]
        if op == "Constant":
            return op, {}
        skipped = ("shape", "input_names", "output_names")
        return op, {a.get("name", ""): self.constant(a) for a in own if a.get("name") not in skipped}


def _one(attribute: wire.Message, single: str, many: str, default: Any) -> Any:
    """A scalar, wherever it is: elements of tuples use the repeated field."""
    if single in attribute:
        return attribute[single]
    return attribute[many][0] if attribute.get(many) else default


def _item(result: Any, index: int) -> Any:
    return result[index] if isinstance(result, tuple) and index < len(result) else MISSING


def _flat(result: Any) -> list[Any]:
    if isinstance(result, tuple):
        return [v for r in result for v in _flat(r)]
    return [result] if result is not MISSING and not isinstance(result, Monad) else []


def _layer(domain: str, op: str) -> tuple[str, str]:
    """(layer path, type) of a scope such as ``Default/block-Cell/conv1-Conv2d/Conv2D-op3``."""
    parts = [p for p in domain.split("/") if p and p != "Default"]
    if not parts:
        return "", op
    cells = [p.rpartition("-") for p in parts[:-1]]
    path = "/".join(name or cell for name, _, cell in cells)
    return (path, cells[-1][2]) if path else (_OP_NUMBER.sub("", parts[-1]), op)


def read(path: Path, options: ReadOptions) -> ir.Model:
    """Read a ``.mindir`` file.

    Raises:
        BadModel, TooLarge, UnsafeModel, UnsupportedOp, UnsupportedType: and nothing else.
    """
    try:
        return Reader(signature.load(path), path, options).model()
    except RecastError:
        raise
    except Refusal as error:
        raise UnsupportedOp(str(error), str(path)) from error
    except Exception as error:
        raise as_bad_model(error, str(path)) from error
