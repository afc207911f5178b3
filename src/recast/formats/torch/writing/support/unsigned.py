"""Support text: 64-bit unsigned integers, on which PyTorch hardly computes."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def ordered(x: Tensor) -> Tensor:
    """Unsigned 64-bit integers as signed ones in the same order."""
    return x.view(torch.int64) ^ torch.iinfo(torch.int64).min


def unordered(x: Tensor) -> Tensor:
    """The way back from ``ordered``."""
    return (x ^ torch.iinfo(torch.int64).min).view(torch.uint64)


def divide_unsigned(a: Tensor, b: Tensor) -> Tensor:
    """Quotient of unsigned 64-bit integers."""
    n, d = torch.broadcast_tensors(a.view(torch.int64), b.view(torch.int64))
    half = torch.div((n >> 1) & torch.iinfo(torch.int64).max, d.clamp(min=1), rounding_mode="floor") << 1
    rest = n - half * d
    quotient = half + (ordered(rest) >= ordered(d)).to(torch.int64)
    large = (ordered(n) >= ordered(d)).to(torch.int64)  # a divisor from 2**63 on goes in once or not at all
    return torch.where(d < 0, large, quotient).view(torch.uint64)


def remainder_unsigned(a: Tensor, b: Tensor) -> Tensor:
    """Remainder of unsigned 64-bit integers."""
    quotient = divide_unsigned(a, b).view(torch.int64)
    return (a.view(torch.int64) - quotient * b.view(torch.int64)).view(torch.uint64)


def shift_right_unsigned(x: Tensor, count: Tensor) -> Tensor:
    """Shift unsigned 64-bit integers to the right; zeros come in."""
    n = count.view(torch.int64)
    shifted = ((x.view(torch.int64) >> 1) & torch.iinfo(torch.int64).max) >> (n - 1).clamp(0, 63)
    shifted = torch.where((n < 0) | (n > 63), 0, shifted)
    return torch.where(n == 0, x.view(torch.int64), shifted).view(torch.uint64)
