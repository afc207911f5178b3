"""Framed messages between a parent and its child process: JSON header + raw array buffers, nothing executable."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

MAX_HEADER = 64 << 20
_DTYPES = {"bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float8_e4m3fnuz", "float8_e5m2fnuz"}


def _dtype(name: str) -> np.dtype[Any]:
    import numpy as np

    if name in _DTYPES:
        import ml_dtypes

        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extended
    return np.dtype(name)


def send(stream: BinaryIO, message: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Write one frame: 8-byte little-endian header length, JSON header, then each array's bytes."""
    import numpy as np

    # ascontiguousarray would turn a 0-d array into a 1-d one
    items = [(k, np.asarray(v, order="C")) for k, v in (arrays or {}).items()]
    header = dict(message, arrays=[[k, a.dtype.name, list(a.shape)] for k, a in items])
    data = json.dumps(header).encode()
    stream.write(struct.pack("<Q", len(data)))
    stream.write(data)
    for _, array in items:
        stream.write(array.reshape(-1).view(np.uint8).data if array.size else b"")
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read one frame.

    Raises:
        EOFError: the other side is gone.
        ValueError: the frame is not well formed.
    """
    import numpy as np

    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    if length > MAX_HEADER:
        raise ValueError("frame header too long")
    header = json.loads(_exactly(stream, length))
    arrays: dict[str, np.ndarray] = {}
    for name, dtype_name, shape in header.pop("arrays"):
        dtype = _dtype(dtype_name)
        count = int(np.prod(shape, dtype=np.int64))
        raw = _exactly(stream, count * dtype.itemsize)
        arrays[name] = (
            np.frombuffer(raw, dtype=np.uint8).view(dtype).reshape(shape) if count else np.zeros(shape, dtype)
        )
    return header, arrays


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = stream.read(count - len(data))
        if not piece:
            raise EOFError("the stream ended")
        data += piece
    return bytes(data)
