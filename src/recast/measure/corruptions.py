"""Corruptions of samples with NumPy alone, five severities each, after CIFAR-10-C (Hendrycks and Dietterich 2019).

All strengths are relative to the range of the input's values (``low`` … ``high``). Those that need an image are used
for inputs (n, h, w, c) or (n, c, h, w) with 1, 3 or 4 channels only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation, share of the range
_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # standard deviation, pixels
_BRIGHT = (0.05, 0.1, 0.15, 0.2, 0.3)  # added, share of the range
_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # what is left of the distance from the mean
_PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # side of the small image, share of the large one
_QUALITY = (80, 65, 58, 50, 40)  # of JPEG
_SHIFT = (0.03, 0.06, 0.09, 0.12, 0.16)  # share of the side, both axes
_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Range:
    """Least and largest value of an input."""

    low: float
    high: float

    @property
    def span(self) -> float:
        """Their difference."""
        return self.high - self.low


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of channels if samples (n, …) look like images, else None."""
    if len(shape) != 4:
        return None
    if shape[3] in _CHANNELS and min(shape[1:3]) >= _LEAST_SIDE:
        return 3
    return 1 if shape[1] in _CHANNELS and min(shape[2:]) >= _LEAST_SIDE else None


def names(shape: tuple[int, ...]) -> list[str]:
    """Corruptions for samples of that shape."""
    return [*_PLAIN, *(_IMAGE if channel_axis(shape) is not None else ())]


def corrupt(name: str, samples: np.ndarray, severity: int, limits: Range, rng: np.random.Generator) -> np.ndarray:
    """Corrupted samples, float32, same shape, inside the limits.

    Args:
        name: one of ``names(samples.shape)``.
        samples: real numbers (n, …).
        severity: 1 to 5.
        limits: of the values.
        rng: draws noise.
    """
    x = (samples.astype(np.float32) - limits.low) / limits.span
    if name in _PLAIN:
        made = _PLAIN[name](x, severity - 1, rng)
    else:
        axis = channel_axis(samples.shape)
        images = np.moveaxis(x, 1, 3) if axis == 1 else x
        made = _IMAGE[name](images, severity - 1)
        made = np.moveaxis(made, 3, 1) if axis == 1 else made
    result: np.ndarray = (made.clip(0, 1) * limits.span + limits.low).astype(np.float32)
    return result


def _noise(x: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(x + rng.standard_normal(x.shape).astype(np.float32) * _NOISE[level])


def _brightness(x: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    del rng
    return np.asarray(x + _BRIGHT[level])


def _contrast(x: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    del rng
    mean = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    result: np.ndarray = mean + (x - mean) * _CONTRAST[level]
    return result


def _blur(x: np.ndarray, level: int) -> np.ndarray:
    reach = max(1, round(4 * _BLUR[level]))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _BLUR[level]) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        pads = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(x, pads, mode="edge")
        size = x.shape[axis]
        x = np.sum([w * padded.take(range(i, i + size), axis=axis) for i, w in enumerate(weights)], axis=0)
    return x


def _pixelate(x: np.ndarray, level: int) -> np.ndarray:
    for axis in (1, 2):
        size = x.shape[axis]
        small = max(1, int(size * _PIXELATE[level]))
        x = np.moveaxis(np.tensordot(_areas(size, small), x, (1, axis)), 0, axis)
        x = x.take(np.arange(size) * small // size, axis=axis)
    return x


def _areas(size: int, small: int) -> np.ndarray:
    """Shares of ``size`` pixels in each of ``small`` equal intervals, (small, size)."""
    edges = np.linspace(0, size, small + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)[None]
    shares: np.ndarray = (np.minimum(right, pixels + 1) - np.maximum(left, pixels)).clip(min=0) / (right - left)
    return shares.astype(np.float32)


def _shift(x: np.ndarray, level: int) -> np.ndarray:
    for axis in (1, 2):
        size = x.shape[axis]
        by = max(1, round(size * _SHIFT[level]))
        x = x.take((np.arange(size) - by).clip(min=0), axis=axis)
    return x


# ISO/IEC 10918-1, annex K.1: quantisation of luminance
_LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


def _jpeg(x: np.ndarray, level: int) -> np.ndarray:
    """The lossy part of JPEG: 8×8 cosines rounded by the luminance table, for all channels (no subsampling)."""
    quality = _QUALITY[level]
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = ((_LUMINANCE * scale + 50) // 100).clip(1, 255).astype(np.float32)
    k = np.arange(8)
    cosine = np.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16) * np.where(k[:, None] == 0, np.sqrt(1 / 8), 0.5)
    height, width, channels = x.shape[1:]
    colour = channels == 3
    middle = np.array([128, 0, 0] if colour else [128] * channels, np.float32)  # the transform works around zero
    y = (x @ _TO_YCC.T if colour else x) * 255 - middle
    y = np.pad(y, [(0, 0), (0, -height % 8), (0, -width % 8), (0, 0)], mode="edge")
    n, tall, wide, _ = y.shape
    blocks = y.reshape(n, tall // 8, 8, wide // 8, 8, channels)
    spectrum = np.einsum("ui,nairjc,vr->nauvjc", cosine, blocks.swapaxes(3, 4), cosine, optimize=True)
    step = table[None, None, :, :, None, None]
    spectrum = np.rint(spectrum / step) * step
    back = np.einsum("ui,nauvjc,vr->nairjc", cosine, spectrum, cosine, optimize=True).swapaxes(3, 4)
    y = (back.reshape(n, tall, wide, channels)[:, :height, :width] + middle) / 255
    result: np.ndarray = (y @ np.linalg.inv(_TO_YCC).T if colour else y).astype(np.float32)
    return result


_PLAIN: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "brightness": _brightness,
    "contrast": _contrast,
}
_IMAGE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "blur": _blur,
    "pixelate": _pixelate,
    "JPEG-like": _jpeg,
    "shift": _shift,
}
