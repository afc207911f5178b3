"""Matrix products."""

from __future__ import annotations

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Held

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


@reads("MatMul")
def matmul(c: Call) -> None:
    """Two matrices; a constant second one makes a dense layer (Gemm), with the bias that follows."""
    if c.flag("a_is_sparse") or c.flag("b_is_sparse"):
        raise UnsupportedOp("sparse matrices")
    left, right = c.flag("transpose_a"), c.flag("transpose_b")
    c.rank(0, 2)
    c.rank(1, 2)
    if isinstance(c.thing(1), Held) and not left and c.dtype(0) in _FLOATS:
        bias = c.bias()
        inputs = [c.x(0), c.weight(1, "kernel"), *([bias] if bias is not None else [])]
        c.out(c.op("Gemm", inputs, transB=1 if right else None))
        return
    c.out(c.op("MatMul", [_turned(c, 0, left), _turned(c, 1, right)]))


@reads("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(c: Call) -> None:
    """Matrices in the last two axes."""
    if c.kind == "BatchMatMulV3" and c.attr("Tout", c.attr("Ta", 1)) != c.attr("Ta", 1):
        raise UnsupportedOp("a product of another type than its inputs")
    c.out(c.op("MatMul", [_turned(c, 0, c.flag("adj_x")), _turned(c, 1, c.flag("adj_y"))]))


def _turned(c: Call, number: int, turn: bool) -> ir.Value:
    rank = c.rank(number)
    if rank < 2:
        raise c.bad(f"input {number} is no matrix")
    perm = [*range(rank - 2), rank - 1, rank - 2] if turn else None
    if isinstance(c.thing(number), Held):
        return c.weight(number, "kernel", perm)
    return c.x(number) if perm is None else c.op("Transpose", [c.x(number)], perm=perm)


@reads("Einsum")
def einsum(c: Call) -> None:
    """The same notation in ONNX."""
    equation = str(c.attr("equation", "")).replace(" ", "")
    inputs = [c.weight(i, "kernel") if isinstance(c.thing(i), Held) else c.x(i) for i in range(c.count)]
    c.out(c.op("Einsum", inputs, equation=equation))


@reads("_FusedMatMul")
def fused_matmul(c: Call) -> None:
    """What TensorFlow's optimiser makes of a dense layer: the product, a bias, an activation."""
    c.rank(0, 2)
    if c.flag("transpose_a"):
        raise UnsupportedOp("a transposed first matrix")
    steps = c.attr("fused_ops", [])
    bias = c.weight(2, "bias") if steps[:1] == ["BiasAdd"] else None
    inputs = [c.x(0), c.weight(1, "kernel"), *([bias] if bias is not None else [])]
    value = c.op("Gemm", inputs, transB=1 if c.flag("transpose_b") else None)
    c.out(activated(c, value, steps[1:] if bias is not None else steps))


def activated(c: Call, value: ir.Value, steps: list[str]) -> ir.Value:
    """A fused activation as a node of its own.

    Raises:
        UnsupportedOp: it is unknown.
    """
    for step in steps:
        if step in ("Relu", "Elu", "Tanh", "Sigmoid"):
            value = c.op(step, [value])
        elif step == "Relu6":
            value = c.op("Clip", [value, c.ones(value, 0), c.ones(value, 6)])
        elif step == "LeakyRelu":
            value = c.op("LeakyRelu", [value], alpha=float(c.attr("leakyrelu_alpha", 0.2)))
        else:
            raise UnsupportedOp(f"fused {step}")
    return value
