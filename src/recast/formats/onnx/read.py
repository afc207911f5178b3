"""Read ``.onnx``: parse, check what it declares against what is there, bring it into the dialect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from recast._util.bounded import MAX_NODES, as_bad_model, check_size, element_count, inside, open_bytes
from recast.errors import BadModel, TooLarge
from recast.formats._format import ReadOptions
from recast.formats.onnx import sparse
from recast.formats.onnx.external import mapped
from recast.passes.normalise import normalise

_MAX_MESSAGE = 2**31 - 1


def read(path: Path, options: ReadOptions) -> ir.Model:
    """Read an ONNX file; large weights in external files stay memory-mapped.

    Raises:
        BadModel: the file is damaged, refers to values that do not exist, or its opset is older than 7.
        UnsafeModel: external data outside the model's folder.
        TooLarge: a tensor declares more data than there is.
    """
    data = open_bytes(path)
    if len(data) > _MAX_MESSAGE:
        raise TooLarge(
            "the file is over 2 GiB, more than a protobuf may be", str(path), "save it with external data (.onnx.data)"
        )
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data.tobytes() if len(data) < 1 << 20 else data)
    except Exception as error:  # protobuf raises DecodeError, RecursionError …
        raise as_bad_model(error, str(path)) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise BadModel("this is not an ONNX model: it has no graph or no opset", str(path), "export it again")
    _check_graph(proto.graph, path, set())
    try:
        sparse.densify(proto.graph, str(path))
        model = ir.from_proto(proto)
        _set_folder(model, path)
        return normalise(model, path.name)
    except Exception as error:
        raise as_bad_model(error, str(path)) from error


def _check_graph(graph: onnx.GraphProto, path: Path, outer: set[str]) -> None:
    if len(graph.node) > MAX_NODES:
        raise TooLarge(f"{len(graph.node)} nodes", str(path), f"at most {MAX_NODES} are read")
    known = outer | {v.name for v in graph.input} | {t.name for t in graph.initializer}
    known |= {t.values.name for t in graph.sparse_initializer}
    for tensor in _tensors(graph):
        _check_tensor(tensor, path)
    for node in graph.node:
        missing = [name for name in node.input if name and name not in known]
        if missing:
            raise BadModel(
                f"{node.op_type} uses '{missing[0]}', which nothing before it makes",
                f"{path}, node {node.name or node.op_type}",
                "the graph is damaged or not in order: export it again",
            )
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.type in (5, 10) else []:
                _check_graph(inner, path, known)
        known.update(name for name in node.output if name)
    lost = [v.name for v in graph.output if v.name not in known]
    if lost:
        raise BadModel(f"the output '{lost[0]}' is made by no node", str(path), "export the model again")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    where = f"{path}, tensor {tensor.name or '(unnamed)'}"
    count = element_count(tensor.dims, where)
    if tensor.data_type == onnx.TensorProto.STRING:
        return
    try:
        bits = round(ir.DataType(tensor.data_type).itemsize * 8)
    except (ValueError, TypeError) as error:
        raise BadModel(f"unknown element type {tensor.data_type}", where, "the file is damaged") from error
    size = (count * bits + 7) // 8
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, size, path, where)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size:
            check_size(size, len(tensor.raw_data), where)
            raise BadModel(f"{len(tensor.raw_data)} bytes for a tensor of {size}", where, "export the model again")
    else:
        fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
        check_size(count, 2 * max(len(f) for f in fields), where)


def _check_external(tensor: onnx.TensorProto, size: int, path: Path, where: str) -> None:
    entries = {e.key: e.value for e in tensor.external_data}
    file = inside(path.parent, entries.get("location", ""), where)
    if not file.is_file():
        raise BadModel(f"the external data file '{file.name}' is missing", where, "copy it beside the model")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size))
    except ValueError as error:
        raise BadModel("offset or length of external data is no number", where, "export the model again") from error
    if offset < 0 or length != size:
        raise BadModel(f"external data of {length} bytes for a tensor of {size}", where, "export the model again")
    check_size(offset + length, file.stat().st_size, where)


def _set_folder(model: ir.Model, path: Path) -> None:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = mapped(value.const_value, str(path.parent.resolve()))
