"""The judge's copy of a file with integer weights and floating-point activations ("dynamic range").

LiteRT rounds the activations of such layers to 8 bits at every run, by the range of each batch. That is how this
runtime saves time, not what the network is: no other format can say it. So the judge runs the same file with the same
weights stored as the real numbers they stand for; everything else in the file stays as it is, byte by byte.
"""

from __future__ import annotations

import struct

import numpy as np

from recast.formats.tflite import schema
from recast.formats.tflite.flat_read import FlatFile, Table
from recast.formats.tflite.read_file import File, Tensor

_KEEPS_INTEGERS = frozenset(("DEQUANTIZE", "QUANTIZE", "GATHER", "EMBEDDING_LOOKUP", "GATHER_ND"))
_ALIGN = 16


def mixed(file: File) -> dict[tuple[int, int], Tensor]:
    """Constant integer weights that meet floating-point activations, by (subgraph, tensor).

    Empty where one of them is also used as it is: then nothing is replaced.
    """
    found: dict[tuple[int, int], Tensor] = {}
    kept: set[tuple[int, int]] = set()
    for number, graph in enumerate(file.subgraphs):
        for operator in graph.operators:
            inputs = [graph.tensors[i] if i >= 0 else None for i in operator.inputs]
            real = bool(inputs) and inputs[0] is not None and inputs[0].dtype == "float32"
            for tensor in inputs:
                if tensor is None or tensor.data is None or not tensor.is_quantised or tensor.dtype == "int32":
                    continue
                meets = real and operator.kind not in _KEEPS_INTEGERS
                (found.setdefault((number, tensor.index), tensor) if meets else kept.add((number, tensor.index)))
    return {} if kept & found.keys() else found


def with_real_weights(data: memoryview, weights: dict[tuple[int, int], Tensor]) -> bytes:
    """The file with these weights as float32.

    Args:
        data: the file.
        weights: what ``mixed`` found.

    Raises:
        BadModel: the file is damaged.
    """
    flat = FlatFile(data, "")
    root = flat.root("Model")
    graphs, buffers = root.get("subgraphs"), root.get("buffers")
    made = bytearray(data)
    bare = _append_bare_table(made)
    tensors = [graph.get("tensors") for graph in graphs]
    for (graph, index), tensor in weights.items():
        table = tensors[graph][index]
        _patch(made, table.place("quantization"), bare)
        _patch(made, buffers[table.get("buffer")].place("data"), _append_vector(made, _real(tensor)))
        made[table.place("type")] = schema.number("TensorType", "FLOAT32")
    return bytes(made)


def replaceable(data: memoryview, weights: dict[tuple[int, int], Tensor]) -> bool:
    """Whether every weight has a buffer inside the file that no other tensor uses."""
    root = FlatFile(data, "").root("Model")
    users: dict[int, int] = {}
    tensors: list[list[Table]] = [graph.get("tensors") for graph in root.get("subgraphs")]
    for tables in tensors:
        for table in tables:
            users[table.get("buffer")] = users.get(table.get("buffer"), 0) + 1
    buffers = root.get("buffers")
    taken = [tensors[graph][index] for graph, index in weights]
    return all(users[t.get("buffer")] == 1 and buffers[t.get("buffer")].place("data") for t in taken) and not any(
        t.get("sparsity") is not None for t in taken
    )


def _real(tensor: Tensor) -> np.ndarray:
    assert tensor.data is not None  # noqa: S101 mixed() looked
    assert tensor.quantisation is not None  # noqa: S101 mixed() looked
    scale, zero = tensor.quantisation.scale, tensor.quantisation.zero_point
    shape = [1] * tensor.data.ndim
    if scale.size > 1:
        shape[tensor.quantisation.axis] = scale.size
    steps = tensor.data.astype(np.float32) - zero.astype(np.float32).reshape(shape if zero.size > 1 else 1)
    return np.asarray(steps * scale.astype(np.float32).reshape(shape if scale.size > 1 else 1), dtype="<f4")


def _patch(made: bytearray, at: int, target: int) -> None:
    struct.pack_into("<I", made, at, target - at)


def _append_bare_table(made: bytearray) -> int:
    """A table without fields at the end; its vtable lies right before it."""
    made += bytes(-len(made) % 4) + struct.pack("<HH", 4, 4)
    made += struct.pack("<i", 4)
    return len(made) - 4


def _append_vector(made: bytearray, values: np.ndarray) -> int:
    made += bytes(-(len(made) + 4) % _ALIGN) + struct.pack("<I", values.nbytes)
    made += values.tobytes()
    return len(made) - values.nbytes - 4
