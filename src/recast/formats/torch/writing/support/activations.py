"""Support text: activations that PyTorch lacks."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor


def shrink(x: Tensor, bias: float, limit: float) -> Tensor:
    """Move values beyond ``limit`` towards 0 by ``bias``; the rest becomes 0."""
    y = torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))
    return y.to(x.dtype)


def hardmax(x: Tensor, axis: int) -> Tensor:
    """1 at the first largest element along an axis, else 0."""
    return F.one_hot(x.argmax(axis), x.shape[axis]).movedim(-1, axis).to(x.dtype)


def half_softmax(x: Tensor, axis: int) -> Tensor:
    """Softmax in half precision as ONNX spells it out: every step is rounded, not only the last."""
    y = torch.exp(x - x.amax(axis, keepdim=True))
    return y / y.sum(axis, keepdim=True)
