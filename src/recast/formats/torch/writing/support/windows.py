"""Support text: padding, cropping and pooling that PyTorch has no single call for."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor


def same_padding(
    sizes: list[int], kernel: list[int], stride: list[int], dilation: list[int], lower: bool = False
) -> list[int]:
    """Padding, in the order of ``F.pad``, that gives ``ceil(size / stride)`` outputs."""
    result: list[int] = []
    for size, k, s, d in reversed(list(zip(sizes, kernel, stride, dilation))):
        total = max(0, ((size + s - 1) // s - 1) * s + (k - 1) * d + 1 - size)
        small = total // 2
        result += [total - small, small] if lower else [small, total - small]
    return result


def pool_windows(x: Tensor, kernel: list[int], stride: list[int], dilation: list[int]) -> Tensor:
    """All windows as new last axes: (N, C, *outputs, *kernel)."""
    rank = len(kernel)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation)):
        x = x.unfold(axis + 2, (k - 1) * d + 1, s)
    for axis, d in enumerate(dilation):
        index = torch.arange(0, x.shape[2 + rank + axis], d, device=x.device)
        x = x.index_select(2 + rank + axis, index)
    return x


def ceil_padding(sizes: list[int], window: list[tuple[int, int, int]], padding: list[int], ceil: bool) -> list[int]:
    """Extra end padding (``F.pad`` order) that ``ceil_mode`` needs; ``window`` holds (kernel, stride, dilation)."""
    rank = len(sizes)
    result: list[int] = []
    for axis in reversed(range(rank)):
        k, s, d = window[axis]
        begin, end = padding[2 * (rank - 1 - axis)], padding[2 * (rank - 1 - axis) + 1]
        room = sizes[axis] + begin + end - (k - 1) * d - 1
        count = -(-room // s) + 1 if ceil else room // s + 1
        if ceil and (count - 1) * s >= sizes[axis] + begin:
            count -= 1
        result += [0, max(0, (count - 1) * s - room)]
    return result


def average_pool(
    x: Tensor,
    window: list[tuple[int, int, int]],
    padding: list[int],
    ceil: bool = False,
    include_padding: bool = False,
) -> Tensor:
    """Mean over windows of (kernel, stride, dilation); padding counts only if ``include_padding``."""
    extra = ceil_padding(list(x.shape[2:]), window, padding, ceil)
    ones = torch.ones_like(x[:1, :1])
    ones = F.pad(F.pad(ones, padding, value=1.0 if include_padding else 0.0), extra)
    kernel, stride, dilation = ([w[i] for w in window] for i in range(3))
    axes = list(range(-len(kernel), 0))
    total = pool_windows(F.pad(F.pad(x, padding), extra), kernel, stride, dilation).sum(axes)
    return total / pool_windows(ones, kernel, stride, dilation).sum(axes)


def lp_pool(
    x: Tensor, window: list[tuple[int, int, int]], padding: list[int], ceil: bool = False, p: int = 2
) -> Tensor:
    """p-norm over windows of (kernel, stride, dilation)."""
    extra = ceil_padding(list(x.shape[2:]), window, padding, ceil)
    kernel, stride, dilation = ([w[i] for w in window] for i in range(3))
    windows = pool_windows(F.pad(F.pad(x, padding), extra), kernel, stride, dilation)
    return windows.abs().pow(p).sum(list(range(-len(kernel), 0))).pow(1.0 / p)


def max_pool(x: Tensor, window: list[tuple[int, int, int]], padding: list[int], ceil: bool = False) -> Tensor:
    """Largest value over windows of (kernel, stride, dilation); padding never wins."""
    low = -torch.inf if x.dtype.is_floating_point else torch.iinfo(x.dtype).min
    extra = ceil_padding(list(x.shape[2:]), window, padding, ceil)
    kernel, stride, dilation = ([w[i] for w in window] for i in range(3))
    windows = pool_windows(F.pad(F.pad(x, padding, value=low), extra, value=low), kernel, stride, dilation)
    return windows.amax(list(range(-len(kernel), 0)))


def max_pool_with_indices(
    x: Tensor,
    window: list[tuple[int, int, int]],
    padding: list[int],
    ceil: bool = False,
    column_major: bool = False,
) -> tuple[Tensor, Tensor]:
    """Largest value over windows, and its place in the flattened input."""
    low = -torch.inf if x.dtype.is_floating_point else torch.iinfo(x.dtype).min
    extra = ceil_padding(list(x.shape[2:]), window, padding, ceil)
    kernel, stride, dilation = ([w[i] for w in window] for i in range(3))
    sizes = list(x.shape[2:])
    if column_major:
        order = list(reversed(range(len(sizes))))
        place = torch.arange(sizes[0] * (x[0, 0].numel() // sizes[0]), device=x.device)
        place = place.reshape([sizes[i] for i in order]).permute(order)
    else:
        place = torch.arange(x[0, 0].numel(), device=x.device).reshape(sizes)
    start = torch.arange(x.shape[0] * x.shape[1], device=x.device) * x[0, 0].numel()
    place = place + start.reshape([x.shape[0], x.shape[1], *[1] * len(sizes)])
    values = pool_windows(F.pad(F.pad(x, padding, value=low), extra, value=low), kernel, stride, dilation)
    places = pool_windows(F.pad(F.pad(place, padding), extra), kernel, stride, dilation)
    values, places = values.flatten(2 + len(sizes)), places.flatten(2 + len(sizes))
    best = values.argmax(-1, keepdim=True)
    return values.gather(-1, best).squeeze(-1), places.gather(-1, best).squeeze(-1)
