"""Fully connected layers and matrix products."""

from __future__ import annotations

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads


@reads("FULLY_CONNECTED")
def fully_connected(c: Call) -> None:
    """Weights are [out, in]. Inputs of other ranks are flattened to [-1, in] unless ``keep_num_dims`` is set."""
    if c.opt("weights_format"):
        raise UnsupportedOp("weights in shuffled order")
    weights = c.shape(1)
    c.rank(1, 2)
    inner = weights[1]
    if not isinstance(inner, int) or inner < 1:
        raise UnsupportedOp("the shape of the weights is unknown")
    shape = c.shape(0)
    if len(shape) != 2 and c.opt("keep_num_dims"):
        if not shape or shape[-1] != inner:
            raise c.bad(f"an input of shape {shape} does not fit weights of shape {weights}")
        value = c.b.op("MatMul", [c.x(0), c.weight(1, "kernel", (1, 0))])
        bias = c.bias(2)
        c.out(c.activate(value if bias is None else c.b.op("Add", [value, bias])))
        return
    value = c.x(0) if len(shape) == 2 and shape[1] == inner else flatten(c, shape, inner)
    inputs = [value, c.weight(1, "kernel")]
    bias = c.bias(2)
    c.out(c.activate(c.b.op("Gemm", inputs if bias is None else [*inputs, bias], {"transB": 1})))


def flatten(c: Call, shape: list[int | str | None], inner: int) -> ir.Value:
    """Reshape to [-1, inner], keeping the batch's name where the first dimension stays what it is."""
    rest = 1
    for dim in shape[1:]:
        rest = rest * dim if isinstance(dim, int) else 0
    return c.reshape(c.x(0), [0 if shape and rest == inner else -1, inner])


@reads("BATCH_MATMUL")
def batch_matmul(c: Call) -> None:
    """``adj_x`` and ``adj_y`` swap the last two axes first."""
    c.hybrid(1)
    sides = []
    for number, flag in ((0, "adj_x"), (1, "adj_y")):
        rank = c.rank(number)
        if rank < 2:
            raise c.bad(f"input {number} has {rank} dimensions")
        perm = [*range(rank - 2), rank - 1, rank - 2]
        value = c.x(number)
        sides.append(c.b.op("Transpose", [value], {"perm": perm}) if c.opt(flag) else value)
    c.out(c.b.op("MatMul", sides))
