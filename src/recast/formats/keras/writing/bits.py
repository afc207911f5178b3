"""Shifts of bits, and bits read as another type."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype
from recast.formats.keras.writing._network import array_literal
from recast.formats.keras.writing._typed import cast, compute
from recast.graph import view

_REST = array_literal(np.array(2**63 - 1, np.int64))  # all bits but the top one


@writes("BitShift")
def bit_shift(ctx: Context, node: ir.Node) -> None:
    """Shift by 0 to width - 1 bits; other amounts leave what the sign gives: -1 or 0."""
    dtype = keras_dtype(node.outputs[0])
    left = view.attr(node, "direction") == "LEFT"
    work = "int64" if dtype.startswith("u") else dtype
    bits = np.dtype(dtype).itemsize * 8
    x = cast(ctx, node, ctx.tensor(node.inputs[0]), work)
    zero, one, width = (array_literal(np.array(n, work)) for n in (0, 1, bits))
    amount = cast(ctx, node, ctx.tensor(node.inputs[1]), work)
    shape = amount.shape
    below = compute(ctx, node, "numpy.Less", [amount, zero], gives="bool", shape=shape, suffix="below")
    above = compute(ctx, node, "numpy.GreaterEqual", [amount, width], gives="bool", shape=shape, suffix="above")
    outside = compute(ctx, node, "numpy.LogicalOr", [below, above], shape=shape, suffix="outside")
    most = array_literal(np.array(np.dtype(work).itemsize * 8 - 1, work))
    steps = compute(ctx, node, "numpy.Where", [outside, most, amount], gives=work, shape=shape, suffix="steps")
    if left:
        moved = compute(ctx, node, "numpy.BitwiseLeftShift", [x, steps], suffix="moved")
        y = compute(ctx, node, "numpy.Where", [outside, zero, moved], gives=work)
    elif dtype == "uint64":  # the sign bit must not be copied: it is moved away first
        half = compute(ctx, node, "numpy.BitwiseRightShift", [x, one], shape=x.shape, suffix="half")
        half = compute(ctx, node, "numpy.BitwiseAnd", [half, _REST], shape=x.shape, suffix="rest")
        less = compute(ctx, node, "numpy.Subtract", [steps, one], shape=shape, suffix="less")
        less = compute(ctx, node, "numpy.Maximum", [less, zero], shape=shape, suffix="least")
        moved = compute(ctx, node, "numpy.BitwiseRightShift", [half, less], suffix="moved")
        moved = compute(ctx, node, "numpy.Where", [outside, zero, moved], gives=work, suffix="inside")
        still = compute(ctx, node, "numpy.Equal", [steps, zero], gives="bool", shape=shape, suffix="still")
        y = compute(ctx, node, "numpy.Where", [still, x, moved], gives=work)
    else:
        y = compute(ctx, node, "numpy.BitwiseRightShift", [x, steps])
    ctx.bind(node.outputs[0], y)


@writes("BitCast")
def bit_cast(ctx: Context, node: ir.Node) -> None:
    """The same bits as another type of the same width."""
    x, wanted = ctx.tensor(node.inputs[0]), keras_dtype(node.outputs[0])
    source = keras_dtype(node.inputs[0]) if node.inputs[0] is not None else wanted
    if np.dtype(source).itemsize != np.dtype(wanted).itemsize:
        raise Unfit("it changes the number of elements")
    if source == "bool":
        x, source = cast(ctx, node, x, "uint8"), "uint8"
    if "int" in source and "int" in wanted:
        ctx.bind(node.outputs[0], cast(ctx, node, x, wanted, suffix=""))
        return
    if wanted == "bool":
        raise Unfit("Keras does not read bits as booleans")
    x = cast(ctx, node, x, source)
    ctx.bind(node.outputs[0], compute(ctx, node, "numpy.View", [x], {"dtype": wanted}, gives=wanted))
