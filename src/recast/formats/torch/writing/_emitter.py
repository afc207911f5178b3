"""Collects what one graph becomes: modules, weights, and the lines of ``forward``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats.torch.write_state import Entry
from recast.formats.torch.writing import Handler, Refuse, _support, handlers
from recast.formats.torch.writing._ints import Ints
from recast.formats.torch.writing._literals import list_literal, literal
from recast.formats.torch.writing._names import RESERVED, Unique, local, path_parts
from recast.formats.torch.writing._tree import Tree
from recast.formats.torch.writing._types import BITS, FLOATS, TYPES, WIDE_UNSIGNED, TorchType
from recast.graph import LAYER, view

_LITERAL_ITEMS = 24  # constants up to this many elements are written into the source
# operators that only move elements about, by calls that PyTorch lacks for the wide unsigned integers
_MOVES = frozenset({
    "Compress", "DepthToSpace", "Gather", "GatherElements", "GatherND", "OneHot", "Pad", "ReverseSequence",
    "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "TensorScatter", "Trilu", "Where",
})  # fmt: skip
_MODULE_TENSOR = re.compile(r"(.+)\.(weight|kernel|gamma)$")


@dataclass(frozen=True)
class Weight:
    """A constant that becomes a tensor of a module: its value and how the target wants it."""

    value: ir.Value
    shape: tuple[int, ...]
    change: Callable[[np.ndarray], np.ndarray] | None = None
    dtype: ir.DataType | None = None


class Emitter:
    """What handlers write to. Expressions are Python source; every value of the graph has one once its node is done."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.tree = Tree()
        self.entries: list[Entry] = []
        self.lines: list[str] = []
        self.support: set[str] = set()
        self.problems: list[str] = []
        self.done: set[ir.Node] = set()
        self.output_types: dict[ir.Value, str] = {}
        self._indent = 2
        self._bits = ""  # the signed type that stands for a wide unsigned one in the operator at hand
        self._expressions: dict[ir.Value, str] = {}
        self._ints: dict[ir.Value, Ints] = {}
        self._modules: dict[tuple[object, ...], str] = {}
        self._tensors: dict[tuple[str, str], str] = {}
        self._unique = Unique(RESERVED | frozenset(_support.parts()))
        self._reserved: dict[ir.Value, str] = {}
        self.arguments = [self._argument(v) for v in graph.inputs]
        for value in graph.outputs:
            if value not in self._expressions:
                self._reserved.setdefault(value, self._unique(local(value.name or "output")))

    def _argument(self, value: ir.Value) -> str:
        name = self._expressions[value] = self._unique(local(value.name or "input"))
        return name

    # ---- running over nodes -------------------------------------------------------------------------------------

    def run(self, graph: ir.Graph | ir.GraphView) -> None:
        """Emit every node, collecting the ones that cannot be expressed."""
        known = handlers()
        for node in graph:
            if node in self.done:
                continue
            handler = known.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            try:
                if handler is None:
                    raise Refuse("no PyTorch form is known")
                self._settle(node, self._moved(node, handler) if node.op_type in _MOVES else handler(self, node))
            except Refuse as reason:
                domain = f"{node.domain}::" if node.domain else ""
                self.problems.append(f"{domain}{node.op_type} (layer {view.layer_of(node)}): {reason}")
                for value in node.outputs:
                    self._expressions.setdefault(value, "None")

    def _moved(self, node: ir.Node, handler: Handler) -> str | Ints | None:
        """PyTorch does not move the wide unsigned integers about: it moves the signed ones that have the same bits."""
        wide = next((v.dtype for v in node.inputs if v is not None and v.dtype in BITS), None)
        if wide is None:
            return handler(self, node)
        self._bits = BITS[wide]
        try:
            code = handler(self, node)
        finally:
            self._bits = ""
        return f"{code}.view({self.dtype(node.outputs[0])})"

    def _settle(self, node: ir.Node, result: str | Ints | None) -> None:
        if result is None:
            return
        if isinstance(result, Ints):
            self._ints[node.outputs[0]] = result
            return
        last = max((i for i, v in enumerate(node.outputs) if _used(v)), default=-1)
        if last < 0:
            return
        names = [self.new(v) if _used(v) else "_" for v in node.outputs]
        self.emit(f"{', '.join(names)} = {result}")

    def emit(self, line: str) -> None:
        """Add a statement."""
        self.lines.append("    " * self._indent + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A compound statement: ``head`` and what is emitted inside."""
        self.emit(head)
        self._indent += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.emit("pass")
        self._indent -= 1

    # ---- names --------------------------------------------------------------------------------------------------

    def new(self, value: ir.Value) -> str:
        """A fresh variable for a value, which is now known by that name."""
        name = self._reserved.pop(value, None)
        if name is None:
            node = value.producer()
            name = self._unique(local(_leaf(node) if node is not None else value.name or "value"))
        self._expressions[value] = name
        return name

    def temporary(self, wanted: str) -> str:
        """A fresh variable that belongs to no value."""
        return self._unique(local(wanted))

    def alias(self, value: ir.Value, expression: str) -> None:
        """Let a value be an expression that is already there."""
        if value in self._reserved:
            self.emit(f"{self.new(value)} = {expression}")
        else:
            self._expressions[value] = expression

    def alias_ints(self, value: ir.Value, ints: Ints) -> None:
        """Let a value be host integers."""
        self._ints[value] = ints

    def helper(self, name: str) -> str:
        """Bring a support function along; returns its name."""
        if name not in _support.parts():
            raise KeyError(f"no support function {name}")
        self.support.add(name)
        return name

    # ---- values -------------------------------------------------------------------------------------------------

    def tensor(self, value: ir.Value) -> str:
        """The expression of a value as a tensor."""
        code = self._tensor(value)
        return f"{code}.view({self._bits})" if self._bits and value.dtype in BITS else code

    def _tensor(self, value: ir.Value) -> str:
        known = self._expressions.get(value)
        if known is not None:
            return known
        ints = self._ints.get(value)
        if ints is not None:
            device = f", device={self.arguments[0]}.device" if self._tensor_input() else ""
            kind = self.dtype(value)
            name = self.new(value)
            self.emit(f"{name} = torch.tensor({ints.code()}, dtype={kind}{device})")
            return name
        if view.is_const(value):
            return self.constant(value)
        raise Refuse(f"value {value.name!r} is used before it is made")

    def _tensor_input(self) -> bool:
        return bool(self.graph.inputs) and isinstance(self.graph.inputs[0].type, ir.TensorType)

    def x(self, node: ir.Node, index: int = 0) -> str:
        """Input ``index`` of a node as a tensor.

        Raises:
            Refuse: it is absent.
        """
        value = self.value(node, index)
        if value is None:
            raise Refuse(f"its input {index} is missing")
        return self.tensor(value)

    def xs(self, node: ir.Node) -> list[str]:
        """All inputs; absent ones are ``None``."""
        return ["None" if v is None else self.tensor(v) for v in node.inputs]

    def optional(self, node: ir.Node, index: int) -> str:
        """Input ``index`` as a tensor, or ``None``."""
        value = self.value(node, index)
        return "None" if value is None else self.tensor(value)

    def value(self, node: ir.Node, index: int) -> ir.Value | None:
        """Input ``index``, or None where it is absent."""
        return node.inputs[index] if index < len(node.inputs) else None

    def const(self, node: ir.Node, index: int) -> np.ndarray | None:
        """Input ``index`` as an array where it is constant."""
        return view.const(self.value(node, index))

    def ints(self, node: ir.Node, index: int) -> Ints | None:
        """Input ``index`` as host integers where that is possible (constant, or made from shapes)."""
        value = self.value(node, index)
        if value is None:
            return None
        if value in self._ints:
            return self._ints[value]
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None or tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32) or len(tensor.shape) > 1:
            return None
        if tensor.size > 256:
            return None
        array = tensor.numpy()
        return Ints(tuple(str(int(i)) for i in array.reshape(-1)), array.ndim == 0, bool((array >= 0).all()))

    def is_host(self, node: ir.Node, index: int) -> bool:
        """Whether input ``index`` was made from shapes."""
        value = self.value(node, index)
        return value is not None and value in self._ints

    def list_code(self, node: ir.Node, index: int) -> str:
        """Input ``index`` as a Python list of integers, wherever it comes from."""
        ints = self.ints(node, index)
        if ints is not None:
            return f"[{ints.args()}]"
        return f"{self.x(node, index)}.tolist()"

    def operand(self, node: ir.Node, index: int) -> str:
        """Input ``index`` as a number where it is a constant scalar (of no larger rank than another), else a tensor."""
        value = self.value(node, index)
        if value is None:
            raise Refuse(f"its input {index} is missing")
        others = [v for v in node.inputs if v is not None and v is not value and not view.is_const(v)]
        if value in self._expressions or not others or value.dtype in WIDE_UNSIGNED:
            return self.tensor(value)
        rank = max((view.rank(v) or 0) for v in others)
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None and tensor.size == 1 and len(tensor.shape) <= rank and tensor.dtype in TYPES:
            return literal(tensor.numpy().reshape(-1)[0])
        ints = self._ints.get(value)
        if ints is not None and ints.scalar:
            return ints.items[0]
        return self.tensor(value)

    def dtype(self, value: ir.Value) -> str:
        """``torch.float32`` …

        Raises:
            Refuse: PyTorch has no such type.
        """
        return f"torch.{self.type(value.dtype).torch}"

    def type(self, dtype: ir.DataType | None) -> TorchType:
        """The PyTorch side of an element type."""
        if dtype is None or dtype not in TYPES:
            raise Refuse(f"PyTorch has no element type {dtype.name if dtype else 'unknown'}")
        return TYPES[dtype]

    # ---- constants, parameters, modules -------------------------------------------------------------------------

    def constant(self, value: ir.Value, path: Sequence[str] = ()) -> str:
        """A constant as a tensor: a number, a small buffer written out, or a weight of the state dict."""
        tensor = ir.convenience.get_const_tensor(value)
        assert tensor is not None
        kind = self.type(tensor.dtype)
        shape = tuple(d for d in tensor.shape if isinstance(d, int))
        listed = tensor.size <= _LITERAL_ITEMS and kind.storage and not (tensor.dtype in FLOATS and tensor.size > 1)
        if listed:
            code = f"torch.tensor({list_literal(tensor.numpy())}, dtype=torch.{kind.torch})"
            key = (code, "")
            if key not in self._tensors:
                parts = [*path] or [self._constant_name(value)]
                line = f'{{owner}}.register_buffer("{{name}}", {code}, persistent=False)'
                self._tensors[key] = self.tree.access(self.tree.tensor(parts, line))
            self._expressions[value] = self._tensors[key]
            return self._tensors[key]
        parts = list(path) or path_parts(value.name or "constant") or ["constant"]
        if tensor.dtype in FLOATS and not _looks_constant(value.name or ""):
            code = '{owner}.register_parameter("{name}", nn.Parameter(torch.empty(SHAPE)))'
        else:
            code = '{owner}.register_buffer("{name}", torch.empty(SHAPE))'
        inside = f"{shape}" if kind.torch == "float32" else f"{shape}, dtype=torch.{kind.torch}"
        placed = self.tree.tensor(parts, code.replace("SHAPE", inside))
        self._store(".".join(placed), Weight(value, shape))
        self._expressions[value] = self.tree.access(placed)
        return self._expressions[value]

    def _constant_name(self, value: ir.Value) -> str:
        return (
            (path_parts(value.name or "") or ["constant"])[-1] if not (value.name or "0")[-1].isdigit() else "constant"
        )

    def _store(self, key: str, weight: Weight) -> None:
        tensor = ir.convenience.get_const_tensor(weight.value)
        assert tensor is not None
        dtype = weight.dtype or tensor.dtype

        def make() -> np.ndarray:
            array: np.ndarray = tensor.numpy()
            if tensor.dtype in (ir.DataType.INT4, ir.DataType.INT2):
                array = array.astype(np.int8)
            elif tensor.dtype in (ir.DataType.UINT4, ir.DataType.UINT2):
                array = array.astype(np.uint8)
            changed = array if weight.change is None else weight.change(array)
            return changed.reshape(weight.shape)

        self.entries.append(Entry(key, self.type(dtype), weight.shape, make, weight.value.name or "", weight.change))

    def module(self, node: ir.Node, code: str, weights: Mapping[str, Weight]) -> str:
        """Add a submodule with weights (by parameter name); nodes that share everything share the module.

        Returns:
            a mark that becomes the expression that reaches it, e.g. ``self.layer1[0].conv1``.
        """
        key = (code, *((role, w.value, w.shape) for role, w in weights.items()), None if weights else node)
        if key not in self._modules:
            first = next(iter(weights.values()), None)
            path = self.tree.module(layer_parts(node, first.value if first else None), code)
            for role, weight in weights.items():
                self._store(".".join([*path, role]), weight)
            self._modules[key] = self.tree.access(path)
        return self._modules[key]

    def counter(self, node: ir.Node, code: str, weights: Mapping[str, Weight]) -> str:
        """As ``module``, plus the step counter that batch normalisation keeps in its state."""
        known = len(self.entries)
        access = self.module(node, code, weights)
        if len(self.entries) > known:
            owner = self.entries[-1].key.rpartition(".")[0]
            kind = TYPES[ir.DataType.INT64]
            self.entries.append(Entry(f"{owner}.num_batches_tracked", kind, (), lambda: np.zeros((), np.int64)))
        return access


def _used(value: ir.Value) -> bool:
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


def _looks_constant(name: str) -> bool:
    return name.startswith(("const", "onnx::")) or "Constant" in name or "/const" in name


def layer_parts(node: ir.Node, weight: ir.Value | None = None) -> list[str]:
    """The module path of a node: from its weight's PyTorch-style name, else its layer, else its own name."""
    match = _MODULE_TENSOR.match(weight.name or "") if weight is not None else None
    if match:
        return path_parts(match.group(1)) or ["layer"]
    layer = node.metadata_props.get(LAYER)
    if not layer:
        layer = re.sub(rf"(^|[/.]){node.op_type}(_\d+)?$", "", node.name or "") or node.op_type.lower()
    return path_parts(layer) or [node.op_type.lower()]


def _leaf(node: ir.Node) -> str:
    parts = layer_parts(node) if node.metadata_props.get(LAYER) else [node.op_type]
    leaf = "_".join(parts[-2:]) if parts[-1].isdigit() or len(parts[-1]) < 2 else parts[-1]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", leaf).lower()
