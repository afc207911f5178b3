"""Resize, one axis at a time: each output position is a weighted sum of input positions."""

from __future__ import annotations

import numpy as np

from recast.verification.kernels import Call, Result, kernel


def _positions(mode: str, out: int, size: int, scale: float) -> np.ndarray:
    """Where each output index lies in the input (``coordinate_transformation_mode``)."""
    at: np.ndarray = np.arange(out, dtype=np.float64)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        return np.asarray((at + 0.5) / scale - 0.5)
    if mode == "pytorch_half_pixel":
        return np.zeros(out)
    if mode == "asymmetric":
        return np.asarray(at / scale)
    if mode == "align_corners":
        return at * (size - 1) / (scale * size - 1) if out > 1 else np.zeros(out)
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - out / (scale * size)) + (at + 0.5) / scale - 0.5
    raise ValueError(f"Resize with {mode} is not evaluated")


def _nearest(at: np.ndarray, rule: str) -> np.ndarray:
    at = np.round(at, 9)
    if rule == "floor":
        return np.asarray(np.floor(at))
    if rule == "ceil":
        return np.asarray(np.ceil(at))
    return np.asarray(np.ceil(at - 0.5) if rule == "round_prefer_floor" else np.floor(at + 0.5))


def _taps(at: np.ndarray, mode: str, a: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """(input index, weight) pairs for linear and cubic interpolation."""
    low = np.floor(at)
    t = at - low
    if mode == "linear":
        return [(low, 1 - t), (low + 1, t)]
    taps = []
    for offset in (-1, 0, 1, 2):
        d = np.abs(t - offset)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        taps.append((low + offset, np.where(d <= 1, near, np.where(d < 2, far, 0.0))))
    return taps


def _matrix(call: Call, size: int, out: int, scale: float) -> np.ndarray:
    """(out, size) weights of one axis."""
    mode = call.attr("mode", "nearest")
    at = _positions(call.attr("coordinate_transformation_mode", "half_pixel"), out, size, scale)
    weights = np.zeros((out, size))
    rows = np.arange(out)
    if mode == "nearest":
        picked = np.clip(_nearest(at, call.attr("nearest_mode", "round_prefer_floor")), 0, size - 1)
        weights[rows, picked.astype(np.int64)] = 1
        return weights
    outside = bool(call.attr("exclude_outside", 0))
    for index, weight in _taps(at, mode, float(call.attr("cubic_coeff_a", -0.75))):
        weight = np.where((index < 0) | (index >= size), 0.0, weight) if outside else weight
        np.add.at(weights, (rows, np.clip(index, 0, size - 1).astype(np.int64)), weight)
    return weights / weights.sum(axis=1, keepdims=True) if outside else weights


@kernel("Resize")
def resize(call: Call) -> Result:
    """All modes without ``antialias``, ``tf_crop_and_resize`` and aspect-ratio policies."""
    if call.attr("antialias", 0) or call.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("Resize with antialias or an aspect-ratio policy is not evaluated")
    x, scales, sizes = call[0], call.get(2), call.get(3)
    axes = [a % x.ndim for a in call.attr("axes", list(range(x.ndim)))]
    for place, axis in enumerate(axes):
        size = x.shape[axis]
        if sizes is not None and sizes.size:
            out = int(sizes[place])
            scale = out / size
        else:
            scale = float(call[2][place]) if scales is not None else 1.0
            out = int(np.floor(size * scale))
        if out == size and scale == 1.0:
            continue
        weights = _matrix(call, size, out, scale).astype(x.dtype if x.dtype.kind == "f" else np.float64)
        moved = np.moveaxis(np.tensordot(weights, x, axes=(1, axis)), 0, axis)
        x = moved if x.dtype.kind == "f" else np.rint(moved).astype(x.dtype)
    return x
