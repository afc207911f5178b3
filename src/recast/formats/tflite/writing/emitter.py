"""The TFLite graph while it is made: tensors, operators, and what each graph value became."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.schema import number
from recast.formats.tflite.write_versions import DECIDES, version
from recast.formats.tflite.writing import Missing, Refused
from recast.formats.tflite.writing.constants import Buffers, Quant, Weight, tensor_type, weight_of
from recast.formats.tflite.writing.graph_facts import INTEGERS as INTEGERS
from recast.formats.tflite.writing.graph_facts import quant_of as quant_of
from recast.formats.tflite.writing.graph_facts import quant_of_value as quant_of_value
from recast.formats.tflite.writing.graph_facts import relu_name as relu_name
from recast.formats.tflite.writing.stand_in import StandIn, bring_back, brought, chosen_for
from recast.graph import view
from recast.graph.finding import Finding

SMALL = ("INT8", "UINT8", "INT16", "UINT16")
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)

Options = tuple[str, dict[str, Any]] | None
Dims = tuple[int, ...]  # -1: not known before run time


@dataclass
class Tensor:
    """One tensor of the file; -1 in ``shape`` is a dimension that changes at run time."""

    name: str
    type: str
    shape: Dims
    buffer: int = 0
    quant: Quant | None = None
    variable: bool = False
    sparsity: dict[str, Any] | None = None


@dataclass
class Operator:
    """One builtin: tensor numbers (-1: left out) and its options table."""

    builtin: str
    version: int
    inputs: list[int]
    outputs: list[int]
    options: tuple[str, dict[str, Any]] | None


@dataclass
class Site:
    """Where an operator reads and writes: integer tensors when it is quantised, else float ones."""

    inputs: list[int]
    output: int
    activation: str
    quantised: bool
    options: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.options = {"fused_activation_function": activation_number(self.activation)}


def type_number(name: str) -> int:
    """The number of a TensorType."""
    return number("TensorType", name)


def activation_number(name: str) -> int:
    """The number of a fused activation."""
    return number("ActivationFunctionType", name)


def dims_of(value: ir.Value) -> Dims:
    """A value's shape with -1 for every dimension that is not a number.

    Raises:
        Refused: the rank is not known.
    """
    if value.shape is None:
        raise Refused(f"the shape of '{value.name}' is not known")
    return tuple(d if isinstance(d, int) else -1 for d in value.shape)


Subgraph = tuple["Emitter", list[int], list[int]]


class Emitter:
    """Collects the tensors and operators of one sub-graph."""

    def __init__(self, outer: Emitter | None = None) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.buffers: Buffers = Buffers() if outer is None else outer.buffers
        self.subgraphs: list[Subgraph] = [] if outer is None else outer.subgraphs
        self.findings: list[Finding] = []
        self.done: set[ir.Node] = set()
        self._of: dict[ir.Value, int] = {}
        self._lazy: dict[ir.Value, Callable[[], int]] = {}
        self._integer: dict[ir.Value, int | Callable[[], int]] = {}
        self._shared: dict[tuple[Any, ...], int] = {}

    # -- tensors ---------------------------------------------------------------------------------

    def tensor(self, name: str, type_name: str, shape: Sequence[int], quant: Quant | None = None) -> int:
        """A new tensor that some operator writes."""
        self.tensors.append(Tensor(name, type_name, tuple(shape), quant=quant))
        return len(self.tensors) - 1

    def temp(self, like: int, shape: Sequence[int] | None = None, type_name: str | None = None) -> int:
        """A new tensor of another one's type and quantisation."""
        model = self.tensors[like]
        kept = model.quant if type_name is None else None
        return self.tensor(
            f"{model.name}/{len(self.tensors)}",
            type_name or model.type,
            model.shape if shape is None else shape,
            kept,
        )

    def weight(self, weight: Weight, name: str = "") -> int:
        """A constant tensor."""
        buffer = self.buffers.add(weight)
        key = (buffer, weight.type, weight.shape, weight.quant)
        if key not in self._shared:
            index = self.tensor(name or f"const/{len(self.tensors)}", weight.type, weight.shape, weight.quant)
            self.tensors[index].buffer = buffer
            self._shared[key] = index
        return self._shared[key]

    def constant(self, array: np.ndarray, name: str = "", quant: Quant | None = None) -> int:
        """A constant tensor of an array."""
        return self.weight(weight_of(array, quant), name)

    def number(self, value: float) -> int:
        """A float scalar."""
        return self.constant(np.array(value, np.float32))

    def ints(self, values: Any) -> int:
        """An int32 constant: shapes, axes, paddings."""
        return self.constant(np.asarray(values, np.int32))

    def shape(self, index: int) -> Dims:
        """A tensor's shape."""
        return self.tensors[index].shape

    def inner(self) -> Emitter:
        """An emitter for a sub-graph of this file (the body of a loop)."""
        return Emitter(self)

    def like(self, outer: Emitter, index: int) -> int:
        """A new tensor with the name, type and shape of another sub-graph's."""
        model = outer.tensors[index]
        return self.tensor(model.name, model.type, model.shape, model.quant)

    def subgraph(self, made: Subgraph) -> int:
        """Add a finished sub-graph: its emitter, inputs and outputs; returns its number."""
        self.subgraphs.append(made)
        return len(self.subgraphs)

    # -- values ----------------------------------------------------------------------------------

    def take(self, value: ir.Value | None) -> int:
        """The tensor of a value, made now if it only exists in another form (constant, integer)."""
        if value is None:
            return -1
        if value in self._of:
            return self._of[value]
        if value in self._lazy:
            self._of[value] = self._lazy.pop(value)()
        elif value in self._integer:
            source = self._integer_tensor(value)
            self.op("DEQUANTIZE", [source], [self.put(value)], ("DequantizeOptions", {}))
        elif value.const_value is not None:
            index = self.weight(self.weight_of(value), value.name or "")
            half = value.dtype == ir.DataType.FLOAT16
            self._of[value] = self.dequantised(index) if half else index
        else:
            raise Missing(f"'{value.name}' is not computed")
        return self._of[value]

    def put(self, value: ir.Value, quant: Quant | None = None) -> int:
        """The tensor that is to hold a value (with its quantisation, if it is an integer one).

        LiteRT has no float16 arithmetic: such values are float32 (their constants stay half precision).
        """
        if value not in self._of:
            if value.dtype == ir.DataType.INT4:
                raise Refused("4-bit integers are for weights only")
            type_name = "FLOAT32" if value.dtype == ir.DataType.FLOAT16 else tensor_type(value.dtype)
            self._of[value] = self.tensor(value.name or "", type_name, dims_of(value), quant)
        return self._of[value]

    def dequantised(self, index: int) -> int:
        """Half-precision or integer weights as float32, made once when the file is loaded."""
        return self.then("DEQUANTIZE", [index], None, ("DequantizeOptions", {}), "FLOAT32")

    def alias(self, value: ir.Value, index: int) -> None:
        """Let a value be a tensor that exists."""
        self._of[value] = index

    def later(self, value: ir.Value, make: Callable[[], int]) -> None:
        """Make a value's tensor only if somebody asks for it."""
        self._lazy[value] = make

    def held(self, value: ir.Value) -> bool:
        """Whether a value already has a tensor of its own."""
        return value in self._of

    def weight_of(self, value: ir.Value) -> Weight:
        """A constant value as a weight in the source's layout.

        Raises:
            Refused: it is not a constant.
        """
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None:
            raise Refused(f"'{value.name}' must be a constant")
        shape = tuple(int(d) for d in tensor.shape.numpy())
        return Weight(tensor, tensor_type(tensor.dtype), shape)

    def wide(self, value: ir.Value | None) -> int:
        """A value's tensor; 8- and 16-bit integers without scale are cast to int32, which kernels compute with."""
        index = self.take(value)
        tensor = self.tensors[index]
        if tensor.type not in SMALL or tensor.quant is not None:
            return index
        numbers = {"in_data_type": type_number(tensor.type), "out_data_type": 2}
        return self.then("CAST", [index], None, ("CastOptions", numbers), "INT32")

    def narrow(self, value: ir.Value) -> tuple[int, Callable[[], None]]:
        """Where to compute a result that may be an 8- or 16-bit integer, and what to do afterwards."""
        out = self.put(value)
        tensor = self.tensors[out]
        if tensor.type not in SMALL or tensor.quant is not None:
            return out, lambda: None
        wide = self.temp(out, None, "INT32")
        numbers = {"in_data_type": 2, "out_data_type": type_number(tensor.type)}
        return wide, lambda: self.op("CAST", [wide], [out], ("CastOptions", numbers))

    # -- quantisation ----------------------------------------------------------------------------

    def set_integer(self, value: ir.Value, index: int | Callable[[], int]) -> None:
        """Say which integer tensor stands for a float value, or how it is made if somebody asks."""
        self._integer[value] = index

    def _integer_tensor(self, value: ir.Value) -> int:
        found = self._integer[value]
        if not isinstance(found, int):
            found = self._integer[value] = found()
        return found

    def integer(self, value: ir.Value | None) -> int | None:
        """The per-tensor quantised tensor that stands for a float value, if there is one."""
        if value is None or value not in self._integer:
            return None
        index = self._integer_tensor(value)
        quant = self.tensors[index].quant
        return index if quant is not None and quant.per_tensor else None

    def quant(self, index: int) -> Quant:
        """The quantisation of an integer tensor."""
        found = self.tensors[index].quant
        if found is None:
            raise Refused(f"tensor '{self.tensors[index].name}' is not quantised")
        return found

    def quantised_result(self, value: ir.Value) -> tuple[ir.Node, ir.Value, Quant] | None:
        """The QuantizeLinear that alone uses a value, its result and parameters."""
        node = view.sole_consumer(value)
        if node is None or node.op_type != "QuantizeLinear" or node.domain or node.inputs[0] is not value:
            return None
        out = node.outputs[0]
        quant = quant_of(node)
        if quant is None or not quant.per_tensor or out.dtype not in INTEGERS:
            return None
        return node, out, quant

    # -- operators -------------------------------------------------------------------------------

    def op(
        self,
        builtin: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options = None,
    ) -> None:
        """Append an operator; where LiteRT has no kernel for its elements, on others that stand for them.

        Raises:
            Refused: LiteRT's kernel does not take these types or ranks.
        """
        kept = list(inputs)
        while kept and kept[-1] == -1:
            kept.pop()
        other = chosen_for(self, builtin, kept)
        if other is not None:
            self._in_another_type(builtin, (kept, list(outputs)), options, other)
            return
        types = [self.tensors[i].type if i >= 0 else "" for i in kept]
        shapes = [self.tensors[i].shape if i >= 0 else () for i in kept]
        quants = [self.tensors[i].quant if i >= 0 else None for i in (*kept, *outputs)]
        least = version(builtin, types, shapes, quants, options[1] if options else {})
        self.operators.append(Operator(builtin, least, kept, list(outputs), options))

    def _in_another_type(
        self, builtin: str, ends: tuple[list[int], list[int]], options: Options, other: StandIn
    ) -> None:
        """Append an operator on elements that stand for others."""
        inputs, outputs = ends
        type_name = self.tensors[inputs[DECIDES.get(builtin, 0)]].type
        moved = [brought(self, i, other) if i >= 0 and self.tensors[i].type == type_name else i for i in inputs]
        results = [self.temp(o, None, other.type) if self.tensors[o].type == type_name else o for o in outputs]
        self.op(builtin, moved, results, options)
        for result, output in zip(results, outputs, strict=True):
            if result != output:
                bring_back(self, result, output, other)

    def then(
        self,
        builtin: str,
        inputs: Sequence[int],
        shape: Sequence[int] | None = None,
        options: tuple[str, dict[str, Any]] | None = None,
        type_name: str | None = None,
    ) -> int:
        """Append an operator with a new intermediate result like its first input; returns that."""
        out = self.temp(inputs[0], shape, type_name)
        self.op(builtin, inputs, [out], options)
        return out

    def reshape(self, index: int, shape: Sequence[int], out: int | None = None) -> int:
        """RESHAPE to a shape with at most one unknown dimension.

        Raises:
            Refused: more than one dimension is only known at run time.
        """
        dims = tuple(shape)
        if sum(d < 0 for d in dims) > 1:
            raise Refused(f"a reshape to {list(dims)}: more than one dimension is only known at run time")
        result = self.temp(index, dims) if out is None else out
        self.op("RESHAPE", [index, self.ints(dims)], [result], ("ReshapeOptions", {"new_shape": dims}))
        return result

    def transpose(self, index: int, perm: Sequence[int]) -> int:
        """TRANSPOSE into a new tensor."""
        shape = [self.shape(index)[p] for p in perm]
        return self.then("TRANSPOSE", [index, self.ints(list(perm))], shape, ("TransposeOptions", {}))

    def fuse_activation(self, value: ir.Value) -> tuple[str, ir.Value, ir.Node | None]:
        """The activation that alone uses a value and can be fused: its name, its result and its node."""
        node = view.sole_consumer(value)
        if node is None or node.domain or value.dtype not in FLOATS:
            return "NONE", value, None
        name = relu_name(node)
        return (name, node.outputs[0], node) if name else ("NONE", value, None)

    def site(
        self,
        node: ir.Node,
        inputs: Sequence[ir.Value | None] | None = None,
        fuse: bool = False,
        fits: Callable[[list[Quant], Quant], bool] | None = None,
        result: ir.Value | None = None,
    ) -> Site:
        """Decide how an operator with one result runs: on integers (all inputs dequantised, the result quantised,
        and ``fits`` agrees with the scales) or on floats.

        Args:
            node: the operator.
            inputs: its data inputs (default: all).
            fuse: whether a following activation may be fused.
            fits: what the integer kernel demands of the scales.
            result: the value to write, if a later node was taken in.
        """
        data = [v for v in (node.inputs if inputs is None else inputs) if v is not None]
        result = node.outputs[0] if result is None else result
        activation, result, follower = self.fuse_activation(result) if fuse else ("NONE", result, None)
        integers = [self.integer(v) for v in data]
        found = self.quantised_result(result) if all(i is not None for i in integers) else None
        known = [i for i in integers if i is not None]
        if (
            found is not None
            and len({self.tensors[i].type for i in known} | {tensor_type(found[1].dtype)}) == 1
            and (fits is None or fits([self.quant(i) for i in known], found[2]))
        ):
            self.done.update(n for n in (follower, found[0]) if n is not None)
            return Site(known, self.put(found[1], found[2]), activation, True)
        taken = [self.take(v) for v in data]
        if follower is not None:
            self.done.add(follower)
        return Site(taken, self.put(result), activation, False)
