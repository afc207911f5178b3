"""The values of one subgraph while it is turned into graph nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.errors import BadModel, RecastError, TooLarge, UnsupportedOp, UnsupportedType
from recast.formats.tflite import reading
from recast.formats.tflite.read_file import File, Operator, Quantisation, Subgraph, Tensor
from recast.formats.tflite.read_names import layer_path
from recast.graph.build import Builder
from recast.graph.finding import Finding

DAMAGED = "the file is damaged or was written by a faulty tool: export it again"
MAX_DEPTH = 16  # nested IF, WHILE and CALL
MAX_BODIES = 20_000  # operators read in all, as a body may be used many times
_DTYPES = {t.name.lower(): t for t in ir.DataType} | {"float32": ir.DataType.FLOAT, "float64": ir.DataType.DOUBLE}


def data_type(dtype: str, where: str = "") -> ir.DataType:
    """The graph's element type of a tensor's.

    Raises:
        UnsupportedType: the graph has none (strings, resources, variants).
    """
    found = _DTYPES.get(dtype)
    if found is None or dtype in ("string", "undefined"):
        raise UnsupportedType(f"tensors of type {dtype} cannot be converted", where, "remove them from the model")
    return found


class Reading:
    """What all subgraphs of one file share."""

    def __init__(self, file: File, names: set[str]) -> None:
        self.file, self.names = file, names
        self.findings: dict[Finding, None] = dict.fromkeys(file.findings)
        self.unsupported: dict[str, list[str]] = {}
        self.paths: set[str] = set()
        self.room = max(1 << 26, 2 * file.size_bytes)
        self.operators_left = max(MAX_BODIES, 2 * sum(len(g.operators) for g in file.subgraphs))
        self.depth = 0

    def refuse(self, operator: str, reason: str, layer: str) -> None:
        """Note an operator that cannot be read; all are told together."""
        self.unsupported.setdefault(f"{operator}: {reason}" if reason else operator, []).append(layer)

    def allocate(self, size_bytes: int, where: str) -> None:
        """Account for a copy of weights.

        Raises:
            TooLarge: copies exceed the budget that follows the file's size.
        """
        self.room -= size_bytes
        if self.room < 0:
            raise TooLarge("the weights are used in too many different forms", where, DAMAGED)

    def path(self, wanted: str) -> str:
        """A layer path no other operator has."""
        name, count = wanted, 0
        while name in self.paths:
            count += 1
            name = f"{wanted}_{count}"
        self.paths.add(name)
        return name


class Scope:
    """One subgraph in one builder: tensor index → value.

    ``raw`` holds values as stored (integers for quantised tensors), ``real`` what they stand for.
    """

    def __init__(self, reading_: Reading, graph: Subgraph, builder: Builder) -> None:
        self.reading, self.graph, self.b = reading_, graph, builder
        self.raw: dict[int, ir.Value] = {}
        self.real: dict[int, ir.Value] = {}
        self.alias: dict[int, int] = {}
        self.contents: dict[int, list[int | str]] = {}
        self.scaling: dict[int, tuple[ir.Value, ir.Value | None]] = {}
        self.forms: dict[tuple[Any, ...], ir.Value] = {}
        self.variables: dict[str, int] = {}

    def tensor(self, index: int) -> Tensor:
        """A tensor's facts."""
        return self.graph.tensors[index]

    def where(self, index: int) -> str:
        """A tensor's name for errors."""
        return f"tensor {index} '{self.tensor(index).name[:200]}' of {self.reading.file.where}"

    def bind(self, index: int, value: ir.Value) -> None:
        """Give a tensor its value as stored."""
        self.raw[index] = value
        if not self.tensor(index).is_quantised:
            self.real[index] = value

    def raw_value(self, index: int) -> ir.Value:
        """A tensor's value as stored.

        Raises:
            BadModel: nothing computes it.
        """
        if index not in self.raw:
            tensor = self.tensor(index)
            if tensor.data is not None:
                data_type(tensor.dtype, self.where(index))
                self.bind(index, self.b.weight(self.constant_name(index), tensor.data))
            elif index in self.alias:
                self.bind(index, self.real_value(index))
            elif index in self.real:
                self.raw[index] = self.quantise(index, self.real[index])
            elif 0 in tensor.shape and tensor.dtype not in ("resource", "variant", "string"):
                kind = data_type(tensor.dtype, self.where(index)).numpy()
                self.bind(index, self.b.weight(self.constant_name(index), np.zeros(tensor.shape, kind)))
            elif tensor.dtype in ("resource", "variant", "string"):
                raise UnsupportedOp(f"uses a tensor of type {tensor.dtype}", self.where(index))
            else:
                raise BadModel("nothing computes this tensor", self.where(index), DAMAGED)
        return self.raw[index]

    def constant_name(self, index: int) -> str:
        """A name for a constant that no layer has claimed."""
        from recast.formats.tflite.read_names import _parts

        parts = _parts(self.tensor(index).name)
        return parts[0] if parts else f"constant_{index}"

    def real_value(self, index: int) -> ir.Value:
        """What a tensor stands for, in floating point if it is quantised."""
        if index not in self.real:
            source = self.alias.get(index)
            self.real[index] = self.form(source, self.constant_name(index)) if source is not None else self._real(index)
        return self.real[index]

    def _real(self, index: int) -> ir.Value:
        tensor = self.tensor(index)
        if tensor.data is not None and tensor.is_quantised:
            return self.form(index, self.constant_name(index))
        raw = self.raw_value(index)
        return self.dequantise(index, raw) if tensor.is_quantised else raw

    def scales(self, index: int, axis_of: Sequence[int] | None = None) -> tuple[list[ir.Value | None], int]:
        """Scale and zero point of a quantised tensor as constants, and their axis (-1: one for the whole tensor)."""
        tensor = self.tensor(index)
        held = tensor.quantisation
        if held is None:
            raise BadModel("this tensor has no scale", self.where(index), DAMAGED)
        single = len(held.scale) == 1
        axis = -1 if single else held.axis
        if index not in self.scaling:
            self.scaling[index] = self._scaling(index, tensor, held, single)
        return list(self.scaling[index]), axis if axis_of is None or axis < 0 else list(axis_of).index(axis)

    def _scaling(
        self, index: int, tensor: Tensor, held: Quantisation, single: bool
    ) -> tuple[ir.Value, ir.Value | None]:
        scale = self.b.const(held.scale[0] if single else held.scale, np.float32, "scale")
        if tensor.dtype in ("int32", "int64"):
            if held.zero_point.any():
                raise BadModel("32-bit integers with a zero point", self.where(index), DAMAGED)
            return scale, None
        from recast.formats.tflite.read_packed import numpy_type

        kind = numpy_type(tensor.dtype)
        zero = self.b.const((held.zero_point[0] if single else held.zero_point).astype(kind), kind, "zero_point")
        return scale, zero

    def dequantise(self, index: int, raw: ir.Value, perm: Sequence[int] | None = None) -> ir.Value:
        """``(raw - zero_point) * scale`` with the tensor's own numbers."""
        scales, axis = self.scales(index, perm)
        return self.b.op("DequantizeLinear", [raw, *scales], {"axis": axis if axis >= 0 else None})

    def quantise(self, index: int, real: ir.Value) -> ir.Value:
        """The nearest integers of the tensor's type."""
        scales, axis = self.scales(index)
        held = self.tensor(index).quantisation
        if held is None or not (held.scale > 0).all():
            raise BadModel("a computed tensor has scale zero", self.where(index), DAMAGED)
        return self.b.op("QuantizeLinear", [real, *scales], {"axis": axis if axis >= 0 else None})

    def form(self, index: int, name: str, perm: Sequence[int] | None = None) -> ir.Value:
        """A constant in another axis order, as real numbers: stored integers and halves stay stored as they are."""
        key = (index, tuple(perm) if perm is not None else None)
        if key in self.forms:
            return self.forms[key]
        tensor = self.tensor(index)
        data = tensor.data
        if data is None:
            raise BadModel("this weight is not constant", self.where(index), DAMAGED)
        if perm is not None and len(perm) != data.ndim:
            raise BadModel(f"{data.ndim} dimensions instead of {len(perm)}", self.where(index), DAMAGED)
        if tensor.dtype == "int64" and tensor.is_quantised:
            data = self._narrow(index, data)
        turned = data if perm is None else data.transpose(perm)
        data_type(tensor.dtype, self.where(index))
        value = self.b.weight(name, ir.Tensor(turned))
        if tensor.is_quantised:
            value = self.dequantise(index, value, perm)
        elif tensor.dtype == "float16":
            value = self.b.op("Cast", [value], {"to": ir.DataType.FLOAT})
        self.forms[key] = value
        return value

    def _narrow(self, index: int, data: np.ndarray) -> np.ndarray:
        """64-bit biases of 16-bit models fit 32 bits, or are refused."""
        limits = np.iinfo(np.int32)
        if data.size and (int(data.min()) < limits.min or int(data.max()) > limits.max):
            raise UnsupportedOp("a 64-bit bias does not fit 32 bits", self.where(index), "quantise with 8-bit weights")
        return data.astype(np.int32)

    def run(self) -> None:
        """Read all operators in order; those that cannot be read are noted and skipped."""
        from recast.formats.tflite.read_call import Call

        shared = self.reading
        shared.depth += 1
        shared.operators_left -= len(self.graph.operators)
        if shared.depth > MAX_DEPTH or shared.operators_left < 0:
            raise TooLarge("subgraphs are nested too deeply or used too often", shared.file.where, DAMAGED)
        table = reading.handlers()
        for operator in self.graph.operators:
            path = shared.path(layer_path(operator, self.graph))
            handler = table.get(operator.kind)
            with self.b.layer(path, operator.kind):
                if handler is None:
                    shared.refuse(operator.kind, "", path)
                    self.stand_in(operator)
                    continue
                try:
                    handler(Call(self, operator, path))
                except UnsupportedOp as error:
                    shared.refuse(operator.kind, error.what, path)
                    self.stand_in(operator)
                except RecastError as error:
                    error.where = error.where or f"layer {path} ({operator.kind}) of {shared.file.where}"
                    raise
        shared.depth -= 1

    def stand_in(self, operator: Operator) -> None:
        """Values for the outputs of an operator that cannot be read, so that reading can go on."""
        for index in operator.outputs:
            tensor = self.tensor(index)
            known = _DTYPES.get(tensor.dtype, ir.DataType.FLOAT)
            dims = [d if d >= 0 else None for d in tensor.signature]
            self.bind(index, ir.Value(name=f"unread_{index}", shape=ir.Shape(dims), type=ir.TensorType(known)))
