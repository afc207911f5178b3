"""A ``.tflite`` file as plain data: tensors with their bytes, operators with their options, all checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.bounded import MAX_NODES, check_size, element_count, open_bytes
from recast.errors import BadModel, TooLarge, UnsafeModel, UnsupportedType
from recast.formats.tflite import schema
from recast.formats.tflite.flat_read import FlatFile, Table
from recast.graph.finding import Finding

_DAMAGED = "the file is damaged or was written by a faulty tool: export it again"
QUANTISED = frozenset(("int8", "uint8", "int16", "int4"))
MAX_RANK = 16


@dataclass(frozen=True)
class Quantisation:
    """``real = (q - zero_point) * scale``; one scale, or one for every index of ``axis``."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int


@dataclass
class Tensor:
    """One tensor. ``signature`` has -1 for unknown dimensions; ``data`` is None unless the tensor is constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    data: np.ndarray | None
    quantisation: Quantisation | None
    is_variable: bool

    @property
    def is_quantised(self) -> bool:
        """Whether the integers stand for real numbers."""
        return self.quantisation is not None and (
            self.dtype in QUANTISED or (self.data is not None and self.dtype in ("int32", "int64"))
        )


@dataclass
class Operator:
    """One operator; -1 in ``inputs`` is an input left out."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Table | None

    def option(self, name: str) -> Any:
        """An option's value (None where the operator carries no options)."""
        return None if self.options is None else self.options.get(name)


@dataclass
class Subgraph:
    """Tensors and operators in the order they run."""

    name: str
    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


@dataclass
class File:
    """All of a file. ``names`` maps the inputs and outputs of the main subgraph to what users call them."""

    where: str
    size_bytes: int
    subgraphs: list[Subgraph]
    input_names: list[str]
    output_names: list[str]
    signature_key: str
    findings: list[Finding] = field(default_factory=list)


def load(path: Path) -> File:
    """Parse a file. Tensor data stays in the mapped file.

    Raises:
        BadModel, TooLarge, UnsafeModel, UnsupportedType: never anything else for a damaged file.
    """
    data = open_bytes(path)
    flat = FlatFile(data, path.name)
    if len(data) < 8 or bytes(data[4:8]) != schema.IDENTIFIER:
        raise BadModel("this is not a .tflite file (no 'TFL3' at byte 4)", path.name, "check the path")
    root = flat.root("Model")
    if root.get("version") != schema.VERSION:
        raise BadModel(f"schema version {root.get('version')} is unknown", path.name, "export the model again")
    if root.get("external_buffers"):
        raise UnsafeModel("weights lie in other files", path.name, "export the model into one file")
    return _Loader(flat, root).file()


class _Loader:
    def __init__(self, flat: FlatFile, root: Table) -> None:
        self.flat, self.root = flat, root
        self.buffers: list[Table] = root.get("buffers")
        self.codes = [_code(c) for c in root.get("operator_codes")]
        self.findings: list[Finding] = []
        self.unpacked_bytes = 0

    def file(self) -> File:
        graphs = [self.subgraph(g) for g in self.root.get("subgraphs")]
        if not graphs:
            raise BadModel("the file has no graph", self.flat.where, _DAMAGED)
        inputs, outputs, key = self.names(graphs[0])
        return File(self.flat.where, self.flat.size, graphs, inputs, outputs, key, self.findings)

    def names(self, graph: Subgraph) -> tuple[list[str], list[str], str]:
        """Names of the main graph's inputs and outputs: those of the only signature, else the tensors'."""
        signatures = [s for s in self.root.get("signature_defs") if s.get("subgraph_index") == 0]
        chosen: list[list[str]] = []
        key = signatures[0].get("signature_key") if len(signatures) == 1 else ""
        for side, indices in (("inputs", graph.inputs), ("outputs", graph.outputs)):
            known: dict[int, list[str]] = {}
            for entry in signatures[0].get(side) if len(signatures) == 1 else []:
                known.setdefault(entry.get("tensor_index"), []).append(entry.get("name"))
            names = []
            for place, index in enumerate(indices):
                name = known[index].pop(0) if known.get(index) else graph.tensors[index].name
                names.append(name or f"{side[:-1]}_{place}")
            chosen.append(names)
        merged = _unique(chosen[0] + chosen[1])
        return merged[: len(graph.inputs)], merged[len(graph.inputs) :], key

    def subgraph(self, table: Table) -> Subgraph:
        tensors = [self.tensor(i, t) for i, t in enumerate(table.get("tensors"))]
        operators = table.get("operators")
        if len(operators) > MAX_NODES:
            raise TooLarge(f"{len(operators)} operators", self.flat.where, _DAMAGED)
        graph = Subgraph(
            table.get("name"),
            tensors,
            self.indices(table, "inputs", len(tensors)),
            self.indices(table, "outputs", len(tensors)),
            [self.operator(i, o, len(tensors)) for i, o in enumerate(operators)],
        )
        if any(i < 0 for i in graph.inputs + graph.outputs):
            raise BadModel("an input or output of the graph is no tensor", self.flat.where, _DAMAGED)
        return graph

    def indices(self, table: Table, name: str, count: int) -> tuple[int, ...]:
        found = table.get(name)
        self.flat.spend(len(found))
        if len(found) and (int(found.min()) < -1 or int(found.max()) >= count):
            raise BadModel(f"{table.name}.{name} names a tensor that does not exist", self.flat.where, _DAMAGED)
        return tuple(found.tolist())

    def operator(self, index: int, table: Table, count: int) -> Operator:
        code = table.get("opcode_index")
        if code >= len(self.codes):
            raise BadModel(f"operator {index} has no code", self.flat.where, _DAMAGED)
        options = table.get("builtin_options")
        return Operator(
            index,
            self.codes[code],
            self.indices(table, "inputs", count),
            self.indices(table, "outputs", count),
            self.indices(table, "intermediates", count),
            options if options is not None else table.get("builtin_options2"),
        )

    def tensor(self, index: int, table: Table) -> Tensor:
        name = table.get("name")
        where = f"tensor {index} '{name[:200]}' of {self.flat.where}"
        kind = schema.name_of("TensorType", table.get("type"))
        if kind is None:
            raise UnsupportedType(f"element type {table.get('type')} is unknown", where, "export the model again")
        shape, signature = table.get("shape"), table.get("shape_signature")
        if len(shape) > MAX_RANK:
            raise BadModel(f"{len(shape)} dimensions", where, _DAMAGED)
        dims = tuple(shape.tolist())
        unknown = tuple(signature.tolist()) if len(signature) == len(shape) else dims
        if any(d < -1 for d in unknown):
            raise BadModel(f"negative dimension in shape {list(dims)}", where, _DAMAGED)
        dtype = schema.NUMPY_TYPES.get(kind, kind.lower())
        data = self.data(table, dims, dtype, where)
        return Tensor(
            index,
            name,
            dims,
            unknown,
            dtype,
            data,
            self.quantisation(table.get("quantization"), dims, dtype, where),
            table.get("is_variable"),
        )

    def data(self, table: Table, shape: tuple[int, ...], dtype: str, where: str) -> np.ndarray | None:
        number = table.get("buffer")
        if number == 0:
            return None
        if number >= len(self.buffers):
            raise BadModel(f"buffer {number} does not exist", where, _DAMAGED)
        buffer = self.buffers[number]
        if buffer.get("offset") > 1:
            content = self.flat.raw(buffer.get("offset"), buffer.get("size"))
        else:
            content = buffer.get("data")
        if not len(content) or dtype in ("string", "resource", "variant"):
            return None
        from recast.formats.tflite import read_packed

        if table.get("sparsity") is not None:
            room = max(1 << 26, 16 * self.flat.size) - self.unpacked_bytes
            dense = read_packed.densify(table.get("sparsity"), content, shape, dtype, (where, room))
            self.unpacked_bytes += dense.nbytes
            self.findings.append(Finding("sparse weights are stored densely", where))
            return dense
        if dtype in read_packed.BITS:
            self.unpacked_bytes += element_count(shape, where)
            check_size(self.unpacked_bytes, max(1 << 26, 8 * self.flat.size), where)
            return read_packed.unpack(content, shape, dtype, where)
        count, width = element_count(shape, where), read_packed.numpy_type(dtype).itemsize
        if count * width != len(content):
            check_size(count * width, len(content), where)
            raise BadModel(f"{len(content)} bytes of data for shape {list(shape)} of {dtype}", where, _DAMAGED)
        return content.view(read_packed.numpy_type(dtype)).reshape(shape)

    def quantisation(self, table: Table | None, shape: tuple[int, ...], dtype: str, where: str) -> Quantisation | None:
        if table is None:
            return None
        if table.get("details") is not None and table.get("details").name != "CustomQuantization":
            raise UnsupportedType(f"{table.get('details').name} is not supported", where, "use per-channel scales")
        scale = table.get("scale").astype(np.float32)
        zero = table.get("zero_point")
        if not len(scale):
            return self.from_range(table, dtype, where)
        if dtype in ("float32", "float16"):
            return None  # left behind by a converter; floats have no scale
        if not np.all(np.isfinite(scale)) or (scale < 0).any():
            raise BadModel("a scale is negative or not finite", where, _DAMAGED)
        axis = table.get("quantized_dimension")
        if len(scale) > 1:
            if len(shape) == 1 and len(scale) == shape[0] and axis != 0:
                self.findings.append(Finding(f"quantized_dimension {axis} of a vector is read as 0", where, "warning"))
                axis = 0
            if not 0 <= axis < len(shape) or shape[axis] != len(scale):
                raise BadModel(f"{len(scale)} scales along axis {axis} of shape {list(shape)}", where, _DAMAGED)
        if len(zero) not in (0, 1, len(scale)):
            raise BadModel(f"{len(zero)} zero points for {len(scale)} scales", where, _DAMAGED)
        zero = np.broadcast_to(zero if len(zero) else np.int64(0), scale.shape)
        self.check_zero(zero, dtype, where)
        return Quantisation(scale, zero, int(axis) if len(scale) > 1 else 0)

    def check_zero(self, zero: np.ndarray, dtype: str, where: str) -> None:
        if dtype in ("int8", "uint8", "int16"):
            limits = np.iinfo(dtype)
            if (zero < limits.min).any() or (zero > limits.max).any():
                raise BadModel(f"a zero point does not fit {dtype}", where, _DAMAGED)

    def from_range(self, table: Table, dtype: str, where: str) -> Quantisation | None:
        """Files of 2017 and 2018 give ``min`` and ``max`` of uint8 tensors, and no scale."""
        low, high = table.get("min"), table.get("max")
        if dtype != "uint8" or len(low) != 1 or len(high) != 1:
            return None
        scale = (float(high[0]) - float(low[0])) / 255.0
        if not np.isfinite(scale) or scale <= 0:
            return None
        zero = int(np.clip(round(-float(low[0]) / scale), 0, 255))
        self.findings.append(Finding("no scale is given: computed from min and max", where, "warning"))
        return Quantisation(np.array([scale], np.float32), np.array([zero], np.int64), 0)


def _code(table: Table) -> str:
    number = max(table.get("builtin_code"), table.get("deprecated_builtin_code"))
    name = schema.name_of("BuiltinOperator", number)
    if name == "CUSTOM":
        return f"CUSTOM {table.get('custom_code')[:100]}"
    return name or f"builtin operator {number}"


def _unique(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for wanted in names:
        name, count = wanted, 0
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        result.append(name)
    return result
