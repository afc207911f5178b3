"""Support text: normalisation that PyTorch's layers do not cover."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """A vector over channels, shaped to multiply (N, C, …)."""
    return values.reshape([1, -1] + [1] * (x.dim() - 2))


def batch_norm(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Normalise each channel with stored statistics."""
    slope = per_channel(scale, x) / torch.sqrt(per_channel(var, x).to(torch.float32) + eps)
    return ((x - per_channel(mean, x)) * slope + per_channel(bias, x)).to(x.dtype)


def batch_norm_training(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel with the batch's statistics; returns the new running ones too."""
    axes = [a for a in range(x.dim()) if a != 1]
    now_mean, now_var = x.mean(axes), x.var(axes, correction=0)
    y = batch_norm(x, scale, bias, now_mean, now_var, eps)
    return y, mean * momentum + now_mean * (1 - momentum), var * momentum + now_var * (1 - momentum)


def layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None, axis: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise over the axes from ``axis`` on; returns mean and 1 / deviation too."""
    axes = list(range(axis, x.dim()))
    wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    mean = wide.mean(axes, keepdim=True)
    inverse = torch.rsqrt((wide - mean).square().mean(axes, keepdim=True) + eps)
    y = ((wide - mean) * inverse).to(x.dtype) * scale
    return (y if bias is None else y + bias), mean, inverse


def rms_norm(x: Tensor, scale: Tensor, axis: int, eps: float) -> Tensor:
    """Divide by the root mean square over the axes from ``axis`` on."""
    wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    inverse = torch.rsqrt(wide.square().mean(list(range(axis, x.dim())), keepdim=True) + eps)
    return (wide * inverse).to(x.dtype) * scale


def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise each channel of each sample over its spatial axes."""
    axes = list(range(2, x.dim()))
    mean = x.mean(axes, keepdim=True)
    var = x.var(axes, correction=0, keepdim=True)
    return per_channel(scale, x) * (x - mean) / torch.sqrt(var + eps) + per_channel(bias, x)


def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Divide by a power of the local energy over ``size`` neighbouring channels."""
    before = (size - 1) // 2
    energy = F.pad(x.square().movedim(1, -1), [before, size - 1 - before]).unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (k + alpha / size * energy).pow(beta)


def lp_norm(x: Tensor, axis: int, p: int) -> Tensor:
    """Divide by the p-norm along an axis; where that is 0 the result is 0."""
    norm = x.abs().sum(axis, keepdim=True) if p == 1 else x.square().sum(axis, keepdim=True).sqrt()
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


def mean_variance_norm(x: Tensor, axes: list[int]) -> Tensor:
    """Subtract the mean and divide by the deviation over ``axes``."""
    mean = x.mean(axes, keepdim=True)
    deviation = ((x * x).mean(axes, keepdim=True) - mean * mean).sqrt()
    return (x - mean) / (deviation + 1e-9)
