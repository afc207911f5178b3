"""Weights with many zeros as sparse tensors, which ``DENSIFY`` unpacks once, when the file is loaded.

All axes but the last are dense; the last is compressed: where each row begins (``array_segments``) and the positions of
its values (``array_indices``), in the smallest integers that hold them. docs/reference/sparse.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from recast.formats.tflite.flat_write import Blob
from recast.formats.tflite.writing.emitter import Emitter, Operator, Tensor

_OVERHEAD = 400  # bytes of the tables of one sparse tensor, its dense twin and the operator
_USERS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"}
_VECTORS = (("Uint8Vector", np.uint8), ("Uint16Vector", np.uint16), ("Int32Vector", np.int32))


def pack(emitter: Emitter, outputs: Collection[int]) -> None:
    """Replace the float weights of the main graph's layers for which that is smaller."""
    users: dict[int, set[str]] = {}
    for op in emitter.operators:
        for index in op.inputs:
            users.setdefault(index, set()).add(op.builtin)
    new: list[Operator] = []
    for index, names in users.items():
        if index < 0 or index in outputs or not names <= _USERS:
            continue
        made = _sparse(emitter, emitter.tensors[index])
        if made is None:
            continue
        dense = emitter.tensor(f"{emitter.tensors[index].name}/dense", made.type, made.shape)
        emitter.tensors[index] = made
        for op in emitter.operators:
            op.inputs = [dense if i == index else i for i in op.inputs]
        new.append(Operator("DENSIFY", 1, [index], [dense], ("DensifyOptions", {})))
    emitter.operators[:0] = new


def _sparse(emitter: Emitter, tensor: Tensor) -> Tensor | None:
    """A sparse tensor of the same values, or None where it would not be smaller."""
    blob = emitter.buffers.blobs[tensor.buffer] if tensor.buffer else None
    if blob is None or tensor.type != "FLOAT32" or len(tensor.shape) < 2 or tensor.quant is not None:
        return None
    if blob.size <= _OVERHEAD or min(tensor.shape) < 1:
        return None
    array = np.frombuffer(bytes(memoryview(blob.data()).cast("B")), "<f4").reshape(tensor.shape)
    rows = array.reshape(-1, tensor.shape[-1])
    there = rows != 0
    segments = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    indices = np.nonzero(there)[1]
    size = segments.size * _width(segments) + indices.size * (4 + _width(indices)) + _OVERHEAD
    if size >= blob.size:
        return None
    values = rows[there].astype("<f4")
    made = Tensor(tensor.name, tensor.type, tensor.shape, tensor.buffer, None, tensor.variable)
    emitter.buffers.blobs.append(Blob(values.nbytes, lambda: values.tobytes()))
    made.buffer = len(emitter.buffers.blobs) - 1
    levels: list[dict[str, Any]] = [{"format": 0, "dense_size": d} for d in tensor.shape[:-1]]
    levels.append({"format": 1, "array_segments": _vector(segments), "array_indices": _vector(indices)})
    made.sparsity = {"traversal_order": list(range(len(tensor.shape))), "dim_metadata": levels}
    return made


def _width(numbers: np.ndarray) -> int:
    most = int(numbers.max(initial=0))
    return 1 if most < 256 else 2 if most < 65536 else 4


def _vector(numbers: np.ndarray) -> tuple[str, dict[str, Any]]:
    name, kind = _VECTORS[{1: 0, 2: 1, 4: 2}[_width(numbers)]]
    return name, {"values": numbers.astype(kind)}
