"""TensorFlow's checkpoints ("tensor bundles"): an index, which is a LevelDB table, and raw data files.

The table: blocks of keys that share prefixes, an index block of block handles, a footer (LevelDB's
``doc/table_format.md``). Each value is a BundleEntry: type, shape, data file, offset, size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recast._util.bounded import MAX_NODES, element_count, inside, open_bytes
from recast._util.wire import Message, decode, varint
from recast.errors import BadModel, TooLarge, UnsupportedType
from recast.formats.savedmodel import crc32c, schema
from recast.formats.savedmodel.tensors import DAMAGED, dims

_MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5


@dataclass
class Bundle:
    """The variables of one checkpoint, by key."""

    folder: Path
    prefix: str
    shards: int = 0
    entries: dict[str, Message] = field(default_factory=dict)
    _data: dict[int, memoryview] = field(default_factory=dict)

    def array(self, key: str) -> np.ndarray:
        """A variable's numbers, as a view into its file; its checksum is verified.

        Raises:
            BadModel, TooLarge: it is not there, or the data does not fit.
            UnsupportedType: it holds no numbers.
        """
        where = f"variable '{key[:200]}' of {self.prefix}.index"
        entry = self.entries.get(key)
        if entry is None:
            raise BadModel("the checkpoint has no such variable", where, "export the model again")
        if "slices" in entry:
            raise UnsupportedType("variables stored in several slices cannot be read", where, "save it unpartitioned")
        number = schema.plain(int(entry.get("dtype", 0)))
        kind = schema.NUMPY.get(number)
        if kind is None:
            raise UnsupportedType(f"variables of type {schema.type_name(number)} cannot be converted", where)
        shape = [-1 if d is None else d for d in dims(entry.get("shape", {})) or []]
        size = element_count(shape, where) * kind.itemsize
        offset, stored = int(entry.get("offset", 0)), int(entry.get("size", 0))
        if size != stored:
            raise BadModel(f"{stored} bytes for shape {shape}", where, DAMAGED)
        data = self._shard(int(entry.get("shard", 0)), where)
        if offset < 0 or offset + size > len(data):
            raise TooLarge(f"bytes {offset} to {offset + size} of {len(data)}", where, DAMAGED)
        held = data[offset : offset + size]
        if "crc32c" in entry and crc32c.masked(held) != entry["crc32c"]:
            raise BadModel("the checksum of the data is wrong", where, DAMAGED)
        return np.frombuffer(held, kind).reshape(shape)

    def _shard(self, number: int, where: str) -> memoryview:
        if not 0 <= number < self.shards:
            raise BadModel(f"data file {number} of {self.shards}", where, DAMAGED)
        if number not in self._data:
            name = f"{self.prefix}.data-{number:05d}-of-{self.shards:05d}"
            self._data[number] = open_bytes(inside(self.folder, name, where))
        return self._data[number]


def load(folder: Path, prefix: str = "variables") -> Bundle:
    """Read the index of ``<folder>/<prefix>.index``; the data is mapped when it is asked for.

    Raises:
        BadModel, TooLarge: the index is damaged.
    """
    path = folder / f"{prefix}.index"
    view, bundle = open_bytes(path), Bundle(folder, prefix)
    for key, value in _table(view, path.name):
        if key == b"":
            header = decode(schema.SCHEMA, "BundleHeader", value)
            bundle.shards = int(header.get("num_shards", 0))
            if header.get("endianness", 0):
                raise UnsupportedType("the variables are stored big-endian", path.name, "export on another machine")
            continue
        bundle.entries[key.decode("utf-8", "replace")] = decode(schema.SCHEMA, "BundleEntry", value)
    return bundle


def _table(view: memoryview, where: str) -> Iterator[tuple[bytes, memoryview]]:
    if len(view) < _FOOTER or int.from_bytes(view[-8:], "little") != _MAGIC:
        raise BadModel("this is no index of a checkpoint", where, DAMAGED)
    footer = view[-_FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    count, read = 0, 0
    for _, handle in _block(view, index, where):
        place = _handle(handle, 0)[0]
        read += place[1]
        if read > len(view):
            raise TooLarge("the blocks of the index overlap", where, DAMAGED)
        for pair in _block(view, place, where):
            count += 1
            if count > MAX_NODES:
                raise TooLarge(f"more than {MAX_NODES} variables", where, DAMAGED)
            yield pair


def _handle(view: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(view, at, len(view))
    size, at = varint(view, at, len(view))
    return (offset, size), at


def _block(view: memoryview, place: tuple[int, int], where: str) -> Iterator[tuple[bytes, memoryview]]:
    offset, size = place
    if offset + size + _TRAILER > len(view) or size < 4:
        raise TooLarge(f"a block of {size} bytes at {offset} of {len(view)}", where, DAMAGED)
    if view[offset + size]:
        raise UnsupportedType("the index is compressed", where, "write the checkpoint with TensorFlow's own saver")
    told = int.from_bytes(view[offset + size + 1 : offset + size + _TRAILER], "little")
    if crc32c.masked(view[offset : offset + size + 1]) != told:
        raise BadModel("the checksum of a block of the index is wrong", where, DAMAGED)
    block = view[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise BadModel(f"{restarts} restarts in a block of {size} bytes", where, DAMAGED)
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at, end)
        fresh, at = varint(block, at, end)
        length, at = varint(block, at, end)
        if shared > len(key) or fresh + length > end - at:
            raise BadModel("a key of the index runs over its block", where, DAMAGED)
        key = key[:shared] + bytes(block[at : at + fresh])
        at += fresh
        yield key, block[at : at + length]
        at += length
