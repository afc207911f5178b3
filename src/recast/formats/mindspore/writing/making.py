"""Tensors made of numbers: constants, ranges, filled shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.graph.view import attr, const

T = ir.DataType
_LONGEST = 1 << 20  # MindSpore's Range wants a limit


@writes("Constant")
def constant(w: Writer, node: ir.Node) -> None:
    array = const(node.outputs[0])
    if array is None:
        raise Refusal("it holds no tensor")
    w.bind(node.outputs[0], w.constant(array))


@writes("ConstantOfShape")
def constant_of_shape(w: Writer, node: ir.Node) -> None:
    shape, value = value_of(node), attr(node, "value")
    fill = np.zeros((), np.float32) if value is None else value.numpy().reshape(())
    known = const(shape)
    if known is None:
        w.bind(node.outputs[0], w.fn("FillV2", shape, fill))
    else:
        w.bind(node.outputs[0], w.constant(np.full(known.reshape(-1).tolist(), fill, fill.dtype)))


@writes("Range")
def range_(w: Writer, node: ir.Node) -> None:
    values, dtype = [const(v) for v in node.inputs], dtype_of(node.outputs[0])
    if all(v is not None for v in values):
        start, limit, delta = (np.asarray(v).reshape(()).item() for v in values)
        w.bind(node.outputs[0], w.constant(np.arange(start, limit, delta, dtype=dtype.numpy())))
        return
    wide = {T.INT16: T.INT32, T.FLOAT16: T.FLOAT}.get(dtype, dtype)
    held = [w.ref(value_of(node, i)) for i in range(3)]
    if wide != dtype:
        held = [w.cast(v, wide) for v in held]
    made = w.fn("Range", *(w.fn("TensorToScalar", v) for v in held), _LONGEST)
    w.bind(node.outputs[0], made if wide == dtype else w.cast(made, dtype))
