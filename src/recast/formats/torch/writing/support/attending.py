"""Support text: attention with masks, caches and windows, rotary positions, losses."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor


def attention_bias(
    q: Tensor, k: Tensor, mask: Tensor | None, offset: Tensor, lengths: Tensor | None, limits: tuple[bool, int, int]
) -> Tensor:
    """What is added to the scores: 0 where a query may look, minus infinity elsewhere."""
    causal, left, right = limits
    if mask is not None:
        missing = k.shape[2] - mask.shape[-1]
        if missing > 0:
            mask = F.pad(mask, [0, missing], value=False if mask.dtype == torch.bool else -torch.inf)
    queries = torch.arange(q.shape[2], device=q.device).reshape(-1, 1) + offset.reshape(-1, 1, 1, 1)
    keys = torch.arange(k.shape[2], device=q.device)
    allowed = torch.ones_like(queries + keys, dtype=torch.bool)
    if causal:
        allowed = allowed & (keys <= queries)
    if left >= 0:
        allowed = allowed & (queries - keys <= left)
    if right >= 0:
        allowed = allowed & (keys - queries <= right)
    if lengths is not None:
        allowed = allowed & (keys < lengths.reshape(-1, 1, 1, 1))
    if mask is not None and mask.dtype == torch.bool:
        allowed = allowed & mask
    bias = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(~allowed, -torch.inf)
    return bias if mask is None or mask.dtype == torch.bool else bias + mask


def attention(
    tensors: list[Any],
    heads: tuple[Any, Any],
    window: tuple[int, int],
    settings: tuple[float | None, bool, float, int],
    precision: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention of (Q, K, V, mask, past key, past value, lengths); returns Y, keys, values, scores."""
    q, k, v, mask, past_key, past_value, lengths = tensors
    scale, causal, softcap, mode = settings
    flat = q.dim() == 3
    if flat:
        q = q.unflatten(2, (heads[0], -1)).transpose(1, 2)
        k = k.unflatten(2, (heads[1], -1)).transpose(1, 2)
        v = v.unflatten(2, (heads[1], -1)).transpose(1, 2)
    if past_key is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    offset = torch.tensor(0 if past_key is None else past_key.shape[2], device=q.device)
    if lengths is not None:
        offset = lengths - q.shape[2]
    all_keys, all_values = k, v
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    root = (q.shape[3] ** -0.5 if scale is None else scale) ** 0.5
    scores = (q * root) @ (k * root).transpose(-1, -2)
    shown = scores
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
        shown = scores if mode == 1 else shown
    scores = scores + attention_bias(q, k, mask, offset, lengths, (causal, *window))
    shown = scores if mode == 2 else shown
    dead = scores.isneginf().all(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(dead, 0.0), -1, dtype=precision).to(scores.dtype).masked_fill(dead, 0.0)
    y = weights @ v
    if flat:
        y = y.transpose(1, 2).flatten(2)
    return y, all_keys, all_values, weights if mode == 3 else shown


def rotary_embedding(
    x: Tensor, cos: Tensor, sin: Tensor, places: Tensor | None, interleaved: bool, size: int, heads: int
) -> Tensor:
    """Rotate pairs of features by angles that depend on the position."""
    y = x.transpose(1, 2) if x.dim() == 4 else x.unflatten(2, (heads, -1))
    size = size or y.shape[3]
    if places is not None:
        cos, sin = cos[places], sin[places]
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    turned, rest = y[..., :size], y[..., size:]
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    turned = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2) if x.dim() == 4 else y.flatten(2)


def nll_loss(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore: int | None) -> Tensor:
    """Negative log likelihood over axis 1."""
    target = target.to(torch.int64)
    used = torch.ones_like(target, dtype=torch.bool) if ignore is None else target != ignore
    index = torch.where(used, target, torch.zeros_like(target))
    loss = -x.gather(1, index.unsqueeze(1)).squeeze(1)
    scale = (torch.ones_like(x[:1].flatten()[:1]) if weight is None else weight[index]) * used.to(x.dtype)
    loss = loss * scale
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / scale.sum()
