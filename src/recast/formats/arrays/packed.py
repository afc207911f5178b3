"""Tensors with many zeros in safetensors: one bit an element and the values that are not zero.

``NAME`` becomes ``NAME.recast.bits`` (U8, least significant bit first) and ``NAME.recast.values``; the file's metadata
``recast.sparse`` is JSON ``{NAME: shape}``. docs/reference/sparse.md tells how to read it without Recast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from recast._util.bounded import element_count
from recast.errors import BadModel

BITS, VALUES, KEY = ".recast.bits", ".recast.values", "recast.sparse"
_OVERHEAD = 160  # bytes of two header entries instead of one, and of the metadata
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE, ir.DataType.INT8)


def pack(tensors: Mapping[str, ir.TensorProtocol]) -> tuple[dict[str, ir.TensorProtocol], dict[str, str]]:
    """Packed tensors where that is smaller, and the metadata that tell which."""
    made: dict[str, ir.TensorProtocol] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        pair = _pair(name, tensor) if tensor.dtype in _TYPES and tensor.nbytes > _OVERHEAD else []
        if not pair or any(t.name in tensors for t in pair):
            made[name] = tensor
            continue
        shapes[name] = [int(d) for d in tensor.shape.numpy()]
        made |= {t.name or "": t for t in pair}
    return made, {KEY: json.dumps(shapes, separators=(",", ":"))} if shapes else {}


def _pair(name: str, tensor: ir.TensorProtocol) -> list[ir.TensorProtocol]:
    flat = np.ascontiguousarray(tensor.numpy()).reshape(-1)
    there = flat != 0
    if np.count_nonzero(there) * flat.itemsize + -(-flat.size // 8) + _OVERHEAD >= flat.nbytes:
        return []
    bits = np.packbits(there, bitorder="little")
    return [ir.Tensor(bits, name=name + BITS), ir.Tensor(flat[there], dtype=tensor.dtype, name=name + VALUES)]


def unpack(tensors: dict[str, ir.TensorProtocol], metadata: object, where: str) -> dict[str, ir.TensorProtocol]:
    """Dense tensors for packed ones, in their places.

    Raises:
        BadModel: the metadata, the bits and the values contradict each other.
    """
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if text is None:
        return tensors
    shapes = json.loads(text)
    if not isinstance(shapes, dict):
        raise BadModel(f"the metadata '{KEY}' are no table of shapes", where, "write the file again")
    made: dict[str, ir.TensorProtocol] = {}
    lost = [n for n in shapes if n in tensors or n + BITS not in tensors or n + VALUES not in tensors]
    if lost:
        raise BadModel(f"the packed tensor '{lost[0]}' is not there, or twice", where, "write the file again")
    for name, tensor in tensors.items():
        base = name.removesuffix(BITS)
        if base != name and base in shapes:
            made[base] = _dense(base, shapes[base], (tensor, tensors[base + VALUES]), where)
        elif not (name.endswith(VALUES) and name.removesuffix(VALUES) in shapes):
            made[name] = tensor
    return made


def _dense(
    name: str, shape: list[int], pair: tuple[ir.TensorProtocol, ir.TensorProtocol], where: str
) -> ir.TensorProtocol:
    bits, values = (p.numpy() for p in pair)
    size = element_count([int(d) for d in shape], f"{where}, tensor {name}")
    fits = pair[0].dtype == ir.DataType.UINT8 and bits.ndim == values.ndim == 1 and len(bits) == -(-size // 8)
    there = np.unpackbits(bits, count=size, bitorder="little").astype(bool) if fits else np.zeros(0, bool)
    if not fits or np.count_nonzero(there) != len(values):
        raise BadModel("bits, values and shape of a packed tensor do not fit", f"{where}, tensor {name}", "write again")
    dense = np.zeros(size, values.dtype)
    dense[there] = values
    return ir.Tensor(dense.reshape([int(d) for d in shape]), dtype=pair[1].dtype, name=name)
