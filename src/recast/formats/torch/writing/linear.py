"""Matrix products: nn.Linear where one side is a weight."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import writes
from recast.formats.torch.writing._emitter import Emitter, Weight
from recast.formats.torch.writing._literals import number
from recast.formats.torch.writing._types import FLOATS
from recast.formats.torch.writing.convolution import dtype_option, plain, transposed
from recast.graph import view


@writes("Gemm")
def gemm(e: Emitter, node: ir.Node) -> str:
    alpha, beta = view.attr(node, "alpha", 1.0), view.attr(node, "beta", 1.0)
    flip_a, flip_b = view.attr(node, "transA", 0), view.attr(node, "transB", 0)
    matrix, bias = node.inputs[1], e.value(node, 2)
    x = e.x(node) + (".T" if flip_a else "")
    shape = view.static_shape(matrix) if matrix is not None else None
    if matrix is not None and shape and plain(matrix) and matrix.dtype in FLOATS and alpha == 1.0:
        features = shape if flip_b else shape[::-1]
        owned = bias is None or (
            beta == 1.0 and plain(bias) and view.static_shape(bias) in ((features[0],), (1, features[0]))
        )
        if owned:
            return _linear(e, node, (matrix, features, not flip_b), bias, x)
    product = f"{x} @ {e.x(node, 1)}{'.T' if flip_b else ''}"
    if alpha != 1.0:
        product = f"{number(alpha)} * ({product})"
    if bias is None:
        return product
    term = e.operand(node, 2)
    return f"{product} + {term}" if beta == 1.0 else f"{product} + {number(beta)} * {term}"


def _linear(
    e: Emitter, node: ir.Node, matrix: tuple[ir.Value, tuple[int, ...], bool], bias: ir.Value | None, x: str
) -> str:
    value, (out_features, in_features), flip = matrix
    weights = {"weight": Weight(value, (out_features, in_features), transposed if flip else None)}
    if bias is not None:
        weights["bias"] = Weight(bias, (out_features,))
    extra = ("" if bias is not None else ", bias=False") + dtype_option(e, node)
    return f"{e.module(node, f'nn.Linear({in_features}, {out_features}{extra})', weights)}({x})"


@writes("MatMul")
def matmul(e: Emitter, node: ir.Node) -> str | None:
    x, matrix = node.inputs[0], node.inputs[1]
    shape = view.static_shape(matrix) if matrix is not None else None
    if x is None or matrix is None or shape is None or len(shape) != 2 or not plain(matrix) or plain(x):
        return _product(e, node)
    if matrix.dtype not in FLOATS:
        return _product(e, node)
    wanted = (matrix, shape[::-1], True)
    after = view.sole_consumer(node.outputs[0])
    if after is None or after.op_type != "Add" or after.domain or after.graph is not node.graph:
        return _linear(e, node, wanted, None, e.x(node))
    bias = after.inputs[1] if after.inputs[0] is node.outputs[0] else after.inputs[0]
    if bias is None or not plain(bias) or view.static_shape(bias) != (shape[1],):
        return _linear(e, node, wanted, None, e.x(node))
    code = _linear(e, node, wanted, bias, e.x(node))
    e.emit(f"{e.new(after.outputs[0])} = {code}")
    e.done.add(after)
    return None


def _product(e: Emitter, node: ir.Node) -> str:
    a, b = e.x(node), e.x(node, 1)
    value = node.inputs[0]
    if value is not None and value.dtype not in FLOATS:
        # PyTorch multiplies integer matrices on CPU only; the unsigned ones need a wider type
        kind = e.dtype(node.outputs[0])
        return f"({a}.to(torch.int64) @ {b}.to(torch.int64)).to({kind})"
    return f"{a} @ {b}"


@writes("MatMulInteger")
def matmul_integer(e: Emitter, node: ir.Node) -> str:
    points = f"{e.optional(node, 2)}, {e.optional(node, 3)}"
    return f"{e.helper('matmul_integer')}({e.x(node)}, {e.x(node, 1)}, {points})"


@writes("Einsum")
def einsum(e: Emitter, node: ir.Node) -> str:
    equation = "".join(c for c in view.attr(node, "equation") if c.isalpha() or c in ",->.").replace(" ", "")
    return f"torch.einsum({ascii(equation)}, {', '.join(e.xs(node))})"


@writes("Det")
def det(e: Emitter, node: ir.Node) -> str:
    return f"torch.linalg.det({e.x(node)})"
