"""Weights on their way to a file: named tensors, made one at a time, streamed as safetensors or as ``.pt``."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recast._util import pages
from recast.formats.torch.writing._types import TorchType

_ALIGNMENT = 64
_ROOT = "archive"


@dataclass(frozen=True)
class Entry:
    """One tensor of a state dict; ``make`` gives its array when it is written, and nothing is kept.

    ``origin`` is the weight of the graph that it comes from ("" for none), ``change`` how its entries are rearranged.
    """

    key: str
    type: TorchType
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]
    origin: str = ""
    change: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * self.type.size

    def write(self, stream: BinaryIO) -> None:
        """Write the raw little-endian bytes."""
        array = np.ascontiguousarray(self.make())
        if array.size != prod(self.shape) or array.dtype.itemsize != self.type.size:
            raise ValueError(f"{self.key}: {array.dtype}{array.shape} is not {self.type.torch}{self.shape}")
        if array.size:
            stream.write(array.reshape(-1).view(np.uint8).data)
        pages.used(array.nbytes)


def write_safetensors(path: Path, entries: Sequence[Entry]) -> None:
    """Write a ``.safetensors`` file: header length, JSON header padded to 8 bytes, then the tensors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    # wide elements first, so that every tensor is aligned to its element size
    ordered = sorted(entries, key=lambda e: -e.type.size)
    for entry in ordered:
        end = offset + entry.size_bytes
        header[entry.key] = {
            "dtype": entry.type.safetensors,
            "shape": list(entry.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for entry in ordered:
            entry.write(file)


def write_pt(path: Path, entries: Sequence[Entry]) -> None:
    """Write a state dict as ``torch.save`` does: a stored zip of ``data.pkl`` and one record per tensor."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _record(archive, "data.pkl", pickled(entries))
        _record(archive, "byteorder", b"little")
        for index, entry in enumerate(entries):
            with archive.open(_info(archive, f"data/{index}"), "w", force_zip64=True) as stream:
                entry.write(stream)  # type: ignore[arg-type]
        _record(archive, "version", b"3\n")


def _record(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    with archive.open(_info(archive, name), "w", force_zip64=True) as stream:
        stream.write(data)


def _info(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A zip entry whose data starts at a multiple of 64: an extra field 'FB' pads the local header."""
    info = zipfile.ZipInfo(f"{_ROOT}/{name}", (1980, 1, 1, 0, 0, 0))
    # local header 30 bytes, name, our field (4 + padding), zip64 field 20 bytes
    start = archive.start_dir + 30 + len(info.filename) + 4 + 20
    padding = -start % _ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    return info


def pickled(entries: Sequence[Entry]) -> bytes:
    """``data.pkl``: an ordered dictionary of tensors, written opcode by opcode (protocol 2)."""
    out = bytearray(pickle.PROTO + b"\x02")
    out += _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    out += pickle.MARK
    for index, entry in enumerate(entries):
        out += _text(entry.key) + _tensor(index, entry)
    out += pickle.SETITEMS + pickle.STOP
    return bytes(out)


def _tensor(index: int, entry: Entry) -> bytes:
    count = prod(entry.shape)
    strides = [prod(entry.shape[i + 1 :]) for i in range(len(entry.shape))]
    typed = bool(entry.type.storage)
    storage = _global("torch", entry.type.storage) if typed else _global("torch.storage", "UntypedStorage")
    out = _global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3") + pickle.MARK
    size = count if typed else entry.size_bytes
    out += pickle.MARK + _text("storage") + storage + _text(str(index)) + _text("cpu") + _int(size)
    out += pickle.TUPLE + pickle.BINPERSID
    out += _int(0) + _ints(entry.shape) + _ints(strides) + pickle.NEWFALSE
    out += _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    if not typed:
        out += _global("torch", entry.type.torch)
    return out + pickle.TUPLE + pickle.REDUCE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return pickle.BINUNICODE + len(data).to_bytes(4, "little") + data


def _int(number: int) -> bytes:
    if number < 1 << 31:
        return pickle.BININT + number.to_bytes(4, "little", signed=True)
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def _ints(numbers: Sequence[int]) -> bytes:
    return pickle.MARK + b"".join(map(_int, numbers)) + pickle.TUPLE
