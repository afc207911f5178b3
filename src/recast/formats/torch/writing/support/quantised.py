"""Support text: quantisation with ONNX's rounding (half to even) and saturation."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor


def as_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x.to(dtype)``, but no operation at all where nothing changes."""
    return x if x.dtype == dtype else x.to(dtype)


def spread(values: Tensor, x: Tensor, axis: int, block: int = 0) -> Tensor:
    """Scales or zero points shaped to combine with ``x``: per tensor, per axis, or per block along an axis."""
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    if values.numel() == 1 and values.dim() < 2:
        return values if values.dim() == 0 else values.reshape(())
    if values.dim() == x.dim():
        return values
    return values.reshape([-1 if a == axis % x.dim() else 1 for a in range(x.dim())])


def quantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    limits: tuple[int, int],
    dtype: torch.dtype,
    axis: int = 1,
    block: int = 0,
) -> Tensor:
    """Round ``x / scale`` half to even, add the zero point, and saturate."""
    y = torch.round(as_type(x, torch.float32) / as_type(spread(scale, x, axis, block), torch.float32))
    if zero is not None:
        y = y + as_type(spread(zero, x, axis, block), y.dtype)
    y = y.clamp(*limits)
    if limits[1] >= 1 << 24:  # float32 does not hold such limits exactly
        y = y.to(torch.int64).clamp(*limits)
    return y.to(dtype)


def quantize_float8(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    limit: float,
    dtype: torch.dtype,
    axis: int = 1,
    block: int = 0,
) -> Tensor:
    """Divide by the scale and saturate to an 8-bit float."""
    y = x.to(torch.float32) / spread(scale, x, axis, block).to(torch.float32)
    return torch.where(torch.isnan(y), y, y.clamp(-limit, limit)).to(dtype)


def dequantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    axis: int = 1,
    block: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """``(x - zero) * scale``."""
    exact = x.dtype.is_floating_point or x.dtype.itemsize <= 2  # 16-bit integers subtract exactly in float32
    y = as_type(x, torch.float32 if exact or zero is None else torch.int64)
    if zero is not None:
        y = y - as_type(spread(zero, x, axis, block), y.dtype)
    return as_type(as_type(y, torch.float32) * as_type(spread(scale, x, axis, block), torch.float32), dtype)


def dynamic_quantize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To uint8 with the range of ``x`` itself, 0 included."""
    low, high = x.min().clamp(max=0.0), x.max().clamp(min=0.0)
    scale = (high - low) / 255.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.round((0.0 - low) / scale).clamp(0, 255)
    y = torch.round(x / scale) + zero
    return y.clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def less_zero(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """8-bit integers minus their zero point in float64: sums of products are exact, and CUDA has no other such ones."""
    x = x.to(torch.float64)
    if zero is None:
        return x
    return x - (spread(zero, x, axis) if zero.dim() < 2 else zero).to(torch.float64)


def matmul_integer(a: Tensor, b: Tensor, a_zero: Tensor | None, b_zero: Tensor | None) -> Tensor:
    """Product of 8-bit matrices in int32."""
    return (less_zero(a, a_zero, -2) @ less_zero(b, b_zero, -1)).to(torch.int64).to(torch.int32)


def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero: Tensor | None,
    w_zero: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """Convolution of 8-bit integers in int32."""
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(stride)]
    a = F.pad(less_zero(x, x_zero, 1), padding)
    b = less_zero(w, w_zero, 0)
    return conv(a, b, None, stride, 0, dilation, groups).to(torch.int64).to(torch.int32)


def requantize(total: Tensor, scale: Tensor, zero: Tensor, limits: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Integer sums to the output's integers."""
    y = torch.round(total * scale) + zero.to(torch.float64)
    return y.clamp(*limits).to(torch.int64).to(dtype)


def q_linear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    limits: tuple[int, int],
) -> Tensor:
    """Quantised matrix product."""
    total = less_zero(a, a_zero, -2) @ less_zero(b, b_zero, -1)
    rows = spread(a_scale, a, -2) if a_scale.dim() < 2 else a_scale
    scale = rows.to(torch.float64) * (spread(b_scale, b, -1) if b_scale.dim() < 2 else b_scale).to(torch.float64)
    return requantize(total, scale / y_scale.to(torch.float64), y_zero, limits, y_zero.dtype)


def q_linear_conv(
    tensors: list[Tensor],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    limits: tuple[int, int],
) -> Tensor:
    """Quantised convolution of (x, scale, zero, w, scale, zero, y scale, y zero, bias)."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = tensors
    total = conv_integer(x, w, x_zero, w_zero, stride, padding, dilation, groups)
    if bias is not None:
        total = total + bias.reshape([1, -1] + [1] * len(stride))
    channel = w_scale.reshape([1, -1] + [1] * len(stride)).to(torch.float64)
    scale = x_scale.to(torch.float64) * channel / y_scale.to(torch.float64)
    return requantize(total, scale, y_zero, limits, y_zero.dtype)
