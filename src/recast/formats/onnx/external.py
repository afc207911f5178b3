"""External tensors of an ONNX file whose mapped pages are dropped after use."""

from __future__ import annotations

import mmap

import numpy as np
import onnx_ir as ir

from recast._util import pages


class Mapped(ir.ExternalTensor):
    """An external tensor that ``_util/pages.py`` knows of as soon as its file is mapped."""

    def numpy(self) -> np.ndarray:
        """See ``ir.ExternalTensor.numpy``."""
        array: np.ndarray = super().numpy()
        self._watch()
        return array

    def tobytes(self) -> bytes:
        """See ``ir.ExternalTensor.tobytes``."""
        data: bytes = super().tobytes()
        self._watch()
        return data

    def _watch(self) -> None:
        if isinstance(self.raw, mmap.mmap):
            pages.watch(self.raw)


def mapped(tensor: ir.ExternalTensor, folder: str) -> Mapped:
    """The same tensor, its file sought in ``folder``."""
    return Mapped(
        tensor.location,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        doc_string=tensor.doc_string,
        base_dir=folder,
    )
