"""Object headers of an HDF5 file: pyfive's parser behind a budget, with the commonest parts written for speed.

A Keras file has one header per layer, group and weight, nearly all of HDF5's first version; pyfive parses each message
through an ordered dictionary of field names. What stands here replaces exactly that, and hands everything else to it.
"""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from recast._util.bounded import check_size
from recast._util.defer import defer, standing_in
from recast.errors import BadModel, UnsafeModel


class _Fletcher32:
    """numcodecs' checksum, loaded when pyfive uses it (Recast reads chunks itself)."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("numcodecs").Fletcher32(), name)


defer("fsspec")  # pyfive's access to remote files, with asyncio and ssl
defer("fsspec.utils")

with standing_in("numcodecs", Fletcher32=_Fletcher32):  # forty modules of compression for one checksum
    from pyfive.btree import BTreeV1RawDataChunks
from pyfive.core import UNDEFINED_ADDRESS  # noqa: E402
from pyfive.dataobjects import DataObjects  # noqa: E402
from pyfive.datatype_msg import DatatypeMessage  # noqa: E402
from pyfive.misc_low_level import SuperBlock  # noqa: E402

_DATASPACE, _DATATYPE, _ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x01, 0x03, 0x0C, 0x10, 0x15
_LINK_INFO, _LINK, _SYMBOL_TABLE = 0x02, 0x06, 0x11
_SOFT_LINK = 2
_SHARED_FLAG = 0x02
_MESSAGE = struct.Struct("<HHB3x")
_HEADER = struct.Struct("<2xH4xI4x")
_ATTRIBUTE_HEADER = struct.Struct("<BxHHH")
_HEAP = struct.Struct("<8xQ8xQ")
_SYMBOL = struct.Struct("<QQI")
_TWO = struct.Struct("<QQ")
_SMALL_TYPE = 64  # bytes of a type's description that are kept as a key


class Stream:
    """A read-only file object over bytes with a budget of reads, so that cycles in the metadata end."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.size = len(data)
        self.position = 0
        self.bytes_left = 2 * len(data) + (16 << 20)
        self.reads_left = 200_000 + len(data) // 64

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.position, self.size)[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        start = self.position
        chunk = self.data[start : self.size if size < 0 else start + size].tobytes()
        self.position = start + len(chunk)
        self.bytes_left -= len(chunk)
        self.reads_left -= 1
        if self.bytes_left < 0 or self.reads_left < 0:
            raise BadModel("the HDF5 metadata leads in circles", "HDF5 file", "export or copy the file again")
        return chunk

    def at(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``."""
        self.position = offset
        return self.read(size)


@lru_cache(maxsize=256)
def _small_type(description: bytes) -> Any:
    return DatatypeMessage(description, 0).ptype


def _type_at(data: bytes, offset: int, size: int) -> Any:
    """The element type that a message describes; a file has few different ones."""
    description = data[offset : offset + size]
    return _small_type(description) if size <= _SMALL_TYPE else DatatypeMessage(description, 0).ptype


def _dims_at(data: bytes, offset: int) -> tuple[int, ...] | None:
    """Dimensions of a dataspace; None where it is empty."""
    version, rank, _, kind = struct.unpack_from("<BBBB", data, offset)
    if version not in (1, 2):
        raise BadModel("a dataspace of unknown version", "HDF5 file", "export or copy the file again")
    if version == 2 and kind == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", data, offset + (8 if version == 1 else 4))


class Header(DataObjects):  # type: ignore[misc]
    """pyfive's object header with checks before allocation.

    Raises:
        BadModel, TooLarge, UnsafeModel: and whatever pyfive raises on damaged files.
    """

    # What pyfive's constructor sets and headers of the first version do not need.
    order, decode_strings = "C", False
    _filter_pipeline = _chunks = _chunk_dims = _chunk_address = _cached_attributes = None
    _chunk_params_set = False

    def __init__(self, stream: Stream, address: int, heaps: dict[int, Any]) -> None:
        head = stream.at(address, 16)
        if head[:1] == b"\x01":
            self.msgs, self.msg_data = _messages(stream, head)
            self.fh, self.offset, self._global_heaps = stream, address, heaps
        else:
            super().__init__(stream, address, global_heaps=heaps)
        self.is_shared = False  # whether its shape or type lies in another header
        self._by_type: dict[int, list[dict[str, int]]] = {}
        for message in self.msgs:
            kind = message["type"]
            self._by_type.setdefault(kind, []).append(message)
            if message["flags"] & _SHARED_FLAG and kind in (_DATASPACE, _DATATYPE):
                self.is_shared = True

    def find_msg_type(self, msg_type: int) -> list[dict[str, int]]:
        return self._by_type.get(msg_type, [])

    @property
    def is_dataset(self) -> bool:
        return _DATASPACE in self._by_type

    @property
    def shape(self) -> tuple[int, ...] | None:
        return _dims_at(self.msg_data, self._by_type[_DATASPACE][0]["offset_to_message"])

    @property
    def ptype(self) -> Any:
        message = self._by_type[_DATATYPE][0]
        return _type_at(self.msg_data, message["offset_to_message"], message["size"])

    def links(self) -> dict[str, int | str]:
        """Names and addresses of a group's members."""
        if _SYMBOL_TABLE in self._by_type and _LINK not in self._by_type and _LINK_INFO not in self._by_type:
            found: list[tuple[str, int | str]] = []
            for message in self._by_type[_SYMBOL_TABLE]:
                found += self._symbols(*_TWO.unpack_from(self.msg_data, message["offset_to_message"]))
            return dict(found)
        return dict(self.iter_links())

    def get_attributes(self) -> dict[str, Any]:
        if _ATTRIBUTE_INFO in self._by_type:
            found: dict[str, Any] = super().get_attributes()
            return found
        data = self.msg_data
        return dict(self._parse_attribute_msg(data, m["offset_to_message"]) for m in self.find_msg_type(_ATTRIBUTE))

    def _parse_attribute_msg(self, buffer: bytes, offset: int) -> tuple[str, Any]:
        version, name_size, type_size, space_size = _ATTRIBUTE_HEADER.unpack_from(buffer, offset)
        at = offset + 8
        name = buffer[at : at + name_size].strip(b"\x00").decode("utf-8")
        at += name_size + 7 & ~7
        if version == 1 and (kind := _type_or_none(buffer, at, type_size)) is not None:
            at += type_size + 7 & ~7
            dims = _dims_at(buffer, at)
            if dims is not None:
                value = self._attr_value(kind, buffer, math.prod(dims), at + (space_size + 7 & ~7))
                return name, value[0] if dims == () else value.reshape(dims)
        found: tuple[str, Any] = super()._parse_attribute_msg(buffer, offset)
        return found

    def _attr_value(self, ptype: Any, buf: bytes, count: int, offset: int) -> Any:
        itemsize = max(1, int(getattr(ptype.dtype, "itemsize", 1) or 1))
        check_size(count * itemsize, max(0, len(buf) - offset), "an attribute of the HDF5 file")
        return super()._attr_value(ptype, buf, count, offset)

    def _iter_links_btree_v1(self, btree_address: int, heap_address: int) -> Iterator[tuple[str, int | str]]:
        yield from self._symbols(btree_address, heap_address)

    def _symbols(self, btree_address: int, heap_address: int) -> list[tuple[str, int | str]]:
        """Members of an old-style group: B-tree → symbol nodes, names in a local heap."""
        stream: Stream = self.fh
        size, start = _HEAP.unpack(stream.at(heap_address, 32))
        names = stream.at(start, size)
        found: list[tuple[str, int | str]] = []
        stack = [btree_address]
        while stack:
            head = stream.at(stack.pop(), 24)
            if head[:4] == b"TREE":
                entries = head[6] | head[7] << 8
                pointers = struct.unpack(f"<{2 * entries}Q", stream.read(16 * entries))
                stack.extend(reversed(pointers[1::2]))
                continue
            if head[:4] != b"SNOD":
                raise BadModel("a group's index is damaged", "HDF5 file", "export or copy the file again")
            entries = head[6] | head[7] << 8
            table = head[8:] + stream.read(max(0, 40 * entries - 16))
            for entry in range(0, 40 * entries, 40):
                at, address, kind = _SYMBOL.unpack_from(table, entry)
                name = names[at : names.index(0, at)].decode()
                found.append((name, "a symbolic link" if kind == _SOFT_LINK else address))
        return found

    @staticmethod
    def _decode_link_msg(data: bytes, offset: int) -> Any:
        if data[offset + 1] & 8 and data[offset + 2] not in (0, 1):
            raise UnsafeModel(
                "the HDF5 file links to another file", "an external link", "store all weights in the model's own file"
            )
        return DataObjects._decode_link_msg(data, offset)


def _messages(stream: Stream, head: bytes) -> tuple[list[dict[str, int]], bytes]:
    """Messages of a header of the first version, and the bytes that they lie in."""
    count, size = _HEADER.unpack(head)
    data, offset, messages = stream.read(size), 0, []
    for _ in range(count):
        kind, length, flags = _MESSAGE.unpack_from(data, offset)
        if kind == _CONTINUATION:
            address, more = struct.unpack_from("<QQ", data, offset + 8)
            data += stream.at(address, more)
        messages.append({"type": kind, "size": length, "flags": flags, "offset_to_message": offset + 8})
        offset += 8 + length
    return messages, data


def _type_or_none(data: bytes, offset: int, size: int) -> Any:
    try:
        return _type_at(data, offset, size)
    except NotImplementedError:
        return None


def root_address(stream: Stream) -> int:
    """Where the root group's header lies."""
    return int(SuperBlock(stream, 0).offset_to_dataobjects)


def chunk_tree(header: Header) -> Any:
    """The index of a chunked dataset (after ``header.chunks`` was read)."""
    return BTreeV1RawDataChunks(header.fh, header._chunk_address, header._chunk_dims)


__all__ = ["UNDEFINED_ADDRESS", "Header", "Stream", "chunk_tree", "root_address"]
