"""Fourier transforms as products with constant matrices."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes

_LONGEST = 4096


@decomposes("DFT")
def dft(e: Expansion) -> Results:
    """Along one axis, forward or inverse, of real or complex numbers (the last axis), one- or two-sided."""
    x = e.input(0)
    rank = e.rank(x)
    given, told = e.constant(2, "an axis"), e.constant(1, "a length")
    axis = int(given.reshape(-1)[0]) if given is not None else e.attr("axis", -2)
    axis %= rank
    size, inverse = e.size(x, axis), bool(e.attr("inverse", 0))
    one_sided = bool(e.attr("onesided", 0))
    length = int(told.reshape(-1)[0]) if told is not None else (2 * (size - 1) if inverse and one_sided else size)
    if length > _LONGEST or axis == rank - 1:
        raise Unfit(f"a Fourier transform over {length} points")
    parts = [e.op("Gather", x, e.int(i), axis=-1) for i in range(e.size(x, -1))]
    last = [i for i in range(rank - 1) if i != axis] + [axis]
    parts = [e.op("Transpose", p, perm=last) for p in parts]
    if inverse and one_sided:
        made = [_real_inverse(e, parts, length)]
    else:
        made = _transformed(e, parts, length, (inverse, one_sided))
    back = [int(i) for i in np.argsort(last)]
    turned = [e.op("Unsqueeze", e.op("Transpose", m, perm=back), e.ints(-1)) for m in made]
    return (turned[0] if len(turned) == 1 else e.op("Concat", *turned, axis=-1),)


def _fitted(e: Expansion, part: ir.Value, wanted: int) -> ir.Value:
    """The last axis cut, or filled with zeros."""
    size = e.size(part, -1)
    if size > wanted:
        return e.op("Slice", part, e.ints(0), e.ints(wanted), e.ints(-1))
    if size < wanted:
        pads = [0] * e.rank(part) + [0] * (e.rank(part) - 1) + [wanted - size]
        return e.op("Pad", part, e.ints(*pads), e.number(0, part), mode="constant")
    return part


def _transformed(e: Expansion, parts: list[ir.Value], length: int, how: tuple[bool, bool]) -> list[ir.Value]:
    """Real and imaginary part over the last axis."""
    inverse, one_sided = how
    parts = [_fitted(e, p, length) for p in parts]
    bins = length // 2 + 1 if one_sided else length
    angles = 2 * math.pi / length * (np.outer(np.arange(length), np.arange(bins)) % length)
    scale = 1 / length if inverse else 1.0
    cos, sin = (_matrix(e, f(angles) * scale, parts[0]) for f in (np.cos, np.sin))
    real = e.op("MatMul", parts[0], cos)
    imaginary = e.op("MatMul", parts[0], sin)
    imaginary = imaginary if inverse else e.op("Neg", imaginary)
    if len(parts) == 1:
        return [real, imaginary]
    other = e.op("MatMul", parts[1], sin)
    real = e.op("Sub" if inverse else "Add", real, other)
    return [real, e.op("Add", imaginary, e.op("MatMul", parts[1], cos))]


def _real_inverse(e: Expansion, parts: list[ir.Value], length: int) -> ir.Value:
    """The real signal of a one-sided spectrum: every inner bin counts twice."""
    bins = length // 2 + 1
    parts = [_fitted(e, p, bins) for p in parts]
    angles = 2 * math.pi / length * (np.outer(np.arange(bins), np.arange(length)) % length)
    weight = np.full((bins, 1), 2 / length)
    weight[0] = 1 / length
    if length % 2 == 0:
        weight[-1] = 1 / length
    real = e.op("MatMul", parts[0], _matrix(e, np.cos(angles) * weight, parts[0]))
    if len(parts) == 1:
        return real
    return e.op("Sub", real, e.op("MatMul", parts[1], _matrix(e, np.sin(angles) * weight, parts[1])))


def _matrix(e: Expansion, array: np.ndarray, like: ir.Value) -> ir.Value:
    return e.array(array.astype(e.dtype(like).numpy()), "fourier")


@decomposes("STFT")
def stft(e: Expansion) -> Results:
    """Frames, times the window, through DFT."""
    x = e.input(0)
    step, told = e.constant(1, "a frame step"), e.constant(3, "a frame length")
    window = e.optional(2)
    if step is None:
        raise Unfit("no frame step")
    length = int(told.reshape(-1)[0]) if told is not None else (e.size(window, 0) if window is not None else 0)
    if not length:
        raise Unfit("no frame length")
    size, stride = e.size(x, 1), int(step.reshape(-1)[0])
    count = (size - length) // stride + 1
    places = np.arange(count)[:, None] * stride + np.arange(length)
    frames = e.op("Gather", x, e.array(places.astype(np.int64)), axis=1)  # (N, frames, length, 1 or 2)
    if e.rank(x) == 2:
        frames = e.op("Unsqueeze", frames, e.ints(-1))
    if window is not None:
        missing = length - e.size(window, 0)
        if missing:  # shorter windows lie in the middle
            pads = e.ints(missing // 2, missing - missing // 2)
            window = e.op("Pad", window, pads, e.number(0, window), mode="constant")
        frames = e.op("Mul", frames, e.op("Unsqueeze", window, e.ints(1)))
    done = e.op("DFT", frames, None, e.int(2), onesided=e.attr("onesided", 1))
    return (done,)
