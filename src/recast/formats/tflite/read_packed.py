"""Tensor data that is not a plain array: 4-bit and 2-bit integers, sparse weights."""

from __future__ import annotations

from functools import cache

import numpy as np

from recast._util.bounded import check_size, element_count
from recast.errors import BadModel, UnsupportedType
from recast.formats.tflite.flat_read import Table

BITS = {"int4": 4, "uint4": 4, "int2": 2}
_DAMAGED = "the file is damaged: export it again"


@cache
def numpy_type(dtype: str) -> np.dtype:
    """The NumPy type of an element type's name (``bfloat16`` and the like come from ml_dtypes)."""
    if dtype in BITS or dtype.startswith(("bfloat", "float8")):
        import ml_dtypes

        kind: np.dtype = np.dtype(getattr(ml_dtypes, dtype))
        return kind
    return np.dtype(dtype).newbyteorder("<")


def unpack(content: np.ndarray, shape: tuple[int, ...], dtype: str, where: str) -> np.ndarray:
    """Spread packed small integers (low bits first) over one byte each.

    Raises:
        BadModel: the number of bytes does not fit the shape.
    """
    bits = BITS[dtype]
    count = element_count(shape, where)
    if (count * bits + 7) // 8 != len(content):
        raise BadModel(f"{len(content)} bytes of data for shape {list(shape)} of {dtype}", where, _DAMAGED)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = ((content[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
    if dtype.startswith("int"):
        values = (values << (8 - bits)).view(np.int8) >> (8 - bits)
    return values.astype(numpy_type(dtype)).reshape(shape)


def densify(
    sparsity: Table, content: np.ndarray, shape: tuple[int, ...], dtype: str, place: tuple[str, int]
) -> np.ndarray:
    """The dense array of a sparse tensor (levels in traversal order, each dense or compressed; maybe with blocks).

    Args:
        place: text for errors, and how many bytes may be allocated.

    Raises:
        BadModel, TooLarge: the indices do not fit the shape.
    """
    where, room = place
    if dtype in BITS:
        raise UnsupportedType(f"sparse {dtype} weights are not supported", where, "export dense weights")
    kind = numpy_type(dtype)
    rank = len(shape)
    order = [int(v) for v in sparsity.get("traversal_order")]
    blocks = [int(v) for v in sparsity.get("block_map")]
    levels = sparsity.get("dim_metadata")
    count = element_count(shape, where)
    check_size(count * max(kind.itemsize, 8), room, where)
    if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order):
        raise BadModel("the sparse tensor's traversal order contradicts its shape", where, _DAMAGED)
    if any(not 0 <= b < rank for b in blocks) or any(o >= rank for o in order[:rank]):
        raise BadModel("the sparse tensor's blocks contradict its shape", where, _DAMAGED)
    values = content[: len(content) // kind.itemsize * kind.itemsize].view(kind)
    coordinates = _coordinates(levels, max(count, len(values)), where)
    position = {axis: coordinates[level] for level, axis in enumerate(order)}
    size = {axis: int(levels[level].get("dense_size")) for level, axis in enumerate(order) if axis >= rank}
    index = [position[axis] for axis in range(rank)]
    for number, axis in enumerate(blocks):
        index[axis] = index[axis] * size[rank + number] + position[rank + number]
    if any(len(i) != len(values) for i in index):
        raise BadModel("the sparse tensor has more places than its shape or values", where, _DAMAGED)
    if any(((i < 0) | (i >= d)).any() for i, d in zip(index, shape, strict=True)):
        raise BadModel("an index of the sparse tensor lies outside its shape", where, _DAMAGED)
    dense = np.zeros(shape, kind)
    dense[tuple(index)] = values
    return dense


def _coordinates(levels: list[Table], limit: int, where: str) -> list[np.ndarray]:
    """For every level the coordinate of each stored value."""
    found: list[np.ndarray] = []
    count = 1
    for level in levels:
        if level.get("format") == 0:
            size = int(level.get("dense_size"))
            if size < 0 or count * size > max(limit, 1):
                raise BadModel("the sparse tensor has more places than its shape or values", where, _DAMAGED)
            repeats = np.full(count, size, np.int64)
            here = np.tile(np.arange(size, dtype=np.int64), count)
        else:
            segments, indices = _vector(level, "array_segments"), _vector(level, "array_indices")
            if len(segments) != count + 1:
                raise BadModel("the sparse tensor's segments are incomplete", where, _DAMAGED)
            repeats = np.diff(segments)
            if (repeats < 0).any() or int(segments[0]) != 0 or int(segments[-1]) != len(indices):
                raise BadModel("the sparse tensor's segments are not ascending", where, _DAMAGED)
            if len(indices) > limit:
                raise BadModel("the sparse tensor has more places than its shape or values", where, _DAMAGED)
            here = indices
        found = [np.repeat(f, repeats) for f in found] + [here]
        count = len(here)
    return found


def _vector(level: Table, name: str) -> np.ndarray:
    held = level.get(name)
    return np.zeros(0, np.int64) if held is None else held.get("values").astype(np.int64)
