"""Support text: Fourier transforms, mel filters, n-grams."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import math

    import torch
    from torch import Tensor


def fourier(x: Tensor, length: int | None, axis: int, inverse: bool, one_sided: bool) -> Tensor:
    """Fourier transform along an axis; the last axis holds the real part, or real and imaginary ones."""
    kind = x.dtype
    axis = axis % x.dim()
    x = x.to(torch.float32) if kind == torch.float16 else x
    real = x.shape[-1] == 1
    z = x.squeeze(-1) if real else torch.view_as_complex(x.contiguous())
    if inverse and one_sided:
        return torch.fft.irfft(z, length, axis).unsqueeze(-1).to(kind)
    if inverse:
        y = torch.fft.ifft(z, length, axis)
    else:
        y = torch.fft.rfft(z, length, axis) if one_sided and real else torch.fft.fft(z, length, axis)
        if one_sided and not real:
            y = y.narrow(axis, 0, y.shape[axis] // 2 + 1)
    return torch.view_as_real(y).to(kind)


def short_time_fourier(x: Tensor, step: int, window: Tensor | None, length: int | None, one_sided: bool) -> Tensor:
    """Fourier transforms of frames of the axis before the last: (batch, frames, frequencies, 2)."""
    if length is None:
        length = x.shape[1] if window is None else window.shape[0]
    frames = x.unfold(1, length, step).movedim(-1, 2)
    if window is not None:
        frames = frames * window.reshape(-1, 1)
    return fourier(frames, None, 2, False, one_sided)


def mel_weights(
    bins: int, length: int, rate: int, low: float, high: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Triangular filters that are equally wide on the mel scale: (frequencies, bins)."""
    first, last = (2595 * math.log1p(f / 700) / math.log(10) for f in (low, high))
    places = [
        int((length + 1) * (700 * math.expm1((first + (last - first) / (bins + 2) * i) / 2595 * math.log(10))) // rate)
        for i in range(bins + 2)
    ]
    weights = torch.zeros(length // 2 + 1, bins, dtype=torch.float64, device=device)
    for i, (left, centre, right) in enumerate(zip(places, places[1:], places[2:])):
        if left == centre:
            weights[centre, i] = 1
        for j in range(left, centre + 1 if left < centre else centre):
            weights[j, i] = (j - left) / (centre - left)
        for j in range(centre, right):
            weights[j, i] = (right - j) / (right - centre)
    return weights.to(dtype)


def count_grams(x: Tensor, pools: list[tuple[Tensor, Tensor]], skips: int, size: int) -> Tensor:
    """How often each n-gram of the pools occurs in a row, its items up to ``skips`` apart: (batch, size)."""
    rows = x.reshape(-1, x.shape[-1]) if x.dim() else x.reshape(1, 1)
    counts = torch.zeros(rows.shape[0], size, dtype=torch.int64, device=x.device)
    for grams, places in pools:
        n = grams.shape[1]
        for distance in range(1, skips + 2 if n > 1 else 2):
            reach = (n - 1) * distance + 1
            if reach <= rows.shape[1]:
                windows = rows.unfold(1, reach, 1)[..., ::distance]
                hits = (windows.unsqueeze(2) == grams).all(-1).sum(1)
                counts = counts.index_add(1, places, hits)
    return counts if x.dim() > 1 else counts[0]
