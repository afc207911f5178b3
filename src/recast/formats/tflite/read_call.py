"""What a reader of one operator is given: its inputs, options and a place for its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import BadModel, BadShape, UnsupportedOp
from recast.formats.tflite import schema
from recast.formats.tflite.read_file import Operator, Tensor
from recast.formats.tflite.read_scope import DAMAGED, Scope, data_type
from recast.graph.finding import Finding

_MOVES = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "GATHER", "TILE"})


class Call:
    """One operator being read. Input numbers count the operator's inputs."""

    def __init__(self, scope: Scope, operator: Operator, path: str) -> None:
        self.scope, self.operator, self.path = scope, operator, path
        self.b, self.kind = scope.b, operator.kind

    # ---- inputs

    @property
    def count(self) -> int:
        """Number of inputs, those left out included."""
        return len(self.operator.inputs)

    def has(self, number: int) -> bool:
        """Whether an input is there."""
        return number < len(self.operator.inputs) and self.operator.inputs[number] >= 0

    def index(self, number: int) -> int:
        """The tensor index of an input.

        Raises:
            BadModel: it is left out.
        """
        if not self.has(number):
            raise self.bad(f"input {number} is missing")
        return self.operator.inputs[number]

    def tensor(self, number: int) -> Tensor:
        """The facts of an input."""
        return self.scope.tensor(self.index(number))

    def x(self, number: int) -> ir.Value:
        """An input as real numbers (dequantised if it is quantised)."""
        if number == 0 and self.stored:
            return self.raw(0)
        return self.scope.real_value(self.index(number))

    @cached_property
    def stored(self) -> bool:
        """Whether the operator moves stored integers that have a scale on one side only."""
        if self.kind not in _MOVES or not self.has(0) or not self.operator.outputs:
            return False
        output = self.operator.outputs[0]
        return output >= 0 and self.tensor(0).is_quantised != self.scope.tensor(output).is_quantised

    def raw(self, number: int) -> ir.Value:
        """An input as stored."""
        return self.scope.raw_value(self.index(number))

    def array(self, number: int) -> np.ndarray | None:
        """An input's constant data as stored, or None."""
        index = self.index(number)
        if index in self.scope.contents and self.scope.tensor(index).data is None:
            content = self.scope.contents[index]
            if all(isinstance(v, int) for v in content):
                return np.array(content, np.int64).reshape(self.scope.tensor(index).shape or (-1,))
        return self.scope.tensor(index).data

    def ints(self, number: int, what: str = "") -> list[int]:
        """An input that must be constant integers.

        Raises:
            UnsupportedOp: it is computed while running.
        """
        array = self.array(number)
        if array is None or array.dtype.kind not in "iu":
            raise UnsupportedOp(f"{what or f'input {number}'} is not constant")
        return [int(v) for v in array.reshape(-1)]

    def int64(self, number: int) -> ir.Value:
        """An integer input as int64, which ONNX wants for shapes and axes; scalars stay scalars."""
        array = self.tensor(number).data
        if array is not None:
            return self.b.const(array.astype(np.int64), np.int64)
        value = self.raw(number)
        return value if value.dtype == ir.DataType.INT64 else self.cast(value, ir.DataType.INT64)

    def shape(self, number: int) -> list[int | str | None]:
        """An input's dimensions; a name or None where unknown.

        Raises:
            UnsupportedOp: not even the rank is known.
        """
        index = self.index(number)
        source = self.source(number)
        if source is not None:
            return list(self.scope.tensor(source).shape)
        value = self.scope.real.get(index) or self.scope.raw_value(index)
        return dims_of(value, f"input {number}")

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

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front.

        Raises:
            BadModel: there is no such axis.
        """
        if not -rank <= axis < rank:
            raise self.bad(f"axis {axis} of {rank} dimensions")
        return axis % rank

    def opt(self, name: str) -> Any:
        """An option's value, or its default where the operator carries no options."""
        return self.operator.option(name) or 0

    def positive(self, *names: str) -> list[int]:
        """Options that must be above zero.

        Raises:
            BadModel: one is not.
        """
        values = [int(self.opt(n)) for n in names]
        for name, value in zip(names, values, strict=True):
            if not 0 < value < 1 << 30:
                raise self.bad(f"{name} is {value}")
        return values

    # ---- weights

    def source(self, number: int) -> int | None:
        """The tensor index of a constant input, looking through dequantisation; None if it is computed."""
        index = self.index(number)
        index = self.scope.alias.get(index, index)
        return index if self.scope.tensor(index).data is not None else None

    def weight(self, number: int, role: str, perm: Sequence[int] | None = None) -> ir.Value:
        """A weight as real numbers with its axes permuted; computed ones get a Transpose."""
        source = self.source(number)
        if source is None:
            value = self.x(number)
            return value if perm is None else self.b.op("Transpose", [value], {"perm": list(perm)})
        self.hybrid(number)
        return self.scope.form(source, f"{self.path}/{role}", perm)

    def hybrid(self, number: int) -> None:
        """Tell when LiteRT would round a float input to int8 to meet int8 weights."""
        source = self.source(number)
        if source is None or self.index(number) in self.scope.alias:
            return
        if self.scope.tensor(source).is_quantised and not self.tensor(0).is_quantised:
            self.tell(
                "LiteRT rounds the inputs of layers with integer weights to 8 bits while it runs; "
                "here, and in the proof, they stay floating point",
                "",
            )

    def bias(self, number: int, weight: int = 1, data: int = 0) -> ir.Value | None:
        """The bias as real numbers; an integer bias without a scale has the product of the others' scales."""
        if not self.has(number):
            return None
        tensor = self.tensor(number)
        if tensor.data is None or tensor.dtype not in ("int32", "int64") or tensor.is_quantised:
            return self.weight(number, "bias")
        first, second = self.tensor(data).quantisation, self.tensor(weight).quantisation
        if first is None or second is None or len(first.scale) != 1:
            raise self.bad("an integer bias needs scales of input and weights")
        from dataclasses import replace

        made = replace(second, scale=first.scale * second.scale, zero_point=np.zeros_like(second.zero_point), axis=0)
        tensor.quantisation = made
        return self.weight(number, "bias")

    # ---- outputs

    def out(self, value: ir.Value, number: int = 0) -> None:
        """Set an output from real numbers: quantised if the tensor is, cast if its type differs."""
        index = self.output(number)
        if index < 0:
            return
        tensor = self.scope.tensor(index)
        if tensor.is_quantised and not self.stored:
            raw = self.scope.quantise(index, value)
            self.complete(raw, tensor)
            self.scope.bind(index, raw)
            return
        self.out_raw(value, number)

    def out_raw(self, value: ir.Value, number: int = 0) -> None:
        """Set an output to a value as it is stored."""
        index = self.output(number)
        if index < 0:
            return
        tensor = self.scope.tensor(index)
        wanted = data_type(tensor.dtype, self.scope.where(index))
        if value.dtype is None:
            value.dtype = wanted
        if value.dtype != wanted:
            value = self.cast(value, wanted)
        self.complete(value, tensor)
        self.scope.bind(index, value)

    def output(self, number: int) -> int:
        """The tensor index of an output (-1: not wanted).

        Raises:
            BadModel: the operator has no such output.
        """
        if number >= len(self.operator.outputs):
            raise self.bad(f"output {number} is missing")
        return self.operator.outputs[number]

    def complete(self, value: ir.Value, tensor: Tensor) -> None:
        """Fill dimensions that inference left open from what the file says."""
        told = tensor.signature
        if value.shape is not None and len(value.shape) != len(told):
            return
        known = list(value.shape) if value.shape is not None else [None] * len(told)
        if value.shape is None and not told and tensor.shape == ():
            value.shape = ir.Shape([])
            return
        dims: list[Any] = []
        for axis, (have, said) in enumerate(zip(known, told, strict=True)):
            if isinstance(have, int) or (have is not None and have.value is not None):
                dims.append(have)
            else:
                dims.append(said if said >= 0 else f"{self.path}_{axis}")
        value.shape = ir.Shape(dims)

    def activate(self, value: ir.Value) -> ir.Value:
        """The fused activation as a node of its own.

        Raises:
            UnsupportedOp: the activation is unknown.
        """
        number = int(self.opt("fused_activation_function"))
        name = schema.name_of("ActivationFunctionType", number)
        if name == "NONE":
            return value
        if name == "RELU":
            return self.b.op("Relu", [value])
        if name == "TANH":
            return self.b.op("Tanh", [value])
        limits = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}.get(name or "")
        if limits is None:
            raise UnsupportedOp(f"fused activation {name or number}")
        return self.clip(value, *limits)

    # ---- nodes

    def zeros(self, value: ir.Value) -> ir.Tensor:
        """A zero of a value's type, for ConstantOfShape."""
        return ir.Tensor(np.zeros(1, np.float32 if value.dtype is None else value.dtype.numpy()))

    def clip(self, value: ir.Value, low: float, high: float) -> ir.Value:
        """Limit a float value."""
        return self.b.op("Clip", [value, self.b.const(low, np.float32), self.b.const(high, np.float32)])

    def cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """Another element type."""
        return self.b.op("Cast", [value], {"to": to})

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A constant new shape."""
        return self.b.op("Reshape", [value, self.b.const(list(shape), np.int64, "shape")])

    def image(self, op_type: str, inputs: Sequence[ir.Value | None], attributes: dict[str, Any]) -> ir.Value:
        """A channels-first operator on a channels-last first input."""
        first = inputs[0]
        if first is None:
            raise self.bad("no input")
        return self.b.channels_last(self.b.op(op_type, [self.b.channels_first(first), *inputs[1:]], attributes))

    # ---- messages

    def place(self) -> str:
        """Where this is, for errors."""
        return f"layer {self.path} ({self.kind}) of {self.scope.reading.file.where}"

    def bad(self, what: str) -> BadModel:
        """The error for an operator that contradicts itself."""
        return BadModel(f"{self.kind}: {what}", self.place(), DAMAGED)

    def tell(self, what: str, where: str | None = None) -> None:
        """Note something that the user must know."""
        self.scope.reading.findings[Finding(what, self.path if where is None else where, "warning")] = None


def dims_of(value: ir.Value, what: str) -> list[int | str | None]:
    """A value's dimensions.

    Raises:
        UnsupportedOp: not even the rank is known.
    """
    if value.shape is None:
        raise UnsupportedOp(f"the rank of {what} is unknown")
    return [d if isinstance(d, int) else d.value for d in value.shape]
