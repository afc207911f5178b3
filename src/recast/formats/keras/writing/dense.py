"""Matrix products: Dense layers where one side is a weight, else operations."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import writes
from recast.formats.keras.writing._constants import Const
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Tensor, Weight
from recast.formats.keras.writing._typed import cast, compute, wide, working_type
from recast.formats.keras.writing.activation import fused, with_activation
from recast.graph import view


def _dense(
    ctx: Context, node: ir.Node, last: ir.Node, x: Tensor, parts: tuple[Const, bool, float, Const | None, float]
) -> None:
    """Add a Dense layer for ``node`` … ``last`` with kernel (transposed?, times alpha) and bias (times beta)."""
    kernel, transposed, alpha, bias, beta = parts
    units = kernel.shape[0] if transposed else kernel.shape[1]

    def load_kernel() -> np.ndarray:
        array = kernel.load()
        array = array.T if transposed else array
        return np.ascontiguousarray(array if alpha == 1 else (array * alpha).astype(array.dtype))

    weights = [Weight("kernel", load_kernel)]
    if bias is not None:
        held = bias

        def load_bias() -> np.ndarray:
            array = np.broadcast_to(held.load().reshape(-1), (units,))
            return np.ascontiguousarray(array if beta == 1 else (array * beta).astype(array.dtype))

        weights.append(Weight("bias", load_bias))
    name, out = fused(ctx, last)
    config = with_activation({"units": units, "use_bias": bias is not None}, name)
    key = (kernel.key, transposed, alpha, None if bias is None else (bias.key, beta))
    ctx.bind(out, ctx.layer(node, "Dense", config, [x], weights=weights, key=key))


def _row(const: Const | None, units: int) -> bool:
    """Whether a constant is one number per unit."""
    return const is not None and const.is_float and const.size == units and const.shape[-1:] == (units,)


@writes("Gemm")
def gemm(ctx: Context, node: ir.Node) -> None:
    """``alpha · x · W + beta · c`` with a constant W."""
    kernel = ctx.const(node.inputs[1])
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = ctx.const(bias_value)
    alpha, beta = view.attr(node, "alpha", 1.0), view.attr(node, "beta", 1.0)
    transposed = bool(view.attr(node, "transB", 0))
    x = ctx.tensor(node.inputs[0])
    if view.attr(node, "transA", 0):
        x = ctx.op(node, "numpy.Transpose", [x], {"axes": [1, 0]}, shape=x.shape[::-1], suffix="transpose")
    if kernel is not None and (bias_value is None or bias is not None) and kernel.is_float:
        units = kernel.shape[0] if transposed else kernel.shape[1]
        if bias is None or _row(bias, units) or bias.size == 1:
            _dense(ctx, node, node, x, (kernel, transposed, alpha, bias, beta))
            return
    b = ctx.tensor(node.inputs[1])
    if transposed:
        b = ctx.op(node, "numpy.Transpose", [b], {"axes": [1, 0]}, shape=b.shape[::-1], suffix="transpose")
    y = ctx.op(node, "numpy.Matmul", [x, b])
    if alpha != 1:
        y = ctx.op(node, "numpy.Multiply", [y, alpha], suffix="alpha")
    if bias_value is not None:
        c = ctx.operand(bias_value)
        c = c if beta == 1 else ctx.op(node, "numpy.Multiply", [c, beta], suffix="beta")
        y = ctx.op(node, "numpy.Add", [y, c], suffix="add")
    ctx.bind(node.outputs[0], y)


@writes("MatMul")
def matmul(ctx: Context, node: ir.Node) -> None:
    """Dense for a constant matrix on the right (with the bias that is added next), else an operation."""
    kernel = ctx.const(node.inputs[1])
    first = ctx.const(node.inputs[0])
    out = node.outputs[0]
    if kernel is None or first is not None or len(kernel.shape) != 2 or not kernel.is_float:
        ctx.bind(out, _product(ctx, node))
        return
    x = ctx.tensor(node.inputs[0])
    if len(x.shape) < 2:
        ctx.bind(out, _product(ctx, node))
        return
    last, bias = ctx.added_row(node, kernel.shape[1])
    if bias is None and _split_bias(ctx, node, x, kernel):
        return
    _dense(ctx, node, last, x, (kernel, False, 1.0, bias, 1.0))


def _product(ctx: Context, node: ir.Node) -> Tensor:
    """Matmul of two tensors; halves are summed in float32, integers of few bits in int32."""
    dtype = keras_dtype(node.outputs[0])
    work = wide(working_type(dtype))
    sides = [cast(ctx, node, ctx.tensor(v), work) for v in node.inputs]
    return compute(ctx, node, "numpy.Matmul", sides, gives="int32" if work == "int8" else work)


def _split_bias(ctx: Context, node: ir.Node, x: Tensor, kernel: Const) -> bool:
    """Attention heads: product, split of the last axis, bias per head. The bias goes into the Dense instead."""
    split = ctx.follower(node.outputs[0], "Reshape")
    add = None if split is None else ctx.follower(split.outputs[0], "Add")
    if split is None or add is None:
        return False
    lead, target = keras_shape(node.outputs[0])[:-1], keras_shape(split.outputs[0])
    others = [v for v in add.inputs if v is not split.outputs[0]]
    bias = ctx.const(others[0]) if len(others) == 1 else None
    tail = target[len(lead) :]
    if bias is None or not bias.is_float or bias.shape != tail or target[: len(lead)] != lead:
        return False
    if sum(n is None for n in target) > 2 or keras_shape(add.outputs[0]) != target or bias.size != kernel.shape[1]:
        return False
    ctx.claim(split)
    ctx.claim(add)
    weights = [
        Weight("kernel", lambda: np.ascontiguousarray(kernel.load())),
        Weight("bias", lambda: bias.load().reshape(-1)),
    ]
    config = {"units": kernel.shape[1], "use_bias": True}
    y = ctx.layer(node, "Dense", config, [x], weights=weights, key=(kernel.key, bias.key))
    inner = {"target_shape": [-1 if n is None else n for n in target[1:]]}
    ctx.bind(add.outputs[0], ctx.layer(split, "Reshape", inner, [y], shape=target))
    return True


@writes("Einsum")
def einsum(ctx: Context, node: ir.Node) -> None:
    """Einstein summation of tensors and constants."""
    equation = view.attr(node, "equation").replace(" ", "")
    if _einsum_dense(ctx, node, equation):
        return
    if "->" not in equation:
        letters = equation.replace(",", "").replace("...", "")
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        equation += f"->{'...' if '...' in equation else ''}{''.join(once)}"
    arguments = [ctx.tensor(v) for v in node.inputs]
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Einsum", arguments, {"subscripts": equation}))


def _einsum_dense(ctx: Context, node: ir.Node, equation: str) -> bool:
    """A tensor times a constant is Keras's EinsumDense, with the last axis's bias and activation."""
    found = ctx.const(node.inputs[1]) if len(node.inputs) == 2 else None
    out = keras_shape(node.outputs[0])
    left, _, right = equation.partition("->")
    first, _, second = left.partition(",")
    plain = bool(right) and "." not in equation and len(set(second)) == len(second)
    if found is None or not found.is_float or not plain or ctx.const(node.inputs[0]) is not None:
        return False
    if first[:1] != right[:1] or right[0] in second or any(n is None for n in out[1:]) or not second:
        return False
    if any(letter not in first + right for letter in second) or any(letter not in left for letter in right):
        return False
    units = out[-1]
    last, bias = (node, None) if units is None else ctx.added_row(node, units)
    name, value = fused(ctx, last)
    axes = None if bias is None else right[-1]
    config = with_activation({"equation": equation, "output_shape": list(out[1:]), "bias_axes": axes}, name)
    weights = [Weight("kernel", found.load)]
    if bias is not None:
        held = bias
        weights.append(Weight("bias", lambda: held.load().reshape(-1)))
    key = (found.key, None if bias is None else bias.key)
    layer = ctx.layer(node, "EinsumDense", config, [ctx.tensor(node.inputs[0])], weights=weights, key=key)
    ctx.bind(value, layer)
    return True


@writes("Gather")
def gather(ctx: Context, node: ir.Node) -> None:
    """Embedding for rows of a constant table, else Take."""
    table, axis = ctx.const(node.inputs[0]), view.attr(node, "axis", 0)
    out = node.outputs[0]
    if table is not None and table.is_float and len(table.shape) == 2 and axis % 2 == 0:
        ids = ctx.tensor(node.inputs[1])
        weight = Weight("embeddings", table.load)
        config = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
        ctx.bind(out, ctx.layer(node, "Embedding", config, [ids], weights=[weight], key=table.key))
        return
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    indices = ctx.const(node.inputs[1])
    if indices is not None and indices.size == 1 and not indices.shape:
        index = int(indices.load())
        ctx.bind(out, ctx.op(node, "numpy.Take", [x, index], {"axis": axis % rank}))
        return
    ctx.bind(out, ctx.op(node, "numpy.Take", [x, ctx.operand(node.inputs[1])], {"axis": axis % rank}))
