"""Write ``.onnx``: weights are streamed one tensor at a time, so memory follows the largest tensor.

A model whose message would pass protobuf's 2 GiB goes out with ``<name>.data`` beside it, as ONNX's external data.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir
from onnx import version_converter

from recast._util import pages
from recast.errors import BadRecipe
from recast.formats._format import Artifact, WriteOptions
from recast.formats.onnx import sparse
from recast.graph import IR_VERSION, OPSET
from recast.graph.opsets import needed
from recast.passes.normalise import OLDEST_OPSET, proto_without_weights

_Named = list[tuple[str, ir.TensorProtocol]]

_INLINE_LIMIT = 1_900_000_000
_ALIGN = 4096
_BUFFERED_BYTES = 1 << 16  # smaller tensors go through the file's buffer: ``tofile`` flushes it every time
_GRAPH_FIELD = b"\x3a"  # ModelProto.graph: field 7, length-delimited
_INITIALIZER_FIELD = b"\x2a"  # GraphProto.initializer: field 5
_RAW_DATA_FIELD = b"\x4a"  # TensorProto.raw_data: field 9


def write(model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
    """Write the model; see ``Format.write``.

    Raises:
        BadRecipe: the wanted opset cannot express the model.
    """
    listed = sparse.pack(model) if options.sparse else []
    tensors = [(n, v.const_value) for n, v in model.graph.initializers.items() if v.const_value is not None]
    own = _own_opset(model)
    opset = options.opset or own
    proto = _other(model, opset, own) if opset != own else proto_without_weights(model)
    proto.graph.sparse_initializer.extend(s.proto() for s in listed)
    sizes = [t.nbytes for _, t in tensors]
    if sum(sizes) <= _INLINE_LIMIT:
        _write_inline(proto, tensors, sizes, path)
        return Artifact((path,))
    data = path.with_name(path.name + ".data")
    _write_external(proto, tensors, path, data)
    return Artifact((path, data))


def _own_opset(model: ir.Model) -> int:
    """The dialect's opset, or a newer one that an operator needs."""
    if model.opset_imports.get("", OPSET) > OPSET:
        model.opset_imports[""] = max(map(needed, model.graph.all_nodes()), default=OPSET)
        least: int = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", model.opset_imports[""])])
        model.ir_version = max(IR_VERSION, least)
    return model.opset_imports.get("", OPSET)


def _other(model: ir.Model, opset: int, own: int) -> onnx.ModelProto:
    if not OLDEST_OPSET <= opset <= own:
        raise BadRecipe(f"opset {opset} is not between {OLDEST_OPSET} and {own}", fix="choose one in that range")
    proto = ir.to_proto(model)
    kept = {t.name for t in proto.graph.initializer}
    try:
        converted = version_converter.convert_version(proto, opset)
    except Exception as error:
        raise BadRecipe(
            f"ONNX cannot bring this model down to opset {opset}: {str(error)[:300]}", fix="leave --opset out"
        ) from error
    for tensor in [t for t in converted.graph.initializer if t.name in kept]:
        converted.graph.initializer.remove(tensor)
    return converted


def _header(name: str, tensor: ir.TensorProtocol) -> onnx.TensorProto:
    return onnx.TensorProto(dims=tensor.shape.numpy(), data_type=int(tensor.dtype), name=name)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _write_inline(proto: onnx.ModelProto, tensors: _Named, sizes: list[int], path: Path) -> None:
    heads = []
    for (name, tensor), size in zip(tensors, sizes, strict=True):
        head = _header(name, tensor).SerializeToString() + _RAW_DATA_FIELD + _varint(size)
        heads.append(_INITIALIZER_FIELD + _varint(len(head) + size) + head)
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    length = len(graph) + sum(map(len, heads)) + sum(sizes)
    with open(path, "wb") as file:
        file.write(proto.SerializeToString())
        file.write(_GRAPH_FIELD + _varint(length) + graph)
        for head, (_, tensor), size in zip(heads, tensors, sizes, strict=True):
            file.write(head)
            _write_tensor(tensor, size, file)


def _write_tensor(tensor: ir.TensorProtocol, size: int, file: BinaryIO) -> None:
    if hasattr(tensor, "tofile") and size > _BUFFERED_BYTES:
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    pages.used(size)


def _write_external(proto: onnx.ModelProto, tensors: _Named, path: Path, data: Path) -> None:
    with open(data, "wb") as file:
        for name, tensor in tensors:
            file.seek(-file.tell() % _ALIGN, 1)
            entry = _header(name, tensor)
            entry.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", data.name), ("offset", file.tell()), ("length", tensor.nbytes)):
                entry.external_data.add(key=key, value=str(value))
            proto.graph.initializer.append(entry)
            _write_tensor(tensor, tensor.nbytes, file)
    path.write_bytes(proto.SerializeToString())
