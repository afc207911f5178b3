"""Integer products and quantised operators.

Products of 8-bit integers are computed in float32 and stay exact: what is multiplied is cut into digits so small that
no sum reaches 2**24, where float32 stops counting.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.graph.view import const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

_EXACT = 1 << 24  # float32 holds every integer up to here
_FLOAT, _INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_WHOLE = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16, _INT32)


@decomposes("ConvInteger")
def conv_integer(e: Expansion) -> Results:
    """Conv of ``x - x_zero`` and ``w - w_zero`` (padding is zero there), exact in int32."""
    x, w = e.input(0), e.input(1)
    kernel = e.static(w)
    zero = e.optional(3)
    if zero is not None and e.rank(zero) == 1 and e.size(zero, 0) > 1:
        zero = e.op("Reshape", zero, e.ints(-1, *[1] * (len(kernel) - 1)))
    left, right = _centred(e, x, _scalar(e, e.optional(2))), _centred(e, w, zero)
    given = {name: e.attr(name) for name in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    return (_exact(e, left, int(np.prod(kernel[1:])), lambda v: e.op("Conv", v, right, **given)),)


@decomposes("MatMulInteger")
def matmul_integer(e: Expansion) -> Results:
    """MatMul of ``a - a_zero`` (per row) and ``b - b_zero`` (per column), exact in int32."""
    a, b = e.input(0), e.input(1)
    rows = e.optional(2)
    if rows is not None and e.rank(rows) == 1 and e.dims(rows) != [1]:
        rows = e.op("Unsqueeze", rows, e.ints(1))
    left, right = _centred(e, a, _scalar(e, rows)), _centred(e, b, _scalar(e, e.optional(3)))
    return (_exact(e, left, e.size(a, -1), lambda v: e.op("MatMul", v, right)),)


def _scalar(e: Expansion, zero: ir.Value | None) -> ir.Value | None:
    """A zero point of one element without axes."""
    if zero is None or e.dims(zero) != [1]:
        return zero
    return e.op("Reshape", zero, e.ints())


def _centred(e: Expansion, value: ir.Value, zero: ir.Value | None) -> ir.Value:
    real = e.cast(value, _FLOAT)
    array = const(zero)
    if zero is None or (array is not None and not array.any()):
        return real
    return e.op("Sub", real, e.cast(zero, _FLOAT))


def _exact(e: Expansion, value: ir.Value, terms: int, product: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """``product`` of whole numbers in -255..255 with such numbers, summed over ``terms``, in int32."""
    base = next((b for b in (256, 16, 4, 2) if (b - 1) * 255 * max(terms, 1) < _EXACT), 0)
    if not base:
        raise Unfit(f"a sum of {terms} products, which float32 cannot hold exactly")
    if base == 256:
        return e.cast(product(value), _INT32)
    total: ir.Value | None = None
    weight = 1
    while weight < 256:
        upper = e.op("Floor", e.op("Mul", value, e.number(1 / base, value)))
        digit = e.op("Sub", value, e.op("Mul", upper, e.number(base, value)))
        digit = value if weight * base >= 256 else digit  # the highest one keeps the sign
        part = e.cast(product(digit), _INT32)
        part = part if weight == 1 else e.op("Mul", part, e.number(weight, part))
        total = part if total is None else e.op("Add", total, part)
        value, weight = upper, weight * base
    assert total is not None
    return total


@decomposes("QLinearConv")
def qlinear_conv(e: Expansion) -> Results:
    """DequantizeLinear, Conv, QuantizeLinear: the form of quantised models here."""
    x_scale, w_scale = _scalar(e, e.input(1)), _scalar(e, e.input(4))
    assert x_scale is not None
    assert w_scale is not None
    x = e.op("DequantizeLinear", e.input(0), x_scale, _scalar(e, e.input(2)))
    w = e.op("DequantizeLinear", e.input(3), w_scale, _scalar(e, e.input(5)), axis=0)
    inputs = [x, w]
    bias = e.optional(8)
    if bias is not None:
        inputs.append(e.op("DequantizeLinear", bias, e.op("Mul", x_scale, w_scale), axis=0))
    given = {name: e.attr(name) for name in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    y = e.op("Conv", *inputs, **given)
    return (e.op("QuantizeLinear", y, _scalar(e, e.input(6)), _scalar(e, e.input(7))),)


@decomposes("QLinearMatMul")
def qlinear_matmul(e: Expansion) -> Results:
    """DequantizeLinear, MatMul, QuantizeLinear; scales per row of a, per column of b."""
    a, b = (_dequantised(e, i, place) for i, place in ((0, -2), (3, -1)))
    y = e.op("MatMul", a, b)
    scale, zero = _scalar(e, e.input(6)), _scalar(e, e.input(7))
    if scale is None or e.rank(scale) > 0:
        raise Unfit("a result with a scale per row")
    return (e.op("QuantizeLinear", y, scale, zero),)


def _dequantised(e: Expansion, first: int, place: int) -> ir.Value:
    """One side of a quantised product; ``place``: the axis that several scales belong to."""
    value = e.input(first)
    scale, zero = _scalar(e, e.input(first + 1)), _scalar(e, e.input(first + 2))
    assert scale is not None
    assert zero is not None
    rank = e.rank(scale)
    if rank > 1:
        raise Unfit("scales per matrix of a batch")
    return e.op("DequantizeLinear", value, scale, zero, axis=e.rank(value) + place if rank else None)


@decomposes("DynamicQuantizeLinear")
def dynamic_quantize_linear(e: Expansion) -> Results:
    """uint8 over the range that the tensor has, zero included (a tensor of zeros gets the scale 1)."""
    x = e.input(0)
    zero, most = e.number(0, x), e.number(255, x)
    low = e.op("Min", e.op("ReduceMin", x, keepdims=0), zero)
    high = e.op("Max", e.op("ReduceMax", x, keepdims=0), zero)
    span = e.op("Div", e.op("Sub", high, low), most)
    scale = e.op("Where", e.op("Equal", span, zero), e.number(1, x), span)
    point = e.op("Clip", e.op("Round", e.op("Div", e.op("Neg", low), scale)), zero, most)
    y = e.op("Clip", e.op("Add", e.op("Round", e.op("Div", x, scale)), point), zero, most)
    return e.cast(y, ir.DataType.UINT8), scale, e.cast(point, ir.DataType.UINT8)


@decomposes("DequantizeLinear")
def dequantize_linear(e: Expansion) -> Results:
    """``(x - zero) * scale``, with scales per tensor, per axis or per block."""
    x, scale = e.input(0), e.input(1)
    kind = ir.DataType(e.attr("output_dtype", 0) or e.dtype(scale))
    zero = e.optional(2)
    if e.dtype(x) not in _WHOLE:
        raise Unfit(f"dequantising {e.dtype(x).name}")
    real = e.cast(x, _INT32)
    if zero is not None:
        real = e.op("Sub", real, e.cast(_spread(e, zero, x), _INT32))
    return (e.cast(e.op("Mul", e.cast(real, e.dtype(scale)), _spread(e, scale, x)), kind),)


@decomposes("QuantizeLinear")
def quantize_linear(e: Expansion) -> Results:
    """``round(x / scale) + zero``, cut to the type's range."""
    x, scale, zero = e.input(0), e.input(1), e.optional(2)
    kind = e.dtype(e.node.outputs[0])
    if kind not in _WHOLE or kind == _INT32:
        raise Unfit(f"quantising to {kind.name}")
    limits = np.iinfo(kind.numpy())
    y = e.op("Round", e.op("Div", e.cast(x, e.dtype(scale)), _spread(e, scale, x)))
    y = e.cast(y, _FLOAT)
    if zero is not None:
        y = e.op("Add", y, e.cast(_spread(e, zero, x), _FLOAT))
    return (e.cast(e.op("Clip", y, e.number(limits.min, y), e.number(limits.max, y)), kind),)


def _spread(e: Expansion, parameter: ir.Value, x: ir.Value) -> ir.Value:
    """Scales or zero points shaped to broadcast with x."""
    if e.rank(parameter) == 0 or e.dims(parameter) == [1]:
        return e.op("Reshape", parameter, e.ints()) if e.rank(parameter) else parameter
    rank = e.rank(x)
    axis, block = e.attr("axis", 1) % rank, e.attr("block_size", 0)
    if not block:
        return e.op("Reshape", parameter, e.ints(*[-1 if i == axis else 1 for i in range(rank)]))
    picks = np.arange(e.size(x, axis), dtype=np.int64) // block
    return e.op("Gather", parameter, e.array(picks), axis=axis)
