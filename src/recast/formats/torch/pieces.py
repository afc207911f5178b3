"""Large weights written piece by piece, so that a mapped file is never in memory as a whole."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util import pages

PIECE_BYTES = 1 << 21


class Pieces(ir.Tensor):
    """A weight whose memory is handed back while it is written; a transposed view is written by columns of the file."""

    def tofile(self, file: Any) -> None:
        """Write the bytes at the file's place."""
        array = self.numpy()
        turned = array.ndim == 2 and array.T.flags.c_contiguous and not array.flags.c_contiguous
        if turned and hasattr(os, "pwrite"):  # Windows has none
            _write_columns(file, array.T)
            return
        held = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, held.size, PIECE_BYTES):
            piece = held[start : start + PIECE_BYTES]
            file.write(piece.data)
            pages.reclaim(piece.ctypes.data, piece.nbytes)


def _write_columns(file: Any, rows: np.ndarray) -> None:
    """Write ``rows.T``: some of the rows at a time, each a part of every row of the file."""
    count, width = rows.shape
    file.flush()
    base, handle, size = file.tell(), file.fileno(), rows.itemsize
    step = max(1, PIECE_BYTES // (width * size))
    for start in range(0, count, step):
        part = rows[start : start + step]
        for place, segment in enumerate(np.ascontiguousarray(part.T).view(np.uint8)):
            written = os.pwrite(handle, segment.data, base + (place * count + start) * size)
            if written != segment.nbytes:
                raise OSError("a weight was not written as a whole")
        pages.reclaim(part.ctypes.data, part.nbytes)
    file.seek(base + rows.nbytes)
