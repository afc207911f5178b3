"""How large a model is: on disk, its weights, and zipped (what a download costs)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

_BESIDE = {".py": (".safetensors",), ".pt": (".py",), ".pth": (".py",), ".xml": (".bin",)}  # files of the same stem
_PIECE = 1 << 20
_LEVEL = 6  # zlib's default, what zip tools use


@dataclass(frozen=True)
class Size:
    """Bytes of a model.

    Attributes:
        file_bytes: all files that the model needs.
        zipped_bytes: the same, each file deflated (level 6).
        weight_bytes: the constants as they are stored, before any packing of the container; None: the graph is unknown.
    """

    file_bytes: int
    zipped_bytes: int
    weight_bytes: int | None = None


@dataclass(frozen=True)
class Parameters:
    """Weights by number: elements of all weight tensors, those that are not zero, and the bytes they take.

    A quantised weight is zero where its integer is the zero point. Scales and zero points are no parameters, but their
    bytes count.
    """

    total: int
    nonzero: int
    bytes: int


def of(path: Path, graph: ir.Model | None = None) -> Size:
    """Size of a model file or folder with its companions.

    Args:
        path: main file, or a folder.
        graph: the model as read from ``path``; external data files are found through it.
    """
    files = files_of(path, graph)
    zipped = sum(_zipped(f) for f in files)
    return Size(sum(f.stat().st_size for f in files), zipped, parameters(graph).bytes if graph is not None else None)


def files_of(path: Path, graph: ir.Model | None = None) -> list[Path]:
    """The files that a model needs, the main one first."""
    if path.is_dir():
        return sorted(f for f in path.rglob("*") if f.is_file())
    beside = [path.with_suffix(s) for s in _BESIDE.get(path.suffix.lower(), ())]
    held = dict.fromkeys([path, *(f for f in beside if f.is_file())])
    folder = path.resolve().parent
    for file in _external(graph) if graph is not None else ():
        if file.is_file() and file.resolve() != path.resolve() and file.resolve().parent == folder:
            held[file] = None
    return list(held)


def _external(graph: ir.Model) -> Iterator[Path]:
    import onnx_ir as ir

    for value in graph.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            yield Path(value.const_value.path)


def _zipped(file: Path) -> int:
    squeeze, size = zlib.compressobj(_LEVEL), 0
    with open(file, "rb") as stream:
        while piece := stream.read(_PIECE):
            size += len(squeeze.compress(piece))
    return size + len(squeeze.flush())


def parameters(model: ir.Model) -> Parameters:
    """Count the weights of a graph, those of its sub-graphs included.

    Weights are constants of floating-point numbers with at least one axis, and integers that are dequantised; axes,
    shapes, pads, scales and zero points are not.
    """
    total = nonzero = size = 0
    for graph in _graphs(model):
        quantised = _quantised(graph)
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None:
                continue
            helpers = quantised.get(value)
            is_weight = helpers is not None or (
                tensor.dtype.is_floating_point() and len(tensor.shape) > 0 and not _only_scales(value)
            )
            if is_weight:
                total += tensor.size
                nonzero += _nonzero(tensor.numpy(), helpers)
            if is_weight or _only_scales(value):
                size += tensor.nbytes
    return Parameters(total, nonzero, size)


def _graphs(model: ir.Model) -> Iterable[ir.Graph]:
    import onnx_ir as ir

    found = {id(model.graph): model.graph}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if isinstance(node.graph, ir.Graph):
            found.setdefault(id(node.graph), node.graph)
    return found.values()


def _quantised(graph: ir.Graph) -> dict[ir.Value, ir.Node]:
    """Constants that a DequantizeLinear turns into real numbers, with that node."""
    found = {}
    for value in graph.initializers.values():
        for use in value.uses():
            if use.node.op_type == "DequantizeLinear" and use.idx == 0:
                found[value] = use.node
    return found


def _only_scales(value: ir.Value) -> bool:
    """Whether a constant is nothing but the scale or zero point of quantised tensors."""
    uses = list(value.uses())
    return bool(uses) and all(u.node.op_type in ("DequantizeLinear", "QuantizeLinear") and u.idx > 0 for u in uses)


def _nonzero(array: np.ndarray, node: ir.Node | None) -> int:
    zero = node.inputs[2] if node is not None and len(node.inputs) > 2 else None
    tensor = zero.const_value if zero is not None else None
    if tensor is None or node is None:
        return int(np.count_nonzero(array))
    points = tensor.numpy().astype(np.int64)
    if not points.any():
        return int(np.count_nonzero(array))
    if points.size == 1:
        return int(np.count_nonzero(array.astype(np.int64) != points.reshape(())))
    if points.ndim == array.ndim:  # by blocks
        for axis, (size, count) in enumerate(zip(array.shape, points.shape, strict=True)):
            points = np.repeat(points, -(-size // count), axis=axis).take(np.arange(size), axis=axis)
        return int(np.count_nonzero(array.astype(np.int64) != points))
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    shape = [1] * array.ndim
    shape[axis] = -1
    return int(np.count_nonzero(array.astype(np.int64) != points.reshape(shape)))
