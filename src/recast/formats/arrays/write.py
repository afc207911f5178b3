"""Write safetensors (streamed), ``.npz`` and ``.npy``."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast._util import pages
from recast.errors import BadRecipe, UnsupportedType
from recast.formats._format import Artifact, Finding
from recast.formats.arrays import packed
from recast.formats.arrays.read import SAFETENSORS_TYPES

_DEFLATED = 0.9  # of an array may be non-zero
_NAMES = {dtype: name for name, dtype in SAFETENSORS_TYPES.items()}


def write(model: ir.Model, path: Path, sparse: bool = False) -> Artifact:
    """Write the initializers; with ``sparse`` those with many zeros packed (``.npz``: deflated).

    bfloat16 in ``.npz``/``.npy`` is stored as NumPy's 2-byte void type.

    Raises:
        BadRecipe: ``.npy`` holds one tensor, the model has another number.
        UnsupportedType: an element type that the container has no name for.
    """
    tensors = {n: v.const_value for n, v in model.graph.initializers.items() if v.const_value is not None}
    findings: tuple[Finding, ...] = ()
    if len(model.graph):
        findings = (Finding("only the weights were written: this format holds no graph", str(path.name), "warning"),)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, tensor in tensors.items():
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                array = np.asanyarray(tensor.numpy())
                if sparse and array.size and np.count_nonzero(array) <= _DEFLATED * array.size:
                    info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
                pages.used(array.nbytes)
    elif path.suffix == ".npy":
        if len(tensors) != 1:
            raise BadRecipe(
                f".npy holds one tensor, this model has {len(tensors)}", str(path), "write .npz or .safetensors"
            )
        with open(path, "wb") as file:
            np.lib.format.write_array(file, np.asanyarray(next(iter(tensors.values())).numpy()), allow_pickle=False)
    else:
        held, metadata = packed.pack(tensors) if sparse else (tensors, {})
        _safetensors(held, path, metadata)
    return Artifact((path,), findings)


def _safetensors(tensors: dict[str, ir.TensorProtocol], path: Path, metadata: dict[str, str]) -> None:
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise UnsupportedType(f"element type {tensor.dtype.name}", f"tensor {name}", "safetensors has no such type")
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": [int(d) for d in tensor.shape.numpy()],
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
            pages.used(tensor.nbytes)
