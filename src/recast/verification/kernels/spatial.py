"""Convolution and pooling, channels-first, any number of spatial axes: one vectorised step per kernel position."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recast.verification.kernels import Call, Result, kernel


def _pads(
    call: Call, sizes: Sequence[int], kernel_shape: Sequence[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Explicit pads (all begins, then all ends) for the node's ``auto_pad`` or ``pads``."""
    count = len(sizes)
    mode = call.attr("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return list(call.attr("pads", [0] * 2 * count))
    if mode == "VALID":
        return [0] * 2 * count
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel_shape, strides, dilations, strict=True):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        small = total // 2
        begins.append(small if mode == "SAME_UPPER" else total - small)
        ends.append(total - begins[-1])
    return begins + ends


def _windows(
    padded: np.ndarray, kernel_shape: Sequence[int], out: Sequence[int], strides: list[int], dilations: list[int]
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each kernel position: the position and the strided view of the input it meets, (N, C, *out)."""
    for at in np.ndindex(*kernel_shape):
        cut = tuple(
            slice(i * d, i * d + (o - 1) * s + 1, s) for i, d, o, s in zip(at, dilations, out, strides, strict=True)
        )
        yield at, padded[(slice(None), slice(None), *cut)]


def _pad(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    count = x.ndim - 2
    if not any(pads):
        return x
    if any(p < 0 for p in pads):
        x = x[
            (
                slice(None),
                slice(None),
                *(slice(max(0, -pads[i]), x.shape[i + 2] + min(0, pads[count + i])) for i in range(count)),
            )
        ]
    width = [(0, 0), (0, 0)] + [(max(0, pads[i]), max(0, pads[count + i])) for i in range(count)]
    return np.pad(x, width, constant_values=value)


def _geometry(call: Call, rank: int) -> tuple[list[int], list[int]]:
    return list(call.attr("strides", [1] * rank)), list(call.attr("dilations", [1] * rank))


def _at(weights: np.ndarray, position: tuple[int, ...]) -> np.ndarray:
    """The weights of one kernel position (the last axes)."""
    index: Any = (..., *position)
    return np.asarray(weights[index])


@kernel("Conv")
def conv(call: Call) -> Result:
    """x (N, C, *s), w (M, C/group, *k), bias (M)."""
    x, w, bias = call[0], call[1], call.get(2)
    rank, group = x.ndim - 2, int(call.attr("group", 1))
    k = w.shape[2:]
    strides, dilations = _geometry(call, rank)
    pads = _pads(call, x.shape[2:], k, strides, dilations)
    padded = _pad(x, pads, 0)
    out = [(padded.shape[i + 2] - (k[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)]
    n, m, points = x.shape[0], w.shape[0], math.prod(out)
    weights = w.reshape(group, m // group, w.shape[1], *k)
    total = np.zeros((n, group, m // group, points), dtype=x.dtype)
    for at, view in _windows(padded, k, out, strides, dilations):
        part = _at(weights, at)
        columns = view.reshape(n, group, w.shape[1], points)
        total += columns * part if w.shape[1] == 1 else np.matmul(part, columns)
    result = total.reshape(n, m, *out)
    return result if bias is None else result + bias.reshape(1, -1, *([1] * rank))


@kernel("ConvTranspose")
def conv_transpose(call: Call) -> Result:
    """x (N, C, *s), w (C, M/group, *k), bias (M)."""
    x, w, bias = call[0], call[1], call.get(2)
    rank, group = x.ndim - 2, int(call.attr("group", 1))
    k, sizes = w.shape[2:], x.shape[2:]
    strides, dilations = _geometry(call, rank)
    extra = list(call.attr("output_padding", [0] * rank))
    full = [(sizes[i] - 1) * strides[i] + (k[i] - 1) * dilations[i] + 1 for i in range(rank)]
    begins, out = _transpose_crop(call, sizes, full, strides, extra)
    n, m = x.shape[0], w.shape[1] * group
    buffer = np.zeros((n, m, *(max(full[i], begins[i] + out[i]) for i in range(rank))), dtype=x.dtype)
    columns = x.reshape(n, group, x.shape[1] // group, -1)
    weights = w.reshape(group, x.shape[1] // group, w.shape[1], *k)
    for at, view in _windows(buffer, k, sizes, strides, dilations):
        part = _at(weights, at)
        view += np.matmul(part.transpose(0, 2, 1), columns).reshape(n, m, *sizes)
    cut = tuple(slice(begins[i], begins[i] + out[i]) for i in range(rank))
    result = buffer[(slice(None), slice(None), *cut)]
    return result if bias is None else result + bias.reshape(1, -1, *([1] * rank))


def _transpose_crop(
    call: Call, sizes: Sequence[int], full: list[int], strides: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    rank = len(sizes)
    mode = call.attr("auto_pad", "NOTSET")
    wanted = call.attr("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [sizes[i] * strides[i] for i in range(rank)]
    if wanted is None:
        pads = list(call.attr("pads", [0] * 2 * rank)) if mode != "VALID" else [0] * 2 * rank
        return pads[:rank], [full[i] + extra[i] - pads[i] - pads[rank + i] for i in range(rank)]
    wanted = list(wanted)[-rank:]
    begins = []
    for i in range(rank):
        total = max(0, full[i] + extra[i] - wanted[i])
        begins.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        if mode == "NOTSET":
            begins[-1] = total // 2
    return begins, wanted


def _pool_geometry(call: Call) -> tuple[tuple[int, ...], list[int], list[int], list[int], list[int]]:
    """kernel, strides, dilations, pads (grown at the end for ceil_mode) and output sizes."""
    x = call[0]
    rank = x.ndim - 2
    k = tuple(call.attr("kernel_shape"))
    strides, dilations = _geometry(call, rank)
    pads = _pads(call, x.shape[2:], k, strides, dilations)
    out = []
    for i in range(rank):
        reach = (k[i] - 1) * dilations[i] + 1
        room = x.shape[i + 2] + pads[i] + pads[rank + i] - reach
        size = (-(-room // strides[i]) if call.attr("ceil_mode", 0) else room // strides[i]) + 1
        if call.attr("ceil_mode", 0) and (size - 1) * strides[i] >= x.shape[i + 2] + pads[i]:
            size -= 1  # a window that starts in the padding at the end is left out
        out.append(size)
    return k, strides, dilations, pads, out


def _grown(
    x: np.ndarray, k: Sequence[int], steps: tuple[list[int], list[int]], pads: list[int], out: list[int]
) -> list[int]:
    """Pads, enlarged at the end so that every window fits."""
    rank = len(out)
    grown = list(pads)
    for i in range(rank):
        need = (out[i] - 1) * steps[0][i] + (k[i] - 1) * steps[1][i] + 1 - x.shape[i + 2] - pads[i]
        grown[rank + i] = max(pads[rank + i], need)
    return grown


@kernel("MaxPool")
def max_pool(call: Call) -> Result:
    """Values only; the Indices output is refused."""
    if len([o for o in call.node.outputs if o.name]) > 1:
        raise ValueError("MaxPool with Indices is not evaluated")
    x = call[0]
    k, strides, dilations, pads, out = _pool_geometry(call)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = _pad(x, _grown(x, k, (strides, dilations), pads, out), low)
    result: np.ndarray | None = None
    for _, view in _windows(padded, k, out, strides, dilations):
        result = view.copy() if result is None else np.maximum(result, view)
    return np.asarray(result)


@kernel("AveragePool")
def average_pool(call: Call) -> Result:
    """Padding counts only with ``count_include_pad``; what ceil_mode adds beyond it never does."""
    x = call[0]
    k, strides, dilations, pads, out = _pool_geometry(call)
    grown = _grown(x, k, (strides, dilations), pads, out)
    ones = np.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if call.attr("count_include_pad", 0):
        rank = x.ndim - 2
        ones = _pad(ones, pads, 1)
        rest = [0] * rank + [grown[rank + i] - pads[rank + i] for i in range(rank)]
        counts = _pad(ones, rest, 0)
    else:
        counts = _pad(ones, grown, 0)
    padded = _pad(x, grown, 0)
    total = sum(view for _, view in _windows(padded, k, out, strides, dilations))
    number = sum(view for _, view in _windows(counts, k, out, strides, dilations))
    return np.asarray(total / number)


@kernel("GlobalMaxPool")
def global_max_pool(call: Call) -> Result:
    """Maximum over all spatial axes, kept as 1."""
    return np.asarray(call[0].max(axis=tuple(range(2, call[0].ndim)), keepdims=True))
