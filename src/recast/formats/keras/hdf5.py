"""Bounded HDF5 reading on top of pyfive: nothing is allocated before its declared size was checked.

A file is attacked through its metadata (cycles, absurd sizes, links to other files), so every metadata read goes
through a counter, and links that leave the file are refused. Arrays of contiguous datasets are views of the file.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast._util.bounded import as_bad_model, check_size, element_count
from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel
from recast.formats.keras.hdf5_header import UNDEFINED_ADDRESS, Header, Stream, chunk_tree, root_address

_EXTERNAL_FILES = 0x0007
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_MAX_UNPACKED_BYTES = 256 << 20  # beyond it compressed data may expand at most _MAX_RATIO times
_MAX_RATIO = 40


@dataclass
class Dataset:
    """One array of the file. ``read`` gives a read-only view where the data lie in one piece."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    _file: Hdf5File
    _object: Any

    @property
    def nbytes(self) -> int:
        """Declared size in bytes (HDF5's dimensions have no sign)."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """The array in native byte order.

        Raises:
            TooLarge: more is declared than the file holds.
            BadModel, UnsafeModel: the data are damaged, compressed in an unknown way, or lie in another file.
        """
        try:
            array = self._read()
        except Exception as error:  # pyfive, numpy and zlib raise anything on damaged files
            raise as_bad_model(error, f"dataset {self.path}") from error
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def _read(self) -> np.ndarray:
        header = self._object
        if header.find_msg_type(_EXTERNAL_FILES):
            raise UnsafeModel("a dataset lies in another file", f"dataset {self.path}", "store it in the model's file")
        _, layout, offset = header.get_id_storage_params()
        if layout == _VIRTUAL:
            raise UnsafeModel("a virtual dataset maps other files", f"dataset {self.path}", "store it as plain data")
        if (size := self.nbytes) == 0:
            return np.zeros(self.shape, self.dtype)
        if layout == _COMPACT:
            held = int.from_bytes(header.msg_data[offset : offset + 2], "little")
            return self._array(memoryview(header.msg_data)[offset + 2 : offset + 2 + held])
        if layout == _CONTIGUOUS:
            start = int.from_bytes(header.msg_data[offset : offset + 8], "little")
            if start == UNDEFINED_ADDRESS:
                raise BadModel("a dataset was never written", f"dataset {self.path}", "save the model again")
            return self._array(self._file.data[start : start + size])
        return self._chunked()

    def _array(self, data: memoryview) -> np.ndarray:
        count = math.prod(self.shape)
        check_size(count * self.dtype.itemsize, len(data), f"dataset {self.path}")
        return np.frombuffer(data, self.dtype, count).reshape(self.shape)

    def _chunked(self) -> np.ndarray:
        header = self._object
        limit = max(_MAX_UNPACKED_BYTES, _MAX_RATIO * len(self._file.data))
        check_size(self._file.unpacked_bytes + self.nbytes, limit, f"dataset {self.path}")
        self._file.unpacked_bytes += self.nbytes
        chunk = tuple(header.chunks)
        if len(chunk) != len(self.shape) or any(c <= 0 for c in chunk):
            raise BadModel("chunk sizes contradict the shape", f"dataset {self.path}", "save the model again")
        chunk_bytes = element_count(chunk, self.path) * self.dtype.itemsize
        check_size(chunk_bytes, limit, f"a chunk of dataset {self.path}")
        filters = [(f["filter_id"], f) for f in header.filter_pipeline or []]
        if any(number not in (_DEFLATE, _SHUFFLE, _FLETCHER32) for number, _ in filters):
            raise BadModel("an unknown compression filter", f"dataset {self.path}", "save with gzip or none")
        out = np.zeros(self.shape, self.dtype)
        tree = chunk_tree(header)
        filled = 0
        for corner, size, mask, address in _chunks(tree):
            raw = bytes(self._file.data[address : address + size])
            for index in reversed(range(len(filters))):
                if not mask >> index & 1:
                    raw = _unfilter(raw, filters[index][0], self.dtype.itemsize, chunk_bytes)
            block = np.frombuffer(raw, self.dtype, element_count(chunk, self.path)).reshape(chunk)
            target = tuple(slice(c, c + n) for c, n in zip(corner, chunk, strict=True))
            part = out[target]
            part[...] = block[tuple(slice(0, n) for n in part.shape)]
            filled += part.size
        if filled != out.size:
            raise BadModel("some chunks are missing", f"dataset {self.path}", "the file is damaged: copy it again")
        return out


def _chunks(tree: Any) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    for node in tree.all_nodes[0]:
        for key, address in zip(node["keys"], node["addresses"], strict=False):
            yield tuple(key["chunk_offset"][:-1]), key["chunk_size"], key["filter_mask"], address


def _unfilter(raw: bytes, number: int, itemsize: int, limit: int) -> bytes:
    if number == _DEFLATE:
        return zlib.decompressobj().decompress(raw, limit + 4)
    if number == _FLETCHER32:
        return raw[:-4]
    return np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()


class Group:
    """One group: attributes and children by name."""

    def __init__(self, file: Hdf5File, path: str, header: Any) -> None:
        self.file, self.path, self._header = file, path, header
        self._attrs: dict[str, Any] | None = None
        self._links: dict[str, Any] | None = None
        self._children: dict[str, Group | Dataset] = {}

    @property
    def attrs(self) -> dict[str, Any]:
        """All attributes."""
        if self._attrs is None:
            self._attrs = dict(self._header.get_attributes())
        return self._attrs

    @property
    def links(self) -> dict[str, Any]:
        """Children's names and where they are."""
        if self._links is None:
            self._links = self._header.links()
        return self._links

    def child(self, name: str) -> Group | Dataset | None:
        """A child by name or by a path with ``/``; None where there is none."""
        if name in self._children:
            return self._children[name]
        found: Group | Dataset | None = self
        for part in name.split("/"):
            if part in ("", "."):
                continue
            if not isinstance(found, Group) or part not in found.links:
                return None
            found = found._open(part)
        return found

    def group(self, name: str) -> Group | None:
        """The child if it is a group."""
        found = self.child(name)
        return found if isinstance(found, Group) else None

    def names(self, attribute: str) -> list[str]:
        """A list of strings kept as an attribute; long ones are split into ``<attribute>0``, ``<attribute>1`` …"""
        parts = [self.attrs[attribute]] if attribute in self.attrs else []
        while attribute not in self.attrs and f"{attribute}{len(parts)}" in self.attrs:
            parts.append(self.attrs[f"{attribute}{len(parts)}"])
        return [text(item) for part in parts for item in np.asarray(part).reshape(-1).tolist()]

    def datasets(self) -> Iterator[Dataset]:
        """All arrays below, each object once."""
        stack, seen = [self], {id(self._header)}
        while stack:
            group = stack.pop()
            for name in group.links:
                found = group._open(name)
                if isinstance(found, Dataset):
                    yield found
                elif id(found._header) not in seen:
                    seen.add(id(found._header))
                    stack.append(found)

    def _open(self, name: str) -> Group | Dataset:
        made = self._children.get(name)
        if made is not None:
            return made
        path = f"{self.path}/{name}".lstrip("/")
        address = self.links[name]
        if not isinstance(address, int):
            raise UnsafeModel("the HDF5 file uses symbolic links", f"link {path}", "save the model with Keras again")
        self._children[name] = self.file.open(address, path)
        return self._children[name]


class Hdf5File:
    """An HDF5 file in memory (usually a memory map).

    Raises:
        BadModel, TooLarge, UnsafeModel: the file is damaged, or leads outside itself.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self.data, self.where = data, where
        self.stream = Stream(data)
        self.unpacked_bytes = 0
        self._cache: dict[int, Any] = {}
        self._heaps: dict[int, Any] = {}
        found = self.open(root_address(self.stream), "")
        if not isinstance(found, Group):
            raise BadModel("the root of the HDF5 file is no group", where, "export or copy the file again")
        self.root = found

    def open(self, address: int, path: str) -> Group | Dataset:
        """The object at an address of the file."""
        header = self._cache.get(address)
        if header is None:
            header = Header(self.stream, address, self._heaps)
            self._cache[address] = header
        if not header.is_dataset:
            return Group(self, path, header)
        if header.is_shared:
            raise BadModel("a dataset with a shared type", f"dataset {path}", "save the model with Keras again")
        dtype, shape = header.ptype.dtype, header.shape
        if shape is None or dtype.kind not in "fiub":
            raise BadModel(f"a dataset of type {dtype} where numbers belong", f"dataset {path}", "export it again")
        return Dataset(path, shape, dtype, self, header)


def text(value: Any) -> str:
    """An attribute that is a string (bytes, str, or an array of one)."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "strict")
    return str(value)


def open_hdf5(data: memoryview, where: str) -> Hdf5File:
    """Open an HDF5 file held in memory.

    Raises:
        BadModel, TooLarge, UnsafeModel: the file is damaged, or leads outside itself.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Hdf5File(data, where)
    except Exception as error:  # pyfive raises anything on damaged files
        raise as_bad_model(error, where) from error


__all__ = ["Dataset", "Group", "Hdf5File", "RecastError", "TooLarge", "open_hdf5", "text"]
