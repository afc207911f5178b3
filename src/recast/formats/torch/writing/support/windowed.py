"""Support text: windows put back together, convolution at learned places."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import math

    import torch
    import torch.nn.functional as F
    from torch import Tensor


def fold_windows(
    x: Tensor, image: list[int], block: list[int], dilation: list[int], pads: list[int], stride: list[int]
) -> Tensor:
    """Add the windows (N, C * block, places) up to images of any rank: what ``F.fold`` does for two equal sides."""
    rank = len(image)
    padded = [n + b + e for n, b, e in zip(image, pads[:rank], pads[rank:])]
    place = torch.zeros([1] * (2 * rank), dtype=torch.int64, device=x.device)
    for axis, (n, k, d, s) in enumerate(zip(padded, block, dilation, stride)):
        inside = torch.arange(k, device=x.device).reshape([-1 if a == axis else 1 for a in range(2 * rank)])
        count = (n - d * (k - 1) - 1) // s + 1
        start = torch.arange(count, device=x.device).reshape([-1 if a == rank + axis else 1 for a in range(2 * rank)])
        place = place * n + inside * d + start * s
    channels = x.shape[1] // math.prod(block)
    flat = x.new_zeros(x.shape[0], channels, math.prod(padded))
    flat = flat.index_add(2, place.flatten(), x.reshape(x.shape[0], channels, -1))
    crop = [-p for b, e in zip(reversed(pads[:rank]), reversed(pads[rank:])) for p in (b, e)]
    return F.pad(flat.reshape(x.shape[0], channels, *padded), crop)


def sample_bilinear(x: Tensor, y_place: Tensor, x_place: Tensor) -> Tensor:
    """Images (N, G, C, H, W) at fractional places (N, G, K): (N, G, C, K); outside there is 0."""
    height, width = x.shape[3:]
    flat = x.flatten(3)
    top, left = y_place.floor(), x_place.floor()
    total = x.new_zeros(1)
    for row, dy in ((top, 1 - (y_place - top)), (top + 1, y_place - top)):
        for column, dx in ((left, 1 - (x_place - left)), (left + 1, x_place - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1).to(torch.int64) * width + column.clamp(0, width - 1).to(torch.int64)
            index = index.unsqueeze(2).expand(-1, -1, x.shape[2], -1)
            total = total + flat.gather(3, index) * torch.where(inside, dy * dx, 0.0).unsqueeze(2).to(x.dtype)
    return total


def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: list[int],
    pads: list[int],
    dilation: list[int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    """Two-dimensional convolution whose kernel's places move by ``offset`` and weigh ``mask``."""
    n, (tall, wide), out = x.shape[0], w.shape[2:], list(offset.shape[2:])
    moved = offset.reshape(n, offset_groups, tall * wide, 2, *out)
    tap = torch.arange(tall * wide, device=x.device).reshape(-1, 1, 1)
    row = torch.arange(out[0], device=x.device).reshape(-1, 1) * stride[0] - pads[0]
    column = torch.arange(out[1], device=x.device) * stride[1] - pads[1]
    y_place = moved[:, :, :, 0] + (row + tap // wide * dilation[0])
    x_place = moved[:, :, :, 1] + (column + tap % wide * dilation[1])
    columns = sample_bilinear(x.reshape(n, offset_groups, -1, *x.shape[2:]), y_place.flatten(2), x_place.flatten(2))
    columns = columns.unflatten(3, (tall * wide, -1))
    if mask is not None:
        columns = columns * mask.reshape(n, offset_groups, 1, tall * wide, -1)
    columns = columns.reshape(n, groups, -1, out[0] * out[1])
    y = (w.reshape(groups, w.shape[0] // groups, -1) @ columns).reshape(n, w.shape[0], *out)
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)
