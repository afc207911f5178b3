"""Weights with many zeros: two packed forms that stock ONNX Runtime unpacks once, when it loads the file.

* **sparse initializer** (``GraphProto.sparse_initializer``): values and 64-bit linear indices: 8 bytes an index, so it
  is the smaller one where nearly everything is zero.
* **bitmap**: one bit an element and the values that are not zero, unpacked by constant operators::

      BitwiseAnd(bytes[n/8, 1], [1, 2, 4 … 128]) → Cast(bool) → Cast(int32) → Reshape([-1]) → Slice([0, n])
      place = m * CumSum(m) → Reshape(shape) → Gather([0, value 1, value 2 …], place)

docs/reference/sparse.md has the arithmetic of their sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from recast._util.bounded import element_count
from recast.errors import BadModel, TooLarge
from recast.passes._editor import Editor, drop_initializer

SMALLEST = 512  # elements below which nothing is gained
_NODES_BYTES = 900  # what the bitmap's nodes and small constants take in the file
_RATIO = 1032  # dense bytes for one stored byte, the most that is unpacked (as much as deflate can)
_ALWAYS = 64 << 20  # dense bytes that are unpacked without asking
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT8)
_INDICES = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8)


class Sparse(NamedTuple):
    """A sparse initializer: the name, the dense shape, linear indices (int64, ascending) and their values."""

    name: str
    shape: tuple[int, ...]
    indices: np.ndarray
    values: np.ndarray

    def proto(self) -> onnx.SparseTensorProto:
        """As ONNX stores it."""
        return onnx.SparseTensorProto(
            values=onnx.numpy_helper.from_array(self.values, self.name),
            indices=onnx.numpy_helper.from_array(self.indices, ""),
            dims=self.shape,
        )


def pack(model: ir.Model) -> list[Sparse]:
    """Pack the initializers of the main graph for which that is smaller (the graph is changed).

    Returns:
        Those that are to be written as sparse initializers; they are no initializers of the graph any more.
    """
    graph, found = model.graph, []
    editor = Editor(graph)
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype not in _TYPES or tensor.size < SMALLEST or value.is_graph_output():
            continue
        if value.is_graph_input():
            continue
        array = tensor.numpy()
        count, width = int(np.count_nonzero(array)), array.itemsize
        packed = count * width + -(-array.size // 8) + _NODES_BYTES
        listed = count * (width + 8) + 64
        if min(packed, listed) >= array.nbytes:
            continue
        if listed < packed:
            indices = np.flatnonzero(array)
            found.append(Sparse(name, array.shape, indices.astype(np.int64), array.reshape(-1)[indices]))
            graph.initializers.pop(name)
        else:
            _bitmap(editor, value, array)
    return found


def _bitmap(editor: Editor, value: ir.Value, array: np.ndarray) -> None:
    first = next(iter(editor.graph))
    flat = np.ascontiguousarray(array).reshape(-1)
    there = flat != 0
    name = value.name or "weight"
    bits = editor.weight(f"{name}/bits", np.packbits(there, bitorder="little")[:, None])
    values = editor.weight(f"{name}/values", np.concatenate([np.zeros(1, flat.dtype), flat[there]]))
    masks = editor.const((1 << np.arange(8)).astype(np.uint8), "bits")
    one = editor.node(
        "Cast", [editor.node("BitwiseAnd", [bits, masks], {}, first)], {"to": int(ir.DataType.BOOL)}, first
    )
    one = editor.node("Cast", [one], {"to": int(ir.DataType.INT32)}, first)
    one = editor.node("Reshape", [one, editor.const([-1], "flat")], {}, first)
    if flat.size % 8:
        ends = editor.const([0], "start"), editor.const([flat.size], "end")
        one = editor.node("Slice", [one, *ends], {}, first)
    count = editor.node("CumSum", [one, editor.const(0, "axis")], {}, first)
    place = editor.node("Mul", [one, count], {}, first)
    place = editor.node("Reshape", [place, editor.const(array.shape, "shape")], {}, first)
    result = editor.node("Gather", [values, place], {"axis": 0}, first)
    result.type, result.shape = value.type, value.shape
    for use in list(value.uses()):
        use.node.replace_input_with(use.idx, result)
    drop_initializer(editor.graph, value)


def densify(graph: onnx.GraphProto, where: str) -> None:
    """Turn the sparse initializers of a graph and its sub-graphs into plain ones, in place.

    Raises:
        BadModel, TooLarge: they contradict themselves, or declare far more than they hold.
    """
    for tensor in graph.sparse_initializer:
        graph.initializer.append(_dense(tensor, f"{where}, tensor {tensor.values.name or '(unnamed)'}"))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.type in (5, 10) else []:
                densify(inner, where)


def _dense(tensor: onnx.SparseTensorProto, where: str) -> onnx.TensorProto:
    external = onnx.TensorProto.EXTERNAL
    if tensor.indices.data_type not in map(int, _INDICES) or external in (
        tensor.values.data_location,
        tensor.indices.data_location,
    ):
        raise BadModel("a sparse tensor with external data or indices that are no integers", where, "store it dense")
    size = element_count(tensor.dims, where)
    values = onnx.numpy_helper.to_array(tensor.values).reshape(-1)
    if size * values.itemsize > max(_ALWAYS, _RATIO * tensor.ByteSize()):
        raise TooLarge(f"a sparse tensor of {size} elements that holds {values.size}", where, "store it dense")
    indices = onnx.numpy_helper.to_array(tensor.indices).astype(np.int64)
    shape = tuple(tensor.dims)
    if indices.ndim == 2 and indices.shape[1] == len(shape):
        if ((indices < 0) | (indices >= np.array(shape))).any():
            raise BadModel("an index of the sparse tensor lies outside its shape", where, "export the model again")
        indices = np.ravel_multi_index(tuple(indices.T), shape) if len(indices) else indices.reshape(-1)
    if indices.shape != values.shape or ((indices < 0) | (indices >= size)).any():
        raise BadModel("the indices of the sparse tensor do not fit it", where, "export the model again")
    dense = np.zeros(size, values.dtype)
    dense[indices] = values
    return onnx.numpy_helper.from_array(dense.reshape(shape), tensor.values.name)
