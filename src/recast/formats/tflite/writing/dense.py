"""Matrix products: FULLY_CONNECTED where one side is a constant matrix, else BATCH_MATMUL."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.constants import Weight
from recast.formats.tflite.writing.conv import is_dynamic, weight_tensor
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.formats.tflite.writing.weights import bias_tensor, constant_operand
from recast.graph import view


@writes("Gemm")
def gemm(w: Emitter, node: ir.Node) -> None:
    """``alpha * A' B' + beta * C``."""
    a, b = node.inputs[0], node.inputs[1]
    c = node.inputs[2] if len(node.inputs) > 2 else None
    assert a is not None
    assert b is not None
    alpha, beta = float(view.attr(node, "alpha", 1.0)), float(view.attr(node, "beta", 1.0))
    weight = constant_operand(w, b)
    bias = constant_operand(w, c)
    outputs = dims_of(node.outputs[0])[-1]
    plain_bias = c is None or (bias is not None and bias.shape in ((outputs,), (1, outputs)) and beta == 1.0)
    if weight is not None and plain_bias and alpha == 1.0 and not view.attr(node, "transA", 0):
        oriented = weight if view.attr(node, "transB", 0) else weight.transpose((1, 0))
        fully_connected(w, node, oriented, c, node.outputs[0])
        return
    _general_gemm(w, node, (alpha, beta))


def _general_gemm(w: Emitter, node: ir.Node, factors: tuple[float, float]) -> None:
    a, b, *rest = node.inputs
    alpha, beta = factors
    out = w.put(node.outputs[0])
    product = out
    has_c = bool(rest) and rest[0] is not None
    steps = (alpha != 1.0) + has_c
    if steps:
        product = w.temp(out)
    options = {"adj_x": bool(view.attr(node, "transA", 0)), "adj_y": bool(view.attr(node, "transB", 0))}
    w.op("BATCH_MATMUL", [w.take(a), w.take(b)], [product], ("BatchMatMulOptions", options))
    if alpha != 1.0:
        scaled = w.temp(out) if has_c else out
        w.op("MUL", [product, w.number(alpha)], [scaled], ("MulOptions", {}))
        product = scaled
    if has_c:
        added = w.take(rest[0])
        if beta != 1.0:
            added = w.then("MUL", [added, w.number(beta)], None, ("MulOptions", {}))
        w.op("ADD", [product, added], [out], ("AddOptions", {}))


@writes("MatMul")
def matmul(w: Emitter, node: ir.Node) -> None:
    """FULLY_CONNECTED with the bias of a following Add, or BATCH_MATMUL."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    left, right = len(dims_of(a)), len(dims_of(b))
    weight = constant_operand(w, b)
    if weight is not None and right == 2 and left >= 2 and weight.type != "INT32":
        bias, result, follower = _following_bias(w, node)
        if follower is not None:
            w.done.add(follower)
        fully_connected(w, node, weight.transpose((1, 0)), bias, result)
        return
    site = w.site(node)
    x, y = site.inputs
    if left == 1:
        x = w.reshape(x, (1, w.shape(x)[0]))
    if right == 1:
        y = w.reshape(y, (w.shape(y)[0], 1))
    out = site.output
    if left == 1 or right == 1:
        dims = list(w.shape(out))
        if right == 1:
            dims.append(1)
        if left == 1:
            dims.insert(len(dims) - 1, 1)
        out = w.temp(out, dims)
    w.op("BATCH_MATMUL", [x, y], [out], ("BatchMatMulOptions", {}))
    if out != site.output:
        w.reshape(out, w.shape(site.output), site.output)


def _following_bias(w: Emitter, node: ir.Node) -> tuple[ir.Value | None, ir.Value, ir.Node | None]:
    """The constant that alone is added to a product, the sum and its node."""
    result = node.outputs[0]
    follower = view.sole_consumer(result)
    if follower is None or follower.op_type != "Add" or follower.domain:
        return None, result, None
    other = follower.inputs[1] if follower.inputs[0] is result else follower.inputs[0]
    held = constant_operand(w, other)
    width = dims_of(result)[-1]
    if other is result or held is None or held.shape[-1:] != (width,) or np.prod(held.shape) != width:
        return None, result, None
    if len(held.shape) > len(dims_of(result)) or held.type not in ("FLOAT32", "FLOAT16", "INT32"):
        return None, result, None
    return other, follower.outputs[0], follower


def fully_connected(w: Emitter, node: ir.Node, weight: Weight, bias: ir.Value | None, result: ir.Value) -> None:
    """``x W^T + b`` with W [out, in]; a reshape that only flattens x to (N, in) is left out."""
    x = node.inputs[0]
    assert x is not None
    if weight.type not in ("FLOAT32", "FLOAT16", "INT8", "UINT8", "INT16", "INT4"):
        raise Refused(f"weights of type {weight.type}")
    quant = weight.quant
    site = w.site(node, [x], fuse=True, fits=lambda _, __: quant is not None, result=result)
    rank = len(w.shape(site.inputs[0]))
    filters = weight_tensor(w, weight, site, node.inputs[1], is_dynamic(node))
    biases = bias_tensor(w, bias, weight.shape[0], (site.inputs[0], filters), site)
    options = {"keep_num_dims": rank > 2, **site.options}
    w.op(
        "FULLY_CONNECTED",
        [site.inputs[0], filters, biases],
        [site.output],
        ("FullyConnectedOptions", options),
    )
